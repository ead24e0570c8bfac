//! `tabtune train`: flags to settings, events to a progress bar and a log.

use std::io::Write as _;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tabtune::adapter::{AdapterFiles, SiteSpec};
use tabtune::error::{Error, Result};
use tabtune::model::{Config, Target};
use tabtune::run::{self, Control, Event, Files, Hooks, Kept, Method, RunState, SaveHook, Settings, Start, Wish};
use tabtune::text::dataset::{Dataset, NATIVE_LIMIT};
use tabtune::train::Schedule;

use super::files;

#[derive(Args)]
pub struct TrainArgs {
    /// Texts: .txt, .md, .csv, .jsonl.
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    data: Vec<PathBuf>,
    /// Where PEFT's two files go.
    #[arg(long, value_name = "ADAPTER_DIR")]
    out: PathBuf,
    #[command(flatten)]
    model: super::ModelArgs,
    /// Start from this adapter; rank, alpha and targets are its.
    #[arg(long, value_name = "ADAPTER_DIR")]
    init: Option<PathBuf>,
    /// lora, or full: every matrix of the blocks, which writes a whole checkpoint to --out [default: lora]
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    /// Rank of the adapter's matrices [default: 8]
    #[arg(long)]
    rank: Option<usize>,
    /// What the adapter counts: alpha / rank times [default: twice the rank]
    #[arg(long)]
    alpha: Option<f64>,
    /// all-linear, attention, or names such as q_proj,v_proj [default: all-linear]
    #[arg(long)]
    targets: Option<String>,
    /// Peak learning rate [default: measured for the embedded base, 5e-4 for others]
    #[arg(long)]
    lr: Option<f64>,
    /// linear, cosine or constant [default: linear]
    #[arg(long)]
    schedule: Option<String>,
    /// Fraction of the steps in which the learning rate rises [default: 0.05]
    #[arg(long)]
    warmup: Option<f64>,
    /// Updates of the adapter [default: 150 or three epochs, whichever is more, at most 2000]
    #[arg(long, conflicts_with = "epochs")]
    steps: Option<u32>,
    /// How often each row is learnt from, in the place of --steps.
    #[arg(long)]
    epochs: Option<f64>,
    /// Rows that are computed at once [default: 8, on a software adapter 4]
    #[arg(long)]
    batch: Option<usize>,
    /// Tokens of a row [default: 128 for the embedded base, 256 for others, on a software adapter 64]
    #[arg(long)]
    seq_len: Option<usize>,
    /// Batches of a step [default: 1]
    #[arg(long)]
    accumulate: Option<usize>,
    /// Largest norm of the gradient; 0: no clipping [default: 1]
    #[arg(long)]
    clip: Option<f64>,
    /// AdamW's weight decay [default: 0]
    #[arg(long)]
    weight_decay: Option<f64>,
    /// Probability with which an input of A is zeroed [default: 0]
    #[arg(long)]
    dropout: Option<f64>,
    /// Fraction of the rows that is held out [default: 0.1, at most 64 rows]
    #[arg(long, conflicts_with = "eval_data")]
    holdout: Option<f64>,
    /// A text of its own to evaluate on, in the place of a part of --data.
    #[arg(long, value_name = "FILE")]
    eval_data: Option<PathBuf>,
    /// Steps between evaluations [default: a tenth of the run]
    #[arg(long)]
    eval_every: Option<u32>,
    /// End after so many evaluations in a row without a lower held-out loss.
    #[arg(long, value_name = "N")]
    patience: Option<u32>,
    /// Steps between samples [default: none]
    #[arg(long)]
    sample_every: Option<u32>,
    /// What samples continue.
    #[arg(long, allow_hyphen_values = true)]
    prompt: Option<String>,
    /// Of the adapter's start, the order of the rows, dropout and samples [default: 0]
    #[arg(long)]
    seed: Option<u64>,
    /// Keep the rows in file order.
    #[arg(long)]
    no_shuffle: bool,
    /// Write every event to this file, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Seconds between checkpoints in the adapter's directory, which a run that was killed goes on from [default: 30]
    #[arg(long, value_name = "SECONDS")]
    checkpoint_every: Option<f64>,
    /// Go on with the run whose adapter directory this is, with the same data. Its settings count.
    #[arg(long, value_name = "DIR", conflicts_with = "init")]
    resume: Option<PathBuf>,
}

