//! Training: the `micro` and `update` plans, evaluation, the learning rate. This room knows steps, but not runs or
//! events.

mod evaluator;

use std::rc::Rc;

use crate::adapter::Params;
use crate::device::{Buffer, Device, Ring, Segments, Tensor, Ticket};
use crate::error::{Error, Result};
use crate::model::Transformer;
use crate::ops::{ChunkSize, Chunks, UpdateBuffers, adamw, cross_entropy};
use crate::plan::{Input, Lists, Plan, Progress, Recorder, Step};
use crate::text::batches::MicroBatch;
pub use evaluator::{Evaluator, EvaluatorDraft};

/// How the learning rate changes over a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    Linear,
    Cosine,
    Constant,
}

impl Schedule {
    /// The learning rate of step `s` of 1…n, as a fraction of the peak. It rises over W = ceil(warmup · n) steps. Then
    /// `Linear` falls to 1 / (n - W + 1) at the last step, `Cosine` follows half a cosine from W to n, and `Constant`
    /// stays.
    pub fn factor(self, s: u32, n: u32, warmup: f64) -> f64 {
        let w = (warmup * f64::from(n)).ceil();
        let (s, n) = (f64::from(s), f64::from(n));
        let rise = if w > 0.0 { (s / w).min(1.0) } else { 1.0 };
        match self {
            Schedule::Linear => rise.min((n - s + 1.0) / (n - w + 1.0)),
            Schedule::Cosine if s > w => 0.5 * (1.0 + (std::f64::consts::PI * (s - w) / (n - w).max(1.0)).cos()),
            Schedule::Cosine | Schedule::Constant => rise,
        }
    }
}

/// What an optimizer step needs besides its data.
#[derive(Debug, Clone, Copy)]
pub struct StepSettings {
    pub learning_rate: f64,
    pub weight_decay: f64,
    /// The largest norm of the gradient; 0 means no clipping.
    pub clip: f64,
    /// The probability of LoRA dropout and the seed of its masks, for trainers recorded with dropout.
    pub dropout: f64,
    pub seed: u32,
}

/// The result of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepResult {
    /// Mean over the step's labels, in nats per token.
    pub loss: f64,
    pub labels: u32,
    /// Norm of the gradient before clipping.
    pub grad_norm: f64,
    /// False from the first loss or norm that was not finite; the adapter has not changed since.
    pub finite: bool,
}

/// What the plans of a trainer are recorded for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TrainerSettings {
    /// Rows of a micro-batch.
    pub batch: usize,
    pub seq_len: usize,
    /// Whether the input of A is masked.
    pub dropout: bool,
    /// Whether the backward pass makes norms and activations again, which takes less memory and hardly more time.
    #[serde(default)]
    pub lean: bool,
    /// Whether blocks are computed again in the backward pass, which takes even less memory and more time.
    pub checkpointing: bool,
}

impl TrainerSettings {
    /// Without dropout, and with nothing that takes less memory.
    pub fn new(batch: usize, seq_len: usize) -> TrainerSettings {
        TrainerSettings { batch, seq_len, dropout: false, lean: false, checkpointing: false }
    }
}

/// What micro-batches add up to before an update: Σ -log p over their labels, how many those are, and the gradient in
/// the adapter's layout, which is empty where none was asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sums {
    pub loss: f32,
    pub labels: u32,
    pub gradient: Vec<f32>,
}

impl Sums {
    pub fn add(&mut self, other: &Sums) {
        assert_eq!(self.gradient.len(), other.gradient.len(), "the gradients of one adapter");
        self.loss += other.loss;
        self.labels += other.labels;
        self.gradient.iter_mut().zip(&other.gradient).for_each(|(sum, more)| *sum += more);
    }
}

/// The recorded plans of a trainer, not finished yet, so that the kernels of several plans can be counted first.
pub struct TrainerDraft {
    micro: Recorder,
    update: Recorder,
    buffers: UpdateBuffers,
    settings: TrainerSettings,
}

pub struct Trainer {
    device: Rc<Device>,
    micro: Plan,
    update: Plan,
    ring: Ring,
    buffers: UpdateBuffers,
    settings: TrainerSettings,
    /// Where gradients are read, once somebody asks for them.
    staging: Option<Rc<Buffer>>,
    /// Optimizer steps submitted so far.
    pub step: u32,
}

impl TrainerDraft {
    pub fn recorders(&self) -> [&Recorder; 2] {
        [&self.micro, &self.update]
    }

    pub async fn finish(self, progress: &mut Progress<'_>) -> Result<Trainer> {
        let TrainerDraft { micro, update, buffers, settings } = self;
        let device = micro.device.clone();
        let micro = micro.finish(progress).await?;
        let update = update.finish(progress).await?;
        let ring = Ring::new(&device, 16)?;
        Ok(Trainer { ring, device, micro, update, buffers, settings, staging: None, step: 0 })
    }
}

