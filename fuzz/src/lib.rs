//! What the fuzzers call: every reader of files from outside, and what must hold of anything that it accepts. The suite
//! replays their seeds and findings through the same functions (tests/suite/fuzz.rs).

use std::sync::LazyLock;

use tabtune::adapter::AdapterFiles;
use tabtune::error::{Error, Result};
use tabtune::files::safetensors::{self, Header};
use tabtune::files::{Gguf, Index, Source};
use tabtune::model::Config;
use tabtune::run::{ModelFiles, RunState};
use tabtune::text::chat::{ChatConfig, ChatTemplate};
use tabtune::text::{Conversation, Document, Tokenizer, TokenizerFiles, rows};

/// Reads one file. An error says that it was refused.
pub type Target = fn(&[u8]) -> Result<()>;

pub const TARGETS: [(&str, Target); 9] = [
    ("adapter", adapter),
    ("gguf", gguf),
    ("run_state", run_state),
    ("config", config),
    ("documents", documents),
    ("safetensors", safetensors),
    ("shards", shards),
    ("template", template),
    ("tokenizer", tokenizer),
];

/// A safetensors file; and, so that data of any size can be claimed, the same bytes as the length of a file and its
/// header. Accepted if it is one of both.
pub fn safetensors(bytes: &[u8]) -> Result<()> {
    let Some((first8, rest)) = bytes.split_first_chunk::<8>() else { return Header::parse(bytes, 0, "file").map(drop) };
    let read = |json: &[u8], file_bytes: u64| -> Result<()> {
        check_header(&Header::parse(json, file_bytes, "file")?, json.len() as u64 + 8, file_bytes);
        Ok(())
    };
    let claimed = read(rest, u64::from_le_bytes(*first8));
    let file_bytes = bytes.len() as u64;
    Header::length(first8, file_bytes, "file").and_then(|length| read(&rest[..length as usize], file_bytes)).or(claimed)
}

/// The tensors fill the data from `begin` to `end`, and each is found by its name.
fn check_header(header: &Header, begin: u64, end: u64) {
    let others = header.others.iter().map(|other| (other.begin, other.end));
    let ranges: Vec<(u64, u64)> = header.entries.iter().map(|entry| (entry.begin, entry.end)).chain(others).collect();
    assert_eq!(ranges.iter().map(|(begin, end)| end - begin).sum::<u64>(), end - begin);
    assert!(ranges.iter().all(|range| begin <= range.0 && range.1 <= end));
    for entry in &header.entries {
        assert_eq!(header.get(&entry.name), Some(entry));
        assert_eq!(
            entry.shape.iter().map(|n| *n as u64).product::<u64>() * entry.dtype.block().1,
            entry.end - entry.begin
        );
    }
}

/// An index, beside two files: `a.safetensors` holds x and y, `b.safetensors` holds z.
pub fn shards(bytes: &[u8]) -> Result<()> {
    let tensor = |name: &str| (name.to_string(), vec![2], &[0.5, -0.5][..]);
    let source = Index::parse(bytes, "index")?.join(|name| {
        let tensors = match name {
            "a.safetensors" => vec![tensor("x"), tensor("y")],
            "b.safetensors" => vec![tensor("z")],
            _ => return Ok(None),
        };
        Ok(Some(Source::memory(name, safetensors::write(&tensors, &[]))))
    })?;
    let header = pollster::block_on(source.header())?;
    assert!(header.warnings.len() < 2);
    for entry in &header.entries {
        let bytes = pollster::block_on(source.read(entry.begin, entry.end - entry.begin))?;
        assert_eq!(bytes, [0.5_f32, -0.5].map(f32::to_le_bytes).concat(), "{}", entry.name);
    }
    Ok(())
}

/// A GGUF file: its tensors are in it, and a model that it holds has a tokenizer.
pub fn gguf(bytes: &[u8]) -> Result<()> {
    let source = || Source::memory("file.gguf", bytes.to_vec());
    let found = pollster::block_on(Gguf::read(&source()))?;
    for entry in &found.tensors {
        let numbers = entry.shape.iter().map(|n| *n as u64).product();
        assert_eq!(entry.range(0, numbers), (entry.begin, entry.end - entry.begin));
        let data = &bytes[entry.begin as usize..entry.end as usize];
        let mut values = Vec::new();
        safetensors::to_f32(entry.dtype, data, &mut values);
        assert_eq!(values.len() as u64, numbers);
    }
    let model = pollster::block_on(ModelFiles::of_gguf(source()))?;
    Tokenizer::from_files(&model.small())?;
    Ok(())
}

/// A config.json.
pub fn config(bytes: &[u8]) -> Result<()> {
    let config = Config::parse(bytes)?;
    assert!(config.parameters() <= 15_000_000_000);
    assert_eq!(config.heads.query % config.heads.key, 0);
    Ok(())
}

