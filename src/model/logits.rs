//! A plan that computes logits: of a probe, of a prompt, of the next token. With a cache it continues one sequence.

use std::rc::Rc;

use super::transformer::Transformer;
use crate::device::{Buffer, Device, Tensor, Usage};
use crate::error::Result;
use crate::ops::{Cache, Chunks, gather_rows, project_into};
use crate::plan::{Input, Plan, Progress, Recorder, Step};

pub struct Logits {
    plan: Plan,
    logits: Tensor,
    staging: Rc<Buffer>,
    device: Rc<Device>,
    batch: usize,
    rows: usize,
}

/// A recorded plan that has yet to be finished.
pub struct Draft {
    pub rec: Recorder,
    logits: Tensor,
    batch: usize,
    rows: usize,
}

impl Logits {
    /// Records a plan for `batch` sequences of `rows / batch` tokens that answers up to `wanted` rows of logits.
    pub fn record(
        model: &Transformer,
        rows: usize,
        batch: usize,
        wanted: usize,
        caches: Option<&[Cache]>,
    ) -> Result<Draft> {
        let input = Input::new(&model.device, rows)?;
        let mut rec = Recorder::new(&model.device, &model.pool, &input, false);
        let hidden = model.hidden(&mut rec, rows, batch, caches);
        let mut labelled = gather_rows(&mut rec, &hidden);
        labelled.data = labelled.data.slice(0, wanted);
        let logits = Tensor::owned(&model.device, "logits", wanted, model.config.vocabulary)?;
        let first = Chunks::first(&model.device, wanted)?;
        project_into(&mut rec, &labelled.data, model.head(), &logits, Some(&first));
        Ok(Draft { rec, logits, batch, rows })
    }

    pub async fn finish(draft: Draft, progress: &mut Progress<'_>) -> Result<Logits> {
        let device = draft.rec.device.clone();
        let staging = device.buffer("logits staging", draft.logits.bytes(), Usage::Staging)?;
        let plan = draft.rec.finish(progress).await?;
        Ok(Logits { plan, logits: draft.logits, staging, device, batch: draft.batch, rows: draft.rows })
    }

    /// Logits [wanted.len(), V] of the rows `wanted` for `tokens`, which hold `batch` sequences of equal length that
    /// start at `position`.
    pub async fn run(&self, tokens: &[u32], wanted: &[u32], position: u32, strength: f32) -> Result<Vec<f32>> {
        debug_assert!(tokens.len() <= self.rows && wanted.len() <= self.logits.rows);
        let step = Step {
            rows: tokens.len() as u32,
            labelled: wanted.len() as u32,
            batch: self.batch as u32,
            time: (tokens.len() / self.batch) as u32,
            position,
            strength,
            ..Step::default()
        };
        self.plan.input.write(&self.device, &step, [tokens, &[], wanted, &[]]);
        self.plan.submit(&self.device, 1);
        let vocabulary = self.logits.cols;
        let bytes = (wanted.len() * vocabulary.next_multiple_of(4) * 4) as u64;
        let ticket = self.device.start_read(&self.logits.buffer(), 0, &self.staging, bytes);
        let padded: Vec<f32> = bytemuck::pod_collect_to_vec(&self.device.finish_read(ticket).await?);
        Ok(padded.chunks(vocabulary.next_multiple_of(4)).flat_map(|row| row.iter().take(vocabulary).copied()).collect())
    }

    pub fn dispatches(&self) -> usize {
        self.plan.dispatches()
    }
}
