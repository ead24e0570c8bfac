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

use std::cell::RefCell;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tabtune::error::{Error, Result};
use tabtune::generate::{Generator, Sampling};
use tabtune::model::{Storage, Target};
use tabtune::run::{self, Base, Control, MOST_ROWS, Settings, evaluate, evaluator};
use tabtune::text::dataset::{Dataset, DatasetOptions, NATIVE_LIMIT};

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
    #[command(allow_negative_numbers = true)]
    Train(Box<train::TrainArgs>),
    /// Mean loss and perplexity over every label of a file.
    #[command(allow_negative_numbers = true)]
    Eval(EvalArgs),
    /// Continue a prompt.
    #[command(allow_negative_numbers = true)]
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
    /// How the frozen weights are stored: f32, f16 (half the memory), or auto: f16 where the file is f16 [default:
    /// auto]
    #[arg(long, value_parser = ["auto", "f32", "f16"], hide_possible_values = true, value_name = "FORMAT")]
    weights: Option<String>,
}

impl ModelArgs {
    async fn load(&self) -> Result<Base> {
        self.load_stored(Storage::default()).await
    }

    /// With the weights stored as `usual`, unless a flag says otherwise.
    async fn load_stored(&self, usual: Storage) -> Result<Base> {
        let storage = self.weights.as_deref().map_or(Ok(usual), Storage::parse)?;
        files::load_base(self.model.as_deref(), storage).await
    }
}

#[derive(Args)]
struct EvalArgs {
    /// Texts: .txt, .md, .csv, .jsonl.
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    data: Vec<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    /// An adapter of that model; without it, the base.
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,
    /// Factor of the adapter's scale; 0 is the base.
    #[arg(long, default_value_t = 1.0)]
    strength: f32,
    /// Rows that are computed at once.
    #[arg(long, default_value_t = 4)]
    batch: usize,
    /// Tokens of a row [default: 128, on a software adapter 64]
    #[arg(long)]
    seq_len: Option<usize>,
    /// Print one JSON object {loss, perplexity, tokens}.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct GenerateArgs {
    /// What the text begins with; it is not printed.
    #[arg(long, allow_hyphen_values = true)]
    prompt: String,
    #[command(flatten)]
    model: ModelArgs,
    /// An adapter of that model; without it, the base.
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,
    /// Factor of the adapter's scale; 0 is the base.
    #[arg(long, default_value_t = 1.0)]
    strength: f32,
    /// The most tokens that are generated.
    #[arg(long, default_value_t = 100)]
    max_tokens: usize,
    /// 0 always takes the likeliest token.
    #[arg(long, default_value_t = 0.7)]
    temperature: f64,
    /// Only the k likeliest tokens; 0: all.
    #[arg(long, default_value_t = 40)]
    top_k: usize,
    /// Only the likeliest tokens whose probabilities reach p; 1: all.
    #[arg(long, default_value_t = 1.0)]
    top_p: f64,
    /// The same seed gives the same text.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Args)]
struct MergeArgs {
    /// The base, a Hugging Face checkpoint.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// An adapter of that model.
    #[arg(long, value_name = "DIR")]
    adapter: PathBuf,
    /// A folder that is empty or does not exist yet.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true).args(["model", "adapter", "data"]))]
struct InfoArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// PEFT's two files.
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,
    /// Texts: how many rows they make, and the first ones, token by token.
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
    let context = base.model.config.context;
    let seq_len = args.seq_len.unwrap_or(if base.model.device.software { 64 } else { 128 }.min(context));
    if !(1..=context).contains(&seq_len) {
        return Err(setting("seq-len", seq_len, &format!("a whole number from 1 to {context}, the model's context")));
    }
    if !(1..=MOST_ROWS).contains(&args.batch) {
        return Err(setting("batch", args.batch, &format!("a whole number from 1 to {MOST_ROWS}")));
    }
    if !args.strength.is_finite() {
        return Err(setting("strength", args.strength, "a finite number"));
    }
    let options = DatasetOptions { seq_len, holdout: 0.0, holdout_at_most: None, limit_bytes: NATIVE_LIMIT };
    let data = Dataset::from_documents(&base.tokenizer, &files::read_documents(&args.data)?, None, &options)?;
    for warning in &data.warnings {
        eprintln!("warning[{}]: {}", warning.code, warning.message);
    }
    let mut evaluator = evaluator(&model, args.batch, seq_len).await?;
    let control = Control::default();
    let strength = if args.adapter.is_some() { args.strength } else { 0.0 };
    let (loss, tokens) = evaluate(&mut evaluator, &data.rows, strength, &control).await?.unwrap_or_default();
    if !loss.exp().is_finite() {
        return Err(setting("strength", strength, "a factor at which perplexity is a finite number"));
    }
    match args.json {
        true => {
            print(&format!("{}\n", serde_json::json!({ "loss": loss, "perplexity": loss.exp(), "tokens": tokens })))
        }
        false => print(&format!("loss {loss:.4} nats per token, perplexity {:.2}, {tokens} tokens\n", loss.exp())),
    }
}

fn setting(name: &str, value: impl ToString, expected: &str) -> Error {
    Error::Setting { name: name.to_string(), value: value.to_string(), expected: expected.to_string() }
}

/// Results go out at once. A full disk or a reader that has gone is an error like any other, not a panic as with
/// `print!`.
fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|e| Error::Io { path: "standard output".to_string(), reason: e.to_string() })
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
        lines.push(format!(
            "weights on the graphics adapter: {} bytes; adapter: {}",
            base.model.weight_bytes(),
            base.model.device.name
        ));
        let settings = Settings::defaults(config, base.model.device.software);
        let (batch, seq_len, rank) = (settings.batch, settings.seq_len, settings.rank);
        let what = format!("a run with the default settings (batch {batch}, length {seq_len}, rank {rank})");
        lines.push(match run::memory(&base, &settings) {
            Ok(bytes) => format!("graphics memory of {what}: about {bytes} bytes"),
            Err(error) => format!("{what} is not possible: {error}"),
        });
    }
    if let Some(dir) = &args.adapter {
        let (adapter, _) = files::read_adapter(dir)?.load(&base.model.device, config)?;
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
        let settings = Settings::defaults(config, base.model.device.software);
        let options = settings.dataset_options(NATIVE_LIMIT);
        let data = Dataset::from_documents(&base.tokenizer, &files::read_documents(&args.data)?, None, &options)?;
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
    lines.push(String::new());
    print(&lines.join("\n"))
}
