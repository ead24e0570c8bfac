//! The commands, the flags that several of them take, and the exit status.

use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use clap::{Args, Parser, Subcommand};
use tabtune::adapter::AdapterFiles;
use tabtune::device::{Choice, Device, DeviceOptions, set_threads};
use tabtune::error::{Error, Result};
use tabtune::model::{Storage, Transformer};
use tabtune::run::{Base, Unloaded};
use tabtune::text::Columns;

use crate::base;
use crate::bench::{BenchArgs, bench};
use crate::eval::{EvalArgs, eval};
use crate::export::{ExportArgs, export};
use crate::generate::{GenerateArgs, generate};
use crate::info::{InfoArgs, info};
use crate::merge::{MergeArgs, merge};
use crate::terminal::show;
use crate::train::{TrainArgs, train};

/// Fine-tune a small language model with LoRA. Results go to standard output, everything else to standard error.
#[derive(Parser)]
#[command(name = "tabtune", version, after_help = EXIT_STATUS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_STATUS: &str = "\
Exit status:
  0  the command did what was asked
  1  it failed: standard error says what, where and what to do
  2  wrong usage
  3  a run ended because its loss or gradient was not a finite number; the best finite adapter so far is kept";
const WRONG_USAGE: u8 = 2;
pub const NOT_FINITE: u8 = 3;

#[derive(Subcommand)]
enum Command {
    /// Train an adapter on text and write it as PEFT's two files.
    #[command(allow_negative_numbers = true, after_help = EXIT_STATUS)]
    Train(Box<TrainArgs>),
    /// Print the mean loss and the perplexity of a text.
    #[command(allow_negative_numbers = true)]
    Eval(EvalArgs),
    /// Continue a prompt.
    #[command(allow_negative_numbers = true)]
    Generate(GenerateArgs),
    /// Write an adapter as PEFT's files, MLX's, or a GGUF file of llama.cpp.
    Export(ExportArgs),
    /// Merge an adapter into its base: a checkpoint in the base's layout, or a GGUF file, also of the base alone.
    Merge(MergeArgs),
    /// Describe a model, an adapter or a text.
    Info(InfoArgs),
    /// Measure the device: multiply-adds in registers, memory, the matmul beside them, and a training step; or a step
    /// of one model, and what each of its kernels takes.
    Bench(Box<BenchArgs>),
}

#[derive(Args)]
pub struct ModelArgs {
    /// A Hugging Face checkpoint, or a GGUF file [default: the embedded base]
    #[arg(long, value_name = "DIR|FILE")]
    pub model: Option<PathBuf>,
    /// How the frozen weights are stored: f32, f16, int8 or int4 (32, 16, 8.5 and 4.5 bits a number), or auto (as the
    /// file; for a run that would not fit, in fewer bits) [default: auto]
    #[arg(long, hide_possible_values = true, value_name = "FORMAT")]
    #[arg(value_parser = ["auto", "f32", "f16", "int8", "int4"])]
    weights: Option<String>,
    #[command(flatten)]
    pub device: DeviceArgs,
}

#[derive(Args)]
pub struct DeviceArgs {
    /// What computes: gpu, cpu, or auto (a graphics card if there is a real one, else the CPU) [default: auto]
    #[arg(long, value_parser = ["auto", "gpu", "cpu"], hide_possible_values = true, value_name = "DEVICE")]
    device: Option<String>,
    /// How many threads the CPU uses [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

impl DeviceArgs {
    pub async fn open(&self) -> Result<Rc<Device>> {
        self.open_within(None).await
    }

    /// A device whose buffers take at most so many bytes.
    pub async fn open_within(&self, max_memory: Option<u64>) -> Result<Rc<Device>> {
        self.open_with(DeviceOptions { choice: self.choice()?, max_memory, ..DeviceOptions::default() }).await
    }