impl TrainArgs {
    fn settings(&self, mut settings: Settings) -> Result<Settings> {
        let schedule = match self.schedule.as_deref() {
            None => None,
            Some("linear") => Some(Schedule::Linear),
            Some("cosine") => Some(Schedule::Cosine),
            Some("constant") => Some(Schedule::Constant),
            Some(other) => {
                return Err(Error::Usage {
                    reason: format!("--schedule {other}: expected linear, cosine or constant"),
                });
            }
        };
        settings.method = match self.method.as_deref() {
            None => settings.method,
            Some("lora") => Method::Lora,
            Some("full") => Method::Full,
            Some(other) => return Err(Error::Usage { reason: format!("--method {other}: expected lora or full") }),
        };
        if settings.method == Method::Full
            && (self.rank.is_some() || self.alpha.is_some() || self.targets.is_some() || self.init.is_some())
        {
            let reason = "--rank, --alpha, --targets and --init belong to --method lora".to_string();
            return Err(Error::Usage { reason });
        }
        let rank = self.rank.unwrap_or(settings.rank);
        settings.schedule = schedule.unwrap_or(settings.schedule);
        settings.alpha = self.alpha.unwrap_or(if self.rank.is_some() { 2.0 * rank as f64 } else { settings.alpha });
        settings.rank = rank;
        settings.targets = self.targets.clone().unwrap_or(settings.targets);
        settings.lr = self.lr.unwrap_or(settings.lr);
        settings.warmup = self.warmup.unwrap_or(settings.warmup);
        settings.batch = self.batch.unwrap_or(settings.batch);
        settings.seq_len = self.seq_len.unwrap_or(settings.seq_len);
        settings.accumulate = self.accumulate.unwrap_or(settings.accumulate);
        settings.clip = self.clip.unwrap_or(settings.clip);
        settings.weight_decay = self.weight_decay.unwrap_or(settings.weight_decay);
        settings.dropout = self.dropout.unwrap_or(settings.dropout);
        settings.patience = self.patience.unwrap_or(settings.patience);
        if self.holdout.is_some() || self.eval_data.is_some() {
            settings.holdout_at_most = None;
        }
        settings.holdout = self.holdout.unwrap_or(settings.holdout);
        settings.eval_every = self.eval_every.unwrap_or(settings.eval_every);
        settings.sample_every = self.sample_every.unwrap_or(settings.sample_every);
        settings.prompt = self.prompt.clone().unwrap_or(settings.prompt);
        settings.seed = self.seed.unwrap_or(settings.seed);
        settings.shuffle &= !self.no_shuffle;
        Ok(settings)
    }

    /// Rank, alpha and targets come from the adapter that a run starts from; a flag may repeat them, not contradict
    /// them.
    fn follow(&self, init: &AdapterFiles, config: &Config, settings: &mut Settings) -> Result<()> {
        let spec = init.spec()?;
        let every_site = |same: &dyn Fn(&SiteSpec) -> bool| spec.sites().iter().all(same);
        let covers = |asked: &String| {
            let asked = Target::parse_list(asked).unwrap_or_default();
            asked == spec.targets() && spec.sites().len() == asked.len() * config.layers
        };
        let contradicts = self.rank.is_some_and(|rank| !every_site(&|site| site.rank == rank))
            || self.alpha.is_some_and(|alpha| !every_site(&|site| site.alpha == alpha))
            || self.targets.as_ref().is_some_and(|asked| !covers(asked));
        let targets: Vec<&str> = spec.targets().into_iter().map(Target::name).collect();
        let targets = targets.join(",");
        if contradicts {
            let several = if spec.is_uniform() { "" } else { " at most, by site" };
            let linears = spec.sites().len();
            let reason = format!(
                "--init has rank {}, alpha {}{several}, on {linears} linears, targets {targets}: leave these flags out",
                spec.rank(),
                spec.alpha()
            );
            return Err(Error::Usage { reason });
        }
        (settings.rank, settings.alpha, settings.targets) = (spec.rank(), spec.alpha(), targets);
        Ok(())
    }
}

