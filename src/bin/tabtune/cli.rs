//! Flags, and what each command does with them.

#[path = "bench.rs"]
mod bench;
#[path = "files.rs"]
mod files;
#[path = "merge.rs"]
mod merge;
#[path = "preview.rs"]
mod preview;
#[path = "train.rs"]
mod train;

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tabtune::error::{Error, Result};
use tabtune::generate::{Generator, Sampling};
use tabtune::model::{Storage, Target};
use tabtune::run::{Base, Control, evaluate, evaluator};
use tabtune::text::dataset::{Dataset, DatasetOptions, NATIVE_LIMIT, rows};

/// Fine-tune a small language model with LoRA. Standard output carries results, standard error everything else.
#[derive(Parser)]
#[command(name = "tabtune", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train an adapter on text and write PEFT's two files.
    Train(Box<train::TrainArgs>),
    /// Mean loss and perplexity over every target of a file.
    Eval(EvalArgs),
    /// Continue a prompt.
    Generate(GenerateArgs),
    /// Merge an adapter into its base: a full checkpoint in the base's layout.
    Merge(MergeArgs),
    /// What a model, an adapter or a text is.
    Info(InfoArgs),
    /// How fast the adapter is: multiply-adds in registers, and the matmul against them.
    Bench,
}

#[derive(Args)]
pub struct ModelArgs {
    /// A Hugging Face checkpoint; without it, the embedded base.
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// How the frozen weights are stored: f32, f16 (half the memory), or auto: f16 where the file is f16.
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    weights: String,
}

impl ModelArgs {
    async fn load(&self) -> Result<Base> {
        files::load_base(self.model.as_deref(), Storage::parse(&self.weights)?).await
    }
}

#[derive(Args)]
struct EvalArgs {
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    data: Vec<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,
    /// Factor of the adapter's scale; 0 is the base.
    #[arg(long, default_value_t = 1.0)]
    strength: f32,
    #[arg(long, default_value_t = 4)]
    batch: usize,
    #[arg(long)]
    seq_len: Option<usize>,
    /// Print one JSON object {loss, perplexity, tokens}.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct GenerateArgs {
    #[arg(long)]
    prompt: String,
    #[command(flatten)]
    model: ModelArgs,
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,
    #[arg(long, default_value_t = 1.0)]
    strength: f32,
    #[arg(long, default_value_t = 100)]
    max_tokens: usize,
    /// 0 always takes the likeliest token.
    #[arg(long, default_value_t = 0.7)]
    temperature: f64,
    /// Only the k likeliest tokens; 0: all.
    #[arg(long, default_value_t = 40)]
    top_k: usize,
    #[arg(long, default_value_t = 1.0)]
    top_p: f64,
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Args)]
struct MergeArgs {
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    #[arg(long, value_name = "DIR")]
    adapter: PathBuf,
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true).args(["model", "adapter", "data"]))]
struct InfoArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,
    #[arg(long, value_name = "FILE", num_args = 1..)]
    data: Vec<PathBuf>,
}

/// Runs the command. Exit status 0, or 1 with one error on standard error, 2 for wrong usage.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = pollster::block_on(async {
        match cli.command {
            Command::Train(args) => train::train(*args).await,
            Command::Eval(args) => eval(args).await,
            Command::Generate(args) => generate(args).await,
            Command::Merge(args) => merge::merge(&args.model, &args.adapter, &args.out).await,
            Command::Info(args) => info(args).await,
            Command::Bench => bench::bench().await,
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error[{}]: {error}\n{}", error.code(), error.hint());
            ExitCode::from(if is_wrong_usage(&error) { 2 } else { 1 })
        }
    }
}

/// A flag that contradicts `--init` is wrong usage, like one that clap refuses.
fn is_wrong_usage(error: &Error) -> bool {
    matches!(error, Error::Usage { .. })
}