    pub async fn open_with(&self, options: DeviceOptions) -> Result<Rc<Device>> {
        if let Some(count) = self.threads {
            set_threads(count.into());
        }
        Device::new(options).await
    }

    pub fn choice(&self) -> Result<Choice> {
        self.device.as_deref().map_or(Ok(Choice::Auto), Choice::parse)
    }
}

impl ModelArgs {
    /// Loads the model and says what there is to say about it.
    pub async fn load(&self) -> Result<Base> {
        let base = self.load_stored(&self.device.open().await?, Storage::default()).await?;
        show(&base.model.warnings);
        Ok(base)
    }

    /// Loads the model with its weights stored as `usual`, unless a flag says otherwise. A run reports its warnings.
    pub async fn load_stored(&self, device: &Rc<Device>, usual: Storage) -> Result<Base> {
        base::load(device, self.model.as_deref(), self.storage(usual)?).await
    }

    /// What would be loaded, of which no number is read.
    pub async fn unloaded(&self, device: &Device, usual: Storage) -> Result<Unloaded> {
        Unloaded::of(device, &base::checkpoint(self.model.as_deref()).await?, self.storage(usual)?)
    }

    /// What the flag asks for; `auto` is `usual`.
    pub fn storage(&self, usual: Storage) -> Result<Storage> {
        self.weights.as_deref().filter(|name| *name != "auto").map_or(Ok(usual), Storage::parse)
    }
}

#[derive(Args)]
pub struct AdapterArgs {
    /// An adapter of that model: a folder of PEFT or MLX, or a GGUF file [default: none, the base alone]
    #[arg(long, value_name = "DIR|FILE")]
    pub adapter: Option<PathBuf>,
    /// Factor of the adapter's scale; 0 is the base alone.
    #[arg(long, default_value_t = 1.0)]
    pub strength: f32,
}

impl AdapterArgs {
    pub fn attach(&self, base: &Base) -> Result<Transformer> {
        match &self.adapter {
            Some(dir) => {
                let (adapter, model) = base.load_adapter(&AdapterFiles::open(dir)?)?;
                show(&adapter.warnings);
                Ok(model)
            }
            None => Ok(base.model.clone()),
        }
    }
}

#[derive(Args)]
pub struct ColumnArgs {
    /// The column or key that holds the text, if its name is not one that is known.
    #[arg(long, value_name = "NAME")]
    text_column: Option<String>,
    /// The column or key that holds the prompt; --completion-column goes with it.
    #[arg(long, value_name = "NAME")]
    prompt_column: Option<String>,
    /// The column or key that holds the completion.
    #[arg(long, value_name = "NAME")]
    completion_column: Option<String>,
}

impl ColumnArgs {
    pub fn columns(&self) -> Result<Columns> {
        Columns::chosen(self.text_column.clone(), self.prompt_column.clone(), self.completion_column.clone())
    }
}

pub fn setting(name: &str, value: impl ToString, expected: &str) -> Error {
    Error::Setting { name: name.to_string(), value: value.to_string(), expected: expected.to_string() }
}

pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let done = |()| ExitCode::SUCCESS;
    let ended = pollster::block_on(async {
        match cli.command {
            Command::Train(args) => train(*args).await,
            Command::Eval(args) => eval(args).await.map(done),
            Command::Generate(args) => generate(args).await.map(done),
            Command::Export(args) => export(&args).await.map(done),
            Command::Merge(args) => merge(&args).await.map(done),
            Command::Info(args) => info(args).await.map(done),
            Command::Bench(args) => bench(&args).await.map(done),
        }
    });
    ended.unwrap_or_else(|error| {
        eprintln!("error[{}]: {error}\n{}", error.code(), error.hint());
        // A flag that contradicts `--init` is wrong usage, like one that clap refuses.
        if matches!(error, Error::Usage { .. }) { ExitCode::from(WRONG_USAGE) } else { ExitCode::FAILURE }
    })
}
