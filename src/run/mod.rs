//! The loop around training: steps, evaluations, samples, the best adapter, stop. The command line and the worker only
//! forward its events.

pub mod checkpoint;
pub mod control;
pub mod event;
pub mod learner;
#[cfg(not(target_arch = "wasm32"))]
mod open;
pub mod settings;
mod snapshots;
mod training;

use std::collections::BTreeSet;
use std::rc::Rc;

pub use checkpoint::Checkpoint;
pub use control::{Control, Wish};
pub use event::{DoneReason, Event, Phase};
pub use learner::{Files, Method};
pub use settings::{HOLDOUT, MOST_HELD_OUT, MOST_ROWS, Settings};

use crate::adapter::{Adapter, AdapterFiles, AdapterSpec, ExportCheck};
use crate::device::{Device, KernelKey};
use crate::error::Result;
use crate::files::Source;
use crate::model::{Config, Storage, Transformer};
use crate::plan::{Progress, Recorder};
use crate::text::batches::MicroBatch;
use crate::text::dataset::{Dataset, Row};
use crate::text::tokenizer::{Tokenizer, TokenizerFiles};
use crate::train::{Evaluator, StepSettings, Trainer};
use snapshots::Snapshots;

pub use training::Kept;

/// Milliseconds since some fixed moment.
pub type Clock = Rc<dyn Fn() -> f64>;

/// The files of a checkpoint but for its weights.
pub type BaseFiles<'a> = TokenizerFiles<'a>;

/// A base model with its tokenizer: what runs and generation start from.
pub struct Base {
    pub name: String,
    pub sha256: String,
    pub storage: Storage,
    pub model: Transformer,
    pub tokenizer: Tokenizer,
}

impl Base {
    /// Loads a checkpoint. `progress(bytes done, bytes in all)`. Errors: whatever a file has wrong, by name.
    pub async fn load(
        device: &Rc<Device>,
        name: &str,
        files: &BaseFiles<'_>,
        weights: &Source,
        storage: Storage,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Base> {
        let config = Config::parse(files.config)?;
        let tokenizer = Tokenizer::from_files(files)?;
        if tokenizer.size() > config.vocabulary {
            let reason = format!("it has {} tokens, the model knows {}", tokenizer.size(), config.vocabulary);
            return Err(crate::error::Error::Tokenizer { reason });
        }
        let sha256 = weights.sha256().await?;
        let model = Transformer::load(device, config, weights, storage, progress).await?;
        Ok(Base { name: name.to_string(), sha256, storage, model, tokenizer })
    }

    /// Attaches an adapter from its files.
    pub fn with_adapter(&self, files: &AdapterFiles) -> Result<Transformer> {
        Ok(self.load_adapter(files)?.1)
    }

    /// Attaches an adapter from its files and answers it too, so that another can be swapped in.
    pub fn load_adapter(&self, files: &AdapterFiles) -> Result<(Adapter, Transformer)> {
        let device = &self.model.device;
        let (adapter, flat) = files.load(device, &self.model.config)?;
        adapter.write(device, &flat);
        let model = adapter.attach(&self.model);
        Ok((adapter, model))
    }
}

/// Where a run's events and its best adapters go.
pub struct Hooks<'a> {
    pub emit: &'a mut dyn FnMut(Event),
    /// Called at every promotion, so that a copy survives whatever happens to this process.
    pub keep: &'a mut dyn FnMut(&Kept),
    /// Who wants checkpoints: at intervals, at a pause and at a stop.
    pub checkpoint: Option<CheckpointHook<'a>>,
}

pub struct CheckpointHook<'a> {
    pub every_ms: f64,
    /// Gets the bytes of a [`Checkpoint`].
    pub save: &'a mut dyn FnMut(Vec<u8>),
}

/// Between checkpoints, unless the caller wants another interval.
pub const CHECKPOINT_EVERY_MS: f64 = 30_000.0;

/// What a run begins with.
pub enum Start<'a> {
    Fresh,
    /// Trains on from an adapter, with a new optimizer.
    Adapter(&'a AdapterFiles),
    /// Goes on where a run was, as if it had never ended: the events so far are told again first. The settings must be
    /// the checkpoint's.
    Checkpoint(Box<Checkpoint>),
}

impl Start<'_> {
    fn init_sha256(&self) -> Option<String> {
        match self {
            Start::Adapter(files) => Some(files.sha256()),
            Start::Fresh | Start::Checkpoint(_) => None,
        }
    }
}