/// An adapter_config.json, NUL, and its tensors; of a GGUF file, the config is empty. Which linears, and merged into a
/// model of [4, 4] matrices.
pub fn adapter(bytes: &[u8]) -> Result<()> {
    const NUMBERS: [f32; 16] = [0.5; 16];
    static BASE: LazyLock<(Config, Vec<u8>)> = LazyLock::new(|| {
        let json = br#"{"model_type": "llama", "hidden_size": 4, "intermediate_size": 4, "num_attention_heads": 1,
                        "num_hidden_layers": 2, "vocab_size": 4}"#;
        let config = Config::parse(json).expect("a model");
        let numbers = |shape: &[usize]| &NUMBERS[..shape.iter().product()];
        let tensors: Vec<_> =
            config.tensors().into_iter().map(|spec| (spec.name, spec.shape.clone(), numbers(&spec.shape))).collect();
        let base = safetensors::write(&tensors, &[]);
        (config, base)
    });

    let (config, weights) = parts(bytes);
    let files = AdapterFiles { config: String::from_utf8_lossy(config).into_owned(), weights: weights.to_vec() };
    let spec = files.spec(&BASE.0)?;
    assert!(spec.sites().iter().all(|site| site.rank > 0 && site.scale() >= 0.0));

    let (config, base) = &*BASE;
    let mut written = 0;
    let source = Source::memory("model.safetensors", base.clone());
    let mut write = |piece: &[u8]| {
        written += piece.len();
        Ok(())
    };
    pollster::block_on(async { files.merge(config, &source, 1.0).await?.write(0, source.bytes, &mut write).await })?;
    assert_eq!(written, base.len());
    Ok(())
}

/// Examples as JSON Lines and as CSV, and what is trained on of them. Accepted if they are good as one of both.
pub fn documents(bytes: &[u8]) -> Result<()> {
    static CHAT: LazyLock<Tokenizer> = LazyLock::new(|| {
        let characters: Vec<String> =
            ('!'..='~').chain(['Ġ', 'Ċ']).zip(0..).map(|(c, id)| format!("{:?}:{id}", c.to_string())).collect();
        let tokenizer = format!(
            r#"{{"pre_tokenizer": {{"type": "ByteLevel", "add_prefix_space": false}},
                "decoder": {{"type": "ByteLevel"}},
                "model": {{"type": "BPE", "vocab": {{{}}}, "merges": []}}}}"#,
            characters.join(",")
        );
        let template = b"{% for m in messages %}<{{ m['role'] }}>{{ m['content'] | trim }}</>\n{% endfor %}\
                         {{ tools | tojson if tools }}\
                         {% if add_generation_prompt %}<assistant>{% endif %}";
        tokenizer_of(tokenizer.as_bytes(), Some(template)).expect("a tokenizer")
    });

    let read = |name: &str| -> Result<()> {
        let document = Document::new(name, bytes.to_vec());
        document.read()?;
        let found = rows(&CHAT, &[document], 7)?;
        assert!(found.rows.iter().all(|row| row.ids.len() == 8 && row.labels.len() == 7 && row.tokens <= 7));
        Ok(())
    };
    read("a.jsonl").or(read("a.csv"))
}

/// A tokenizer.json, NUL, and a text.
pub fn tokenizer(bytes: &[u8]) -> Result<()> {
    let (json, text) = parts(bytes);
    let tokenizer = tokenizer_of(json, None)?;
    for text in ["Hello, world!  It's 2026.\n\n", &String::from_utf8_lossy(text)] {
        let ids = tokenizer.encode(text, true)?;
        assert!(ids.iter().all(|id| (*id as usize) < tokenizer.size()), "{ids:?}");
        tokenizer.decode(&ids)?;
        let (placed, places) = tokenizer.encode_with_offsets(text)?;
        assert_eq!(placed, tokenizer.encode(text, false)?);
        assert_eq!(placed.len(), places.len());
        assert_eq!(placed, tokenizer.encode_in_pieces(text, false, 1)?, "in pieces");
    }
    Ok(())
}

/// A chat template, and what it makes of a conversation with everything that one may have.
pub fn template(bytes: &[u8]) -> Result<()> {
    static TALK: LazyLock<Conversation> = LazyLock::new(|| {
        let record = r#"{"messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": " a- b "},
            {"role": "assistant", "content": "", "tool_calls": [{"type": "function",
                "function": {"name": "depth", "arguments": "{\"berth\": 4, \"deep\": [true, 1.5, null]}"}}]},
            {"role": "tool", "name": "depth", "content": [{"type": "text", "text": "3.2"}]},
            {"role": "assistant", "content": "It's \"3.2\" – m.\n"}],
            "tools": [{"type": "function", "function": {"name": "depth", "parameters": {"type": "object"}}}],
            "chat_template_kwargs": {"thinking": false}}"#;
        Conversation::of_file(&Document::new("a.json", record.as_bytes().to_vec())).expect("a conversation")
    });
    let unusable = |reason| Error::ChatTemplate { reason };
    let compiled = ChatTemplate::new(Some(bytes), ChatConfig::default());
    let template = compiled.unwrap_or_else(|| unreachable!("a template was given")).map_err(unusable)?;
    let text = template.text(&TALK, false).map_err(|refusal| refusal.error("a test"))?;
    let spans = template.assistant_spans(&TALK, &text, text.len());
    assert!(spans.iter().all(|span| span.start < span.end && text.get(span.clone()).is_some()), "{spans:?}");
    assert!(spans.windows(2).all(|pair| pair[0].end <= pair[1].start), "{spans:?}");
    Ok(())
}

/// The state of a run that is to be resumed.
pub fn run_state(bytes: &[u8]) -> Result<()> {
    let state = RunState::from_bytes(bytes)?;
    let counts = [state.step, state.updates, state.losses.since_best];
    assert!(counts.iter().all(|count| *count <= state.settings.steps), "{counts:?}");
    assert_eq!(RunState::from_bytes(&state.to_bytes())?, state);
    Ok(())
}

/// What stands before the first NUL and what stands behind it.
fn parts(bytes: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

fn tokenizer_of(json: &[u8], chat_template: Option<&[u8]>) -> Result<Tokenizer> {
    Tokenizer::from_files(&TokenizerFiles {
        tokenizer: json,
        tokenizer_config: None,
        generation_config: None,
        chat_template,
        config: b"{}",
    })
}