async fn eval(args: EvalArgs) -> Result<()> {
    let base = args.model.load().await?;
    let model = match &args.adapter {
        Some(dir) => base.with_adapter(&files::read_adapter(dir)?)?,
        None => base.model.clone(),
    };
    let seq_len = args.seq_len.unwrap_or(if base.model.gpu.software { 64 } else { 128 }).min(base.model.config.context);
    if seq_len == 0 || args.batch == 0 {
        return Err(Error::Setting { name: "batch, seq-len".to_string(), value: "0".to_string(), expected: "at least 1".to_string() });
    }
    let documents = files::read_documents(&args.data)?;
    let all = rows(&base.tokenizer, &documents, seq_len)?.rows;
    let mut evaluator = evaluator(&model, args.batch, seq_len).await?;
    let control = Control::default();
    let strength = if args.adapter.is_some() { args.strength } else { 0.0 };
    let (loss, tokens) = evaluate(&mut evaluator, &all, args.batch, seq_len, strength, &control).await?.unwrap_or_default();
    if args.json {
        println!("{}", serde_json::json!({ "loss": loss, "perplexity": loss.exp(), "tokens": tokens }));
    } else {
        println!("loss {loss:.4} nats per token, perplexity {:.2}, {tokens} tokens", loss.exp());
    }
    Ok(())
}

async fn generate(args: GenerateArgs) -> Result<()> {
    let base = args.model.load().await?;
    let model = match &args.adapter {
        Some(dir) => base.with_adapter(&files::read_adapter(dir)?)?,
        None => base.model.clone(),
    };
    let generator = Generator::new(&model).await?;
    let sampling = Sampling {
        max_tokens: args.max_tokens,
        temperature: args.temperature,
        top_k: args.top_k,
        top_p: args.top_p,
        seed: args.seed,
        strength: args.strength,
    };
    let mut emit = |piece: &str| {
        print!("{piece}");
        let _ = std::io::stdout().flush();
    };
    generator.generate(&base.tokenizer, &args.prompt, &sampling, &mut emit, &|| true).await?;
    if std::io::stdout().is_terminal() {
        println!();
    }
    Ok(())
}

async fn info(args: InfoArgs) -> Result<()> {
    let base = args.model.load().await?;
    let config = &base.model.config;
    // Printed at the end, so that an error leaves standard output empty.
    let mut lines = Vec::new();
    if args.model.model.is_some() {
        lines.push(format!(
            "{}: {} of {} parameters, {} layers, hidden size {}, {} tokens in the vocabulary, context {}",
            base.name,
            config.model_type,
            config.parameters(),
            config.layers,
            config.hidden,
            config.vocabulary,
            config.context
        ));
        lines.push(format!("weights on the graphics adapter: {} bytes; adapter: {}", base.model.weight_bytes(), base.model.gpu.name));
    }
    if let Some(dir) = &args.adapter {
        let (adapter, _) = files::read_adapter(dir)?.load(&base.model.gpu, config)?;
        let targets: Vec<&str> = adapter.spec.targets().into_iter().map(Target::name).collect();
        lines.push(format!(
            "{}: LoRA of {} {}, alpha {}, on {} linears ({}); {} parameters",
            dir.display(),
            if adapter.spec.is_uniform() { "rank" } else { "several ranks and scales, largest rank" },
            adapter.spec.rank(),
            adapter.spec.alpha(),
            adapter.spec.sites().len(),
            targets.join(", "),
            adapter.parameters()
        ));
    }
    if !args.data.is_empty() {
        let settings = tabtune::run::Settings::defaults(config, base.model.gpu.software);
        let options = DatasetOptions { seq_len: settings.seq_len, holdout: settings.holdout, limit_bytes: NATIVE_LIMIT };
        let mut data = Dataset::from_documents(&base.tokenizer, &files::read_documents(&args.data)?, None, &options)?;
        data.hold_out_at_most(tabtune::run::MOST_HELD_OUT);
        lines.push(format!(
            "{} characters, {} tokens, {} rows of {} to train on, {} held out",
            data.characters,
            data.tokens,
            data.rows.len(),
            settings.seq_len,
            data.held_out.len()
        ));
        for warning in &data.warnings {
            lines.push(format!("warning[{}]: {}", warning.code, warning.message));
        }
        lines.extend(preview::lines(&base.tokenizer, &data.rows));
    }
    println!("{}", lines.join("\n"));
    Ok(())
}
