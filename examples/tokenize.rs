//! Writes the ids of texts as JSON, for comparison with other tokenizers: `tokenize FOLDER < texts.json > ids.json`,
//! where texts.json is a list of strings. How long reading the tokenizer and the texts took goes to the terminal.
#![cfg_attr(target_arch = "wasm32", no_main)]
#![cfg(not(target_arch = "wasm32"))]

use std::{fs, io, path::Path, time::Instant};
use tabtune::text::{Tokenizer, TokenizerFiles};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("tokenize FOLDER < texts.json > ids.json")?;
    let read = |name| fs::read(Path::new(&folder).join(name)).ok();
    let tokenizer = read("tokenizer.json").ok_or("there is no tokenizer.json")?;
    let (tokenizer_config, generation_config) = (read("tokenizer_config.json"), read("generation_config.json"));
    let chat_template = read("chat_template.jinja");

    let start = Instant::now();
    let tokenizer = Tokenizer::from_files(&TokenizerFiles {
        tokenizer: &tokenizer,
        tokenizer_config: tokenizer_config.as_deref(),
        generation_config: generation_config.as_deref(),
        chat_template: chat_template.as_deref(),
        config: b"{}",
    })?;
    let opened = start.elapsed().as_secs_f64();

    let texts: Vec<String> = serde_json::from_reader(io::stdin().lock())?;
    let start = Instant::now();
    let ids = texts.iter().map(|text| tokenizer.encode(text, false)).collect::<Result<Vec<_>, _>>()?;
    eprintln!("{opened:.3} {:.3}", start.elapsed().as_secs_f64());
    Ok(serde_json::to_writer(io::stdout().lock(), &ids)?)
}
