//! `tabtune generate`: the continuation of a prompt, without the prompt.

use std::cell::RefCell;
use std::io::IsTerminal as _;

use clap::Args;
use tabtune::error::Result;
use tabtune::generate::{Generator, Sampling};

use crate::cli::{AdapterArgs, ModelArgs};
use crate::terminal::print;

#[derive(Args)]
pub struct GenerateArgs {
    /// The text to continue; it is not printed.
    #[arg(long, allow_hyphen_values = true)]
    prompt: String,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    adapter: AdapterArgs,
    /// The most tokens to generate.
    #[arg(long, default_value_t = 100)]
    max_tokens: usize,
    /// Randomness of the choice of tokens; 0 always takes the likeliest one.
    #[arg(long, default_value_t = 0.7)]
    temperature: f64,
    /// Choose among the k likeliest tokens only; 0: among all.
    #[arg(long, default_value_t = 40)]
    top_k: usize,
    /// Choose among the likeliest tokens whose probabilities add up to p; 1: among all.
    #[arg(long, default_value_t = 1.0)]
    top_p: f64,
    /// Seed of the choice: the same seed gives the same text.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub async fn generate(args: GenerateArgs) -> Result<()> {
    let base = args.model.load().await?;
    let generator = Generator::new(&args.adapter.attach(&base)?).await?;
    let sampling = Sampling {
        max_tokens: args.max_tokens,
        temperature: args.temperature,
        top_k: args.top_k,
        top_p: args.top_p,
        seed: args.seed,
        strength: args.adapter.strength,
    };
    let printed = RefCell::new(Ok(()));
    let mut emit = |piece: &str| {
        let mut printed = printed.borrow_mut();
        if printed.is_ok() {
            *printed = print(piece);
        }
    };
    generator.generate(&base.tokenizer, &args.prompt, &sampling, &mut emit, &|| printed.borrow().is_ok()).await?;
    printed.into_inner()?;
    if std::io::stdout().is_terminal() { print("\n") } else { Ok(()) }
}
