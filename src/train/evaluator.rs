//! The loss of micro-batches, which changes nothing.

use std::rc::Rc;

use super::{lists, not_stopped, record_loss, shaped, start_read};
use crate::device::{Device, Ring, Tensor, Ticket};
use crate::error::{Error, Result};
use crate::model::Transformer;
use crate::plan::{Input, Plan, Progress, Recorder, Step};
use crate::text::batches::MicroBatch;

/// The recorded plan of an evaluator, not finished yet.
pub struct EvaluatorDraft {
    rec: Recorder,
    totals: Tensor,
    batch: usize,
    seq_len: usize,
}

/// Sums the loss of micro-batches without changing anything.
pub struct Evaluator {
    device: Rc<Device>,
    plan: Plan,
    ring: Ring,
    totals: Tensor,
    /// What the plan was recorded for.
    pub batch: usize,
    pub seq_len: usize,
}

impl EvaluatorDraft {
    pub fn recorders(&self) -> [&Recorder; 1] {
        [&self.rec]
    }

    pub async fn finish(self, progress: &mut Progress<'_>) -> Result<Evaluator> {
        let EvaluatorDraft { rec, totals, batch, seq_len } = self;
        let device = rec.device.clone();
        let plan = rec.finish(progress).await?;
        Ok(Evaluator { ring: Ring::new(&device, 16)?, device, plan, totals, batch, seq_len })
    }
}

impl Evaluator {
    /// Records the loss of micro-batches of `batch` rows of `seq_len` tokens.
    pub fn record(model: &Transformer, batch: usize, seq_len: usize) -> Result<EvaluatorDraft> {
        let input = Input::new(&model.device, batch * seq_len)?;
        let totals = Tensor::owned(&model.device, "evaluation totals", 1, 2)?;
        let mut rec = Recorder::new(&model.device, &model.pool, &input, false);
        record_loss(&mut rec, model, batch * seq_len, &totals, false)?;
        Ok(EvaluatorDraft { rec, totals, batch, seq_len })
    }

    /// Starts to evaluate one micro-batch, which must have the shape of the plan.
    pub fn submit(&mut self, micro: &MicroBatch, strength: f32, pieces: usize) -> Result<Ticket> {
        let step = shaped(micro, (self.batch, self.seq_len), &Step { strength, ..Step::default() });
        self.plan.input.write(&self.device, &step, &lists(micro));
        self.plan.submit(&self.device, pieces);
        start_read(&mut self.ring, &self.device, &self.totals)
    }

    /// (Σ -log p, labels) of a micro-batch.
    pub async fn result(&self, ticket: Ticket) -> Result<(f64, u32)> {
        self.result_unless(ticket, &|| false).await?.ok_or_else(not_stopped)
    }

    /// The result, or `None` if the CPU gave it up because `stop` said so.
    pub async fn result_unless(&self, ticket: Ticket, stop: &dyn Fn() -> bool) -> Result<Option<(f64, u32)>> {
        let Some(bytes) = self.device.finish_read_unless(ticket, stop).await? else { return Ok(None) };
        let [sum, labels, ..] = *bytemuck::pod_collect_to_vec::<u8, f32>(&bytes) else {
            return Err(Error::Internal { what: format!("the result of an evaluation has {} bytes", bytes.len()) });
        };
        Ok(Some((f64::from(sum), labels as u32)))
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}
