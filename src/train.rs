//! Training: the `micro` and `update` plans, evaluation, the learning rate. It knows steps; not runs, not events.

use std::rc::Rc;

use crate::adapter::Params;
use crate::device::{Buffer, Device, Ring, Tensor, Ticket};
use crate::error::{Error, Result};
use crate::model::Transformer;
use crate::ops::{Chunks, UpdateBuffers, cross_entropy, gather_rows, update};
use crate::plan::{Input, Plan, Progress, Recorder, Step};
use crate::text::batches::MicroBatch;

/// How the learning rate goes over a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    Linear,
    Cosine,
    Constant,
}

impl Schedule {
    /// Learning rate of step `s` of 1…n, as a factor of the peak. W = ceil(warmup · n) steps rise to it; then linear
    /// falls to (1 / (n - W + 1)) at the last step, cosine is half a cosine from W to n, constant stays.
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

/// What an optimizer step is told besides its data.
#[derive(Debug, Clone, Copy)]
pub struct StepSettings {
    pub learning_rate: f64,
    pub weight_decay: f64,
    /// Largest norm of the gradient; 0: no clipping.
    pub clip: f64,
    /// Probability of LoRA dropout, for trainers that were recorded with it, and the seed of its masks.
    pub dropout: f64,
    pub seed: u32,
}

/// What a step has come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepResult {
    /// Mean over the step's labels, nats per token.
    pub loss: f64,
    pub labels: u32,
    /// Norm of the gradient before clipping.
    pub grad_norm: f64,
    /// False from the first loss or norm on that was not finite; the adapter has not changed since.
    pub finite: bool,
}

/// The plans of a trainer before they are finished, so that the kernels of several plans can be counted first.
pub struct Draft {
    micro: Recorder,
    update: Recorder,
    buffers: UpdateBuffers,
}

pub struct Trainer {
    device: Rc<Device>,
    micro: Plan,
    update: Plan,
    ring: Ring,
    buffers: UpdateBuffers,
    batch: usize,
    /// Optimizer steps submitted so far.
    pub step: u32,
}

impl Trainer {
    /// Records forward and backward for micro-batches of `batch` rows of `seq_len` tokens, and the update. `model`
    /// reads the parameters. With `dropout`, what enters A passes through a mask.
    pub fn record(model: &Transformer, params: &Params, batch: usize, seq_len: usize, dropout: bool) -> Result<Draft> {
        let device = &model.device;
        let flat = |buffer: &Rc<Buffer>| Tensor::in_buffer(buffer.clone(), 0, 1, params.length);
        let buffers = UpdateBuffers {
            p: flat(&params.p),
            g: flat(&params.g),
            m: Tensor::owned(device, "first moment", 1, params.length)?,
            v: Tensor::owned(device, "second moment", 1, params.length)?,
            totals: Tensor::owned(device, "totals", 1, 2)?,
            state: Tensor::owned(device, "update state", 1, 2)?,
            result: Tensor::owned(device, "result", 1, 4)?,
        };
        let input = Input::new(device, batch * seq_len)?;
        let mut micro = Recorder::new(device, &model.pool, &input, true);
        let model = if dropout { &model.with_dropout() } else { model };
        record_loss(&mut micro, model, batch, seq_len, &buffers.totals, true)?;
        micro.unwind();
        let mut rec = Recorder::new(device, &model.pool, &input, false);
        update(&mut rec, &buffers);
        Ok(Draft { micro, update: rec, buffers })
    }

    pub async fn finish(draft: Draft, batch: usize, progress: &mut Progress<'_>) -> Result<Trainer> {
        let device = draft.micro.device.clone();
        let micro = draft.micro.finish(progress).await?;
        let update = draft.update.finish(progress).await?;
        Ok(Trainer { ring: Ring::new(&device, 16)?, device, micro, update, buffers: draft.buffers, batch, step: 0 })
    }

    /// Submits a step: every micro-batch, then the update. Nothing waits; the answer is read later through the ticket.
    /// `pieces`: into how many submissions a micro-batch is cut. Errors: `DeviceLost`, also when more than four results
    /// are unread.
    pub fn submit(
        &mut self,
        micros: &[MicroBatch],
        seq_len: usize,
        settings: StepSettings,
        pieces: usize,
    ) -> Result<Ticket> {
        self.step += 1;
        let labels: u32 = micros.iter().map(|micro| micro.labelled).sum();
        let mut step = Step {
            learning_rate: settings.learning_rate as f32,
            weight_decay: settings.weight_decay as f32,
            clip: settings.clip as f32,
            dropout: settings.dropout as f32,
            seed: settings.seed,
            bias_1: (1.0 - 0.9f64.powi(self.step as i32)) as f32,
            bias_2: (1.0 - 0.999f64.powi(self.step as i32)).sqrt() as f32,
            ..self.micro_step(labels, seq_len)
        };
        for (i, micro) in micros.iter().enumerate() {
            step.labelled = micro.labelled;
            step.micro = i as u32;
            self.micro.input.write(
                &self.device,
                &step,
                [&micro.tokens, &micro.labels, &micro.rows, &micro.slot_of_row],
            );
            self.micro.submit(&self.device, pieces);
        }
        self.update.submit(&self.device, 1);
        let ticket = self.ring.start(&self.device, &self.buffers.result.buffer(), 16);
        ticket.ok_or_else(|| Error::DeviceLost { reason: "results are not coming back".to_string() })
    }