/// Runs training to its end and answers the adapter that is kept; `None` if the run was cancelled.
pub async fn train<'a>(
    base: &'a Base,
    data: &'a Dataset,
    settings: &'a Settings,
    start: Start<'_>,
    control: &'a Control,
    clock: &'a Clock,
    hooks: Hooks<'a>,
) -> Result<Option<Kept>> {
    training::train(base, data, settings, start, control, clock, hooks).await
}

/// Mean loss and number of labels over rows, every label once, at an adapter strength. `None` if `control` said stop
/// or pause.
pub async fn evaluate(
    evaluator: &mut Evaluator,
    rows: &[Row],
    batch: usize,
    seq_len: usize,
    strength: f32,
    control: &Control,
) -> Result<Option<(f64, u32)>> {
    let (mut sum, mut labels) = (0.0, 0);
    let mut waiting = None;
    for rows in rows.chunks(batch) {
        if control.wish() != Wish::GoOn {
            return Ok(None);
        }
        let micro = MicroBatch::assemble(&rows.iter().collect::<Vec<_>>(), batch, seq_len);
        let ticket = evaluator.submit(&micro, seq_len, strength, 1)?;
        if let Some(before) = waiting.replace(ticket) {
            let (loss, count) = evaluator.result(before).await?;
            sum += loss;
            labels += count;
        }
    }
    if let Some(last) = waiting {
        let (loss, count) = evaluator.result(last).await?;
        sum += loss;
        labels += count;
    }
    Ok(Some((if labels > 0 { sum / f64::from(labels) } else { 0.0 }, labels)))
}

/// An evaluator of `model` for batches of this shape.
pub async fn evaluator(model: &Transformer, batch: usize, seq_len: usize) -> Result<Evaluator> {
    let mut progress = Progress { done: 0, total: 0, report: &mut |_, _| {} };
    Evaluator::finish(Evaluator::record(model, batch, seq_len)?, batch, &mut progress).await
}

/// Milliseconds of a step, from two steps on real rows that are then forgotten: what the page says before a run.
pub async fn probe(base: &Base, data: &Dataset, settings: &Settings, clock: &Clock) -> Result<f64> {
    let spec: AdapterSpec = settings.check(&base.model.config)?;
    let adapter = Adapter::new(&base.model.device, &base.model.config, spec)?;
    adapter.write(&base.model.device, &adapter.initial(settings.seed));
    let draft = Trainer::record(
        &adapter.attach(&base.model),
        &adapter.params(),
        settings.batch,
        settings.seq_len,
        settings.dropout > 0.0,
    )?;
    let mut progress = Progress { done: 0, total: 0, report: &mut |_, _| {} };
    let mut trainer = Trainer::finish(draft, settings.batch, &mut progress).await?;
    let rows: Vec<&Row> = data.rows.iter().take(settings.batch).collect();
    let micros = vec![MicroBatch::assemble(&rows, settings.batch, settings.seq_len); settings.accumulate];
    let step = StepSettings { learning_rate: 0.0, weight_decay: 0.0, clip: 1.0, dropout: settings.dropout, seed: 0 };
    let mut elapsed = 0.0;
    for _ in 0..2 {
        let start = clock();
        let ticket = trainer.submit(&micros, settings.seq_len, step, 1)?;
        trainer.result(ticket).await?;
        elapsed = clock() - start;
    }
    Ok(elapsed)
}

/// About how many bytes a run with LoRA has on the graphics adapter at its most: weights, adapter, optimizer,
/// activations. Its plans are recorded, not finished: for a model that no plan has been made of yet.
pub fn memory(base: &Base, settings: &Settings) -> Result<u64> {
    let device = &base.model.device;
    let adapter = Adapter::new(device, &base.model.config, settings.check(&base.model.config)?)?;
    let (params, model) = (adapter.params(), adapter.attach(&base.model));
    let trainer = Trainer::record(&model, &params, settings.batch, settings.seq_len, settings.dropout > 0.0)?;
    let evaluation = Evaluator::record(&model, settings.batch, settings.seq_len)?;
    let snapshots = Snapshots::new(device, &params)?;
    let check = ExportCheck::record(&base.model, &adapter, &vec![0; training::PROBE_TOKENS.min(settings.seq_len)])?;
    let bytes = device.bytes().saturating_add(base.model.pool.bytes());
    drop((trainer, evaluation, snapshots, check));
    Ok(bytes)
}

/// The kernels of several recorders that are not compiled yet.
fn new_kernels(device: &Device, recorders: &[&Recorder]) -> usize {
    let all: BTreeSet<KernelKey> = recorders.iter().flat_map(|rec| rec.kernels()).collect();
    all.iter().filter(|key| !device.is_compiled(key)).count()
}