pub async fn train(args: TrainArgs) -> Result<()> {
    let init = args.init.as_deref().map(files::read_adapter).transpose()?;
    let resumed = args.resume.as_deref().map(files::read_checkpoint).transpose()?;
    let documents = files::read_documents(&args.data)?;
    let eval_documents =
        args.eval_data.as_ref().map(|path| files::read_documents(std::slice::from_ref(path))).transpose()?;
    if let Some(epochs) = args.epochs.filter(|epochs| !(epochs.is_finite() && *epochs > 0.0)) {
        let expected = "a positive number".to_string();
        return Err(Error::Setting { name: "epochs".to_string(), value: epochs.to_string(), expected });
    }
    let texts = args.data.iter().chain(&args.eval_data);
    if let Some(log) = args.log.as_ref().filter(|log| texts.clone().any(|text| files::same_file(log, text))) {
        let (value, expected) =
            (log.display().to_string(), "another file than the text, which it would replace".to_string());
        return Err(Error::Setting { name: "log".to_string(), value, expected });
    }
    let recorded = resumed.as_ref().and_then(RunState::storage).unwrap_or_default();
    let base = args.model.load_stored(recorded).await?;
    let defaults = || Settings::defaults(&base.model.config, base.model.device.software);
    let mut settings = args.settings(resumed.as_ref().map_or_else(defaults, |state| state.settings.clone()))?;
    if let Some(init) = &init {
        args.follow(init, &base.model.config, &mut settings)?;
    }
    settings.check(&base.model.config)?;
    let options = settings.dataset_options(NATIVE_LIMIT);
    let data = Dataset::from_documents(&base.tokenizer, &documents, eval_documents.as_deref(), &options)?;
    settings.steps = match (args.steps, args.epochs) {
        (Some(steps), _) => steps,
        (None, Some(epochs)) => {
            (epochs * data.rows.len().div_ceil(settings.batch * settings.accumulate) as f64).ceil() as u32
        }
        (None, None) if resumed.is_some() => settings.steps,
        (None, None) => settings.default_steps(data.rows.len()),
    };
    settings.check(&base.model.config)?;
    if resumed.as_ref().is_some_and(|state| state.settings != settings || base.storage != recorded) {
        let reason = "--resume goes on with the settings of its run: leave the flags out that change them".to_string();
        return Err(Error::Usage { reason });
    }

    if let (Method::Full, Some(model)) = (settings.method, &args.model.model)
        && files::same_file(model, &args.out)
    {
        let (value, expected) =
            (args.out.display().to_string(), "another folder than --model, whose files it would replace".to_string());
        return Err(Error::Setting { name: "out".to_string(), value, expected });
    }
    let checkpoint_every = args.checkpoint_every.unwrap_or(run::SAVE_EVERY_MS / 1000.0);
    if checkpoint_every.is_nan() || checkpoint_every < 0.0 {
        let (value, expected) = (checkpoint_every.to_string(), "a number of seconds, at least 0".to_string());
        return Err(Error::Setting { name: "checkpoint-every".to_string(), value, expected });
    }
    let out = files::OutFolder::make(&args.out)?;
    // Opened without a change, so that a run that is refused leaves the log and the checkpoint of another as they are.
    let open_log = |path: &PathBuf| {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        file.map_err(|e| Error::Io { path: path.display().to_string(), reason: e.to_string() })
    };
    let mut log = args.log.as_ref().map(open_log).transpose()?;
    let fresh = resumed.is_none();
    let screen = Screen::new(settings.steps);
    let start = Instant::now();
    let clock: run::Clock = Rc::new(move || start.elapsed().as_secs_f64() * 1000.0);
    let control = Control::default();
    stop_on_interrupt(&control);
    let mut log_failed = None;
    let mut stale = Ok(());
    let mut emit = |event: Event| {
        screen.show(&event);
        if matches!(event, Event::Config { .. }) {
            log_failed = log.as_ref().and_then(|file| file.set_len(0).err()).map(|error| error.to_string());
            if fresh {
                stale = files::remove_checkpoint(&args.out);
            }
        }
        if let Some(file) = &mut log {
            let line = serde_json::to_string(&event).unwrap_or_default();
            if let Err(error) = writeln!(file, "{line}") {
                log_failed.get_or_insert(error.to_string());
            }
        }
    };
    let mut saved = Ok(());
    let mut keep = |kept: &Kept| {
        saved = match &kept.files {
            Files::Adapter(files) => files::write_adapter(&args.out, files),
            Files::Checkpoint(weights) => files::write_model(&args.out, args.model.model.as_deref(), weights),
        }
    };
    let mut checkpointed = None;
    let mut save = |bytes: Vec<u8>| checkpointed = Some(files::write_checkpoint(&args.out, &bytes));
    let hook = SaveHook { every_ms: checkpoint_every * 1000.0, save: &mut save };
    let hooks = Hooks { emit: &mut emit, keep: &mut keep, save: Some(hook) };
    let start = match (resumed, &init) {
        (Some(state), _) => Start::Resume(Box::new(state)),
        (None, Some(files)) => Start::Adapter(files),
        (None, None) => Start::Fresh,
    };
    let outcome = run::train(&base, &data, &settings, start, &control, &clock, hooks).await?;
    drop(out);
    screen.bar.finish_and_clear();
    eprintln!("graphics memory at its peak: {} bytes", base.model.device.peak_bytes());
    saved?;
    stale?;
    let resumable = checkpointed.is_some() || !fresh;
    checkpointed.unwrap_or(Ok(()))?;
    if let (Some(reason), Some(path)) = (log_failed, &args.log) {
        return Err(Error::Io { path: path.display().to_string(), reason });
    }
    if control.wish() == Wish::Stop && !resumable {
        eprintln!("stopped before the first step");
    } else if control.wish() == Wish::Stop {
        eprintln!("stopped; `--resume {}` with the same data goes on from here", args.out.display());
    } else {
        files::remove_checkpoint(&args.out)?;
    }
    if let Some(kept) = outcome.kept {
        let what = if matches!(kept.files, Files::Adapter(_)) { "adapter" } else { "checkpoint" };
        eprintln!("{what} of step {} written to {}", kept.step, args.out.display());
    }
    Ok(())
}