impl Trainer {
    /// Records the forward and backward pass of a micro-batch, and the update. `model` reads the parameters.
    pub fn record(model: &Transformer, params: &Params, settings: TrainerSettings) -> Result<TrainerDraft> {
        let device = &model.device;
        let Params { p, g } = params.clone();
        let moment = |label| Segments::new(device, label, &p.lengths());
        let buffers = UpdateBuffers {
            m: moment("first moment")?,
            v: moment("second moment")?,
            p,
            g,
            totals: Tensor::owned(device, "totals", 1, 2)?,
            state: Tensor::owned(device, "update state", 1, 2)?,
            result: Tensor::owned(device, "result", 1, 4)?,
        };
        let micro = Trainer::record_micro(model, settings, &buffers.totals)?;
        let mut rec = Recorder::new(device, &model.pool, &micro.input, false);
        adamw(&mut rec, &buffers);
        Ok(TrainerDraft { micro, update: rec, buffers, settings })
    }

    /// Records the forward and backward pass of a micro-batch alone.
    pub fn record_micro(model: &Transformer, settings: TrainerSettings, totals: &Tensor) -> Result<Recorder> {
        let TrainerSettings { batch, seq_len, dropout, lean, checkpointing } = settings;
        let input = Input::new(&model.device, batch * seq_len)?;
        let mut micro = Recorder::new(&model.device, &model.pool, &input, true);
        micro.lean = lean;
        let mut model = if dropout { model.with_dropout() } else { model.clone() };
        model.checkpointing = checkpointing;
        record_loss(&mut micro, &model, batch * seq_len, totals, true)?;
        micro.unwind();
        Ok(micro)
    }

    /// Submits a step: every micro-batch, then the update. It does not wait; the ticket gives the result later. Each
    /// micro-batch is cut into about `pieces` submissions. Errors: `DeviceLost`, or `Internal` if more than four
    /// results are unread.
    ///
    /// # Panics
    ///
    /// If the shape of a micro-batch differs from that of the plans, or if there are no labels, because then there is
    /// no mean loss.
    pub fn submit(&mut self, micros: &[MicroBatch], settings: StepSettings, pieces: usize) -> Result<Ticket> {
        let step = self.begin(micros.iter().map(|micro| micro.labelled).sum(), settings);
        self.accumulate(micros, &step, pieces);
        self.update()
    }

    /// Begins a step over so many labels, and returns what all its micro-batches share.
    ///
    /// # Panics
    ///
    /// If there are no labels, because then there is no mean loss.
    pub fn begin(&mut self, labels: u32, settings: StepSettings) -> Step {
        assert!(labels > 0, "a step without labels");
        self.step += 1;
        Step {
            learning_rate: settings.learning_rate as f32,
            weight_decay: settings.weight_decay as f32,
            clip: settings.clip as f32,
            dropout: settings.dropout as f32,
            seed: settings.seed,
            bias_1: (1.0 - 0.9f64.powi(self.step as i32)) as f32,
            bias_2: (1.0 - 0.999f64.powi(self.step as i32)).sqrt() as f32,
            step: self.step,
            inv_labels: 1.0 / labels as f32,
            ..Step::default()
        }
    }

    /// Submits the micro-batches of a step, each cut into about `pieces` submissions. Their sums are added to those
    /// since the last update.
    pub fn accumulate(&self, micros: &[MicroBatch], step: &Step, pieces: usize) {
        for (i, micro) in micros.iter().enumerate() {
            self.write(micro, &Step { micro: i as u32, ..*step });
            self.micro.submit(&self.device, pieces);
        }
    }

    /// Submits the update with what was accumulated. Errors: those of `submit`.
    pub fn update(&mut self) -> Result<Ticket> {
        self.update.submit(&self.device, 1);
        start_read(&mut self.ring, &self.device, &self.buffers.result)
    }

    /// Replaces what was accumulated since the last update.
    pub fn set_sums(&self, sums: &Sums) {
        self.buffers.g.upload(&self.device, &sums.gradient);
        self.buffers.totals.upload(&self.device, &[sums.loss, sums.labels as f32, 0.0, 0.0]);
    }

    pub fn forget_sums(&self) {
        self.buffers.g.upload(&self.device, &vec![0.0; self.buffers.g.length()]);
        self.buffers.totals.upload(&self.device, &[0.0; 4]);
    }

    /// What was accumulated since the last update, or `None` if the CPU gave it up because `stop` said so.
    pub async fn sums(&mut self, stop: &dyn Fn() -> bool) -> Result<Option<Sums>> {
        let (device, g) = (&self.device, &self.buffers.g);
        let staging = match &self.staging {
            Some(staging) => staging.clone(),
            None => {
                let staging = device.checked(|| g.staging(device, "gradient staging")).await?;
                self.staging.insert(staging).clone()
            }
        };
        let totals = start_read(&mut self.ring, device, &self.buffers.totals)?;
        let Some(totals) = device.finish_read_unless(totals, stop).await? else { return Ok(None) };
        let Some(gradient) = g.read(device, &staging, stop).await? else { return Ok(None) };
        let [loss, labels, ..] = *bytemuck::pod_collect_to_vec::<u8, f32>(&totals) else {
            return Err(Error::Internal { what: format!("the totals of a step have {} bytes", totals.len()) });
        };
        Ok(Some(Sums { loss, labels: labels as u32, gradient }))
    }