    pub async fn result(&self, ticket: Ticket) -> Result<StepResult> {
        let bytes = self.device.finish_read(ticket).await?;
        let [sum, labels, norm, broken] = *bytemuck::pod_collect_to_vec::<u8, f32>(&bytes) else {
            return Err(Error::DeviceLost { reason: "a result was cut short".to_string() });
        };
        Ok(StepResult {
            loss: f64::from(sum) / f64::from(labels.max(1.0)),
            labels: labels as u32,
            grad_norm: f64::from(norm),
            finite: broken == 0.0,
        })
    }

    /// The gradient of one micro-batch in the adapter's layout, without an update: for tests that compare it.
    pub async fn gradient(&mut self, micro: &MicroBatch, seq_len: usize) -> Result<Vec<f32>> {
        let zero = vec![0.0f32; self.buffers.g.cols];
        self.buffers.g.upload(&self.device, &zero);
        let step = self.micro_step(micro.labelled, seq_len);
        self.micro.input.write(
            &self.device,
            &Step { labelled: micro.labelled, ..step },
            [&micro.tokens, &micro.labels, &micro.rows, &micro.slot_of_row],
        );
        self.micro.submit(&self.device, 1);
        let gradient = self.buffers.g.download(&self.device).await?;
        self.buffers.g.upload(&self.device, &zero);
        self.buffers.totals.upload(&self.device, &[0.0; 4]);
        Ok(gradient)
    }

    /// What every micro-batch of a step is told.
    fn micro_step(&self, labels: u32, seq_len: usize) -> Step {
        Step {
            rows: (self.batch * seq_len) as u32,
            batch: self.batch as u32,
            time: seq_len as u32,
            step: self.step,
            inv_labels: 1.0 / labels.max(1) as f32,
            strength: 1.0,
            ..Step::default()
        }
    }

    /// Takes up where another trainer was after `step` steps. The parameters are the adapter's.
    pub fn restore(&mut self, step: u32, m: &[f32], v: &[f32]) {
        self.step = step;
        self.buffers.m.upload(&self.device, m);
        self.buffers.v.upload(&self.device, v);
    }

    pub fn micro_plan(&self) -> &Plan {
        &self.micro
    }

    pub fn update_plan(&self) -> &Plan {
        &self.update
    }

    /// The flat buffers: what a checkpoint holds, and what tests look at or spoil.
    pub fn buffers(&self) -> &UpdateBuffers {
        &self.buffers
    }
}

impl Draft {
    pub fn recorders(&self) -> [&Recorder; 2] {
        [&self.micro, &self.update]
    }
}

fn record_loss(
    rec: &mut Recorder,
    model: &Transformer,
    batch: usize,
    seq_len: usize,
    totals: &Tensor,
    accumulate: bool,
) -> Result<()> {
    let rows = batch * seq_len;
    let hidden = model.hidden(rec, rows, batch, None);
    let labelled = gather_rows(rec, &hidden);
    drop(hidden);
    let chunks = Chunks::new(&rec.device, rows, model.config.vocabulary)?;
    cross_entropy(rec, &labelled, model.head(), &chunks, totals, accumulate);
    Ok(())
}

/// Sums the loss of micro-batches without changing anything.
pub struct Evaluator {
    device: Rc<Device>,
    plan: Plan,
    ring: Ring,
    totals: Tensor,
    batch: usize,
}

impl Evaluator {
    pub fn record(model: &Transformer, batch: usize, seq_len: usize) -> Result<(Recorder, Tensor)> {
        let input = Input::new(&model.device, batch * seq_len)?;
        let totals = Tensor::owned(&model.device, "evaluation totals", 1, 2)?;
        let mut rec = Recorder::new(&model.device, &model.pool, &input, false);
        record_loss(&mut rec, model, batch, seq_len, &totals, false)?;
        Ok((rec, totals))
    }

    pub async fn finish(
        (rec, totals): (Recorder, Tensor),
        batch: usize,
        progress: &mut Progress<'_>,
    ) -> Result<Evaluator> {
        let device = rec.device.clone();
        let plan = rec.finish(progress).await?;
        Ok(Evaluator { ring: Ring::new(&device, 16)?, device, plan, totals, batch })
    }

    /// Starts the evaluation of one micro-batch.
    pub fn submit(&mut self, micro: &MicroBatch, seq_len: usize, strength: f32, pieces: usize) -> Result<Ticket> {
        let step = Step {
            rows: (self.batch * seq_len) as u32,
            labelled: micro.labelled,
            batch: self.batch as u32,
            time: seq_len as u32,
            strength,
            ..Step::default()
        };
        self.plan.input.write(&self.device, &step, [&micro.tokens, &micro.labels, &micro.rows, &micro.slot_of_row]);
        self.plan.submit(&self.device, pieces);
        let ticket = self.ring.start(&self.device, &self.totals.buffer(), 16);
        ticket.ok_or_else(|| Error::DeviceLost { reason: "results are not coming back".to_string() })
    }

    /// (Σ -log p, labels) of a micro-batch.
    pub async fn result(&self, ticket: Ticket) -> Result<(f64, u32)> {
        let bytes = self.device.finish_read(ticket).await?;
        let totals: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes);
        Ok((f64::from(totals[0]), totals[1] as u32))
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}