/// The first Ctrl-C stops after the step under way and keeps the adapter; the second ends the process at once.
fn stop_on_interrupt(control: &Control) {
    let control = control.clone();
    let handler = move || {
        if control.wish() == Wish::Stop {
            std::process::exit(130);
        }
        control.set(Wish::Stop);
        eprintln!("stopping after this step; Ctrl-C again ends at once");
    };
    // Without a handler Ctrl-C ends the process, as before; the last checkpoint is on disk.
    let _ = ctrlc::set_handler(handler);
}

/// What a terminal shows of a run.
struct Screen {
    bar: ProgressBar,
}

impl Screen {
    fn new(steps: u32) -> Screen {
        let bar = ProgressBar::with_draw_target(Some(u64::from(steps)), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} steps  {msg}  {elapsed}") {
            bar.set_style(style);
        }
        Screen { bar }
    }

    fn say(&self, line: String) {
        if self.bar.is_hidden() {
            eprintln!("{line}");
        } else {
            self.bar.println(line);
        }
    }

    fn show(&self, event: &Event) {
        match event {
            Event::Config { rows, held_out, parameters, device, .. } => {
                self.say(format!("{rows} rows to train on, {held_out} held out; {parameters} parameters; {device}"));
            }
            Event::Phase { .. } | Event::Checkpoint { .. } => {}
            Event::Step { step, loss, tokens_per_second, eta_ms, .. } => {
                self.bar.set_position(u64::from(*step));
                let left = Duration::from_millis(*eta_ms as u64).as_secs();
                self.bar.set_message(format!("loss {loss:.3}  {tokens_per_second:.0} tokens/s  {left} s left"));
            }
            Event::Eval { step: 0, loss, tokens } => {
                self.say(format!("held-out loss of the base {loss:.4} over {tokens} tokens"))
            }
            Event::Eval { step, loss, .. } => self.say(format!("step {step}: held-out loss {loss:.4}")),
            Event::Sample { step, prompt, text } => self.say(format!("step {step}: {prompt}{text}")),
            Event::Warning { code, message } => self.say(format!("warning[{code}]: {message}")),
            Event::Done { step, best_loss, best_step, .. } => {
                let best = best_loss.map_or(String::new(), |loss| format!(", held-out loss {loss:.4}"));
                self.say(format!("{step} steps; kept step {best_step}{best}"));
            }
        }
    }
}