    pub async fn result(&self, ticket: Ticket) -> Result<StepResult> {
        self.result_unless(ticket, &|| false).await?.ok_or_else(not_stopped)
    }

    /// The result of a step, or `None` if the CPU gave it up because `stop` said so. Then call `abandon`.
    pub async fn result_unless(&self, ticket: Ticket, stop: &dyn Fn() -> bool) -> Result<Option<StepResult>> {
        let Some(bytes) = self.device.finish_read_unless(ticket, stop).await? else { return Ok(None) };
        let [sum, labels, norm, broken] = *bytemuck::pod_collect_to_vec::<u8, f32>(&bytes) else {
            return Err(Error::Internal { what: format!("the result of a step has {} bytes", bytes.len()) });
        };
        if labels.is_nan() || labels < 1.0 {
            return Err(Error::Internal { what: format!("the result of a step counts {labels} labels") });
        }
        Ok(Some(StepResult {
            loss: f64::from(sum) / f64::from(labels),
            labels: labels as u32,
            grad_norm: f64::from(norm),
            finite: broken == 0.0,
        }))
    }

    /// Forgets `steps` submitted steps that were given up: the parameters are those from before, and the gradients that
    /// were summed so far are zeroed.
    pub fn abandon(&mut self, steps: u32) {
        self.step -= steps;
        self.forget_sums();
    }

    /// The gradient of one micro-batch in the adapter's layout, without an update. For tests.
    pub async fn gradient(&mut self, micro: &MicroBatch) -> Result<Vec<f32>> {
        assert!(micro.labelled > 0, "a micro-batch without labels has no gradient");
        self.forget_sums();
        self.write(micro, &Step { step: self.step, inv_labels: 1.0 / micro.labelled as f32, ..Step::default() });
        self.micro.submit(&self.device, 1);
        let gradient = self.buffers.g.download(&self.device).await?;
        self.forget_sums();
        Ok(gradient)
    }

    /// Writes a micro-batch and the uniform, taking from `step` what all micro-batches of a step share.
    fn write(&self, micro: &MicroBatch, step: &Step) {
        let step = Step { strength: 1.0, ..shaped(micro, (self.settings.batch, self.settings.seq_len), step) };
        self.micro.input.write(&self.device, &step, &lists(micro));
    }

    /// Restores the state of a trainer after `step` steps. The parameters are restored with the adapter.
    pub fn restore(&mut self, step: u32, m: &[f32], v: &[f32]) {
        self.step = step;
        self.buffers.m.upload(&self.device, m);
        self.buffers.v.upload(&self.device, v);
    }

    pub fn device(&self) -> &Rc<Device> {
        &self.device
    }

    pub fn micro_plan(&self) -> &Plan {
        &self.micro
    }

    pub fn update_plan(&self) -> &Plan {
        &self.update
    }

    /// The flat buffers, which a run state holds and tests inspect or corrupt.
    pub fn buffers(&self) -> &UpdateBuffers {
        &self.buffers
    }
}

/// Returns `step` with the shape of a micro-batch, which must be the shape that its plan was recorded for.
fn shaped(micro: &MicroBatch, planned: (usize, usize), step: &Step) -> Step {
    let (batch, seq_len) = (micro.batch, micro.seq_len);
    assert_eq!((batch, seq_len), planned, "the shape of a micro-batch must be the one that its plan was recorded for");
    let MicroBatch { labelled, first_row, first_labelled, .. } = *micro;
    Step { rows: (batch * seq_len) as u32, labelled, first_row, first_labelled, ..*step }
}

fn lists(micro: &MicroBatch) -> Lists<'_> {
    let MicroBatch { tokens, labels, rows, starts, slot_of_row, .. } = micro;
    Lists { tokens, labels, rows, starts, slot_of_row }
}

fn not_stopped() -> Error {
    Error::Internal { what: "a result was given up, but nobody asked for that".to_string() }
}

/// Starts to read the four numbers that a plan leaves. Errors: `Internal` if more than four results are unread.
fn start_read(ring: &mut Ring, device: &Device, numbers: &Tensor) -> Result<Ticket> {
    let ticket = ring.start(device, &numbers.buffer(), 16);
    ticket.ok_or_else(|| Error::Internal { what: "more than four results are unread".to_string() })
}

fn record_loss(rec: &mut Recorder, model: &Transformer, rows: usize, totals: &Tensor, accumulate: bool) -> Result<()> {
    let hidden = model.hidden(rec, rows, rows, None);
    // Evaluation reads the logits once, so it gains little from large chunks.
    let size = if rec.trains() && !rec.lean { ChunkSize::Large } else { ChunkSize::Small };
    let chunks = Chunks::new(&rec.device, rows, model.config.vocabulary, size)?;
    cross_entropy(rec, &hidden, model.head(), &chunks, totals, accumulate);
    Ok(())
}
