//! A plan that computes logits, for a probe, a prompt or the next token. With a cache it continues one sequence.

use std::rc::Rc;

use super::transformer::Transformer;
use crate::device::{Buffer, Device, Tensor, Usage};
use crate::error::Result;
use crate::ops::{Cache, Chunks, project_into};
use crate::plan::{Input, Lists, Plan, Progress, Recorder, Step};

/// The recorded plan, not finished yet.
pub struct LogitsDraft {
    rec: Recorder,
    logits: Tensor,
    staging: Rc<Buffer>,
    batch: usize,
    rows: usize,
}

pub struct Logits {
    plan: Plan,
    /// The logits [wanted, V], and the buffer through which the host reads them.
    logits: Tensor,
    staging: Rc<Buffer>,
    device: Rc<Device>,
    batch: usize,
    rows: usize,
}

impl LogitsDraft {
    pub fn recorders(&self) -> [&Recorder; 1] {
        [&self.rec]
    }

    pub async fn finish(self, progress: &mut Progress<'_>) -> Result<Logits> {
        let LogitsDraft { rec, logits, staging, batch, rows } = self;
        let device = rec.device.clone();
        let plan = rec.finish(progress).await?;
        Ok(Logits { plan, logits, staging, device, batch, rows })
    }
}

impl Logits {
    /// Records a plan for `batch` sequences of `rows / batch` tokens that returns up to `wanted` rows of logits.
    pub fn record(
        model: &Transformer,
        rows: usize,
        batch: usize,
        wanted: usize,
        caches: Option<&[Cache]>,
    ) -> Result<LogitsDraft> {
        let input = Input::new(&model.device, rows)?;
        let mut rec = Recorder::new(&model.device, &model.pool, &input, false);
        let hidden = model.hidden(&mut rec, rows, wanted, caches);
        let logits = Tensor::owned(&model.device, "logits", wanted, model.config.vocabulary)?;
        let staging = model.device.buffer("logits staging", logits.bytes(), Usage::Staging)?;
        let first = Chunks::first(&model.device, wanted)?;
        project_into(&mut rec, &hidden.data, model.head(), &logits, Some(&first));
        Ok(LogitsDraft { rec, logits, staging, batch, rows })
    }

    /// The logits [wanted.len(), V] of the rows `wanted`. `tokens` holds `batch` sequences of equal length that start
    /// at `position`.
    ///
    /// # Panics
    ///
    /// If there are more tokens or wanted rows than the plan was recorded for, or if the sequences differ in length.
    pub async fn run(&self, tokens: &[u32], wanted: &[u32], position: u32, strength: f32) -> Result<Vec<f32>> {
        let (count, most) = (tokens.len(), self.rows);
        assert!((1..=most).contains(&count), "{count} tokens, but the plan of logits takes 1 to {most}");
        assert!(count.is_multiple_of(self.batch), "{count} tokens are not {} sequences of equal length", self.batch);
        let (count, most) = (wanted.len(), self.logits.rows);
        assert!((1..=most).contains(&count), "{count} rows of logits, but the plan gives 1 to {most}");
        let (rows, labelled) = (tokens.len() as u32, wanted.len() as u32);
        let time = rows / self.batch as u32;
        let starts: Vec<u32> = (0..rows).map(|row| row / time * time).collect();
        let step = Step { rows, labelled, position, strength, ..Step::default() };
        let lists = Lists { tokens, rows: wanted, starts: &starts, ..Lists::default() };
        self.plan.input.write(&self.device, &step, &lists);
        self.plan.submit(&self.device, 1);
        let stride = self.logits.cols.next_multiple_of(4);
        let bytes = (wanted.len() * stride * 4) as u64;
        let ticket = self.device.start_read(&self.logits.buffer(), 0, &self.staging, bytes);
        let padded: Vec<f32> = bytemuck::pod_collect_to_vec(&self.device.finish_read(ticket).await?);
        Ok(padded.chunks(stride).flat_map(|row| row.iter().take(self.logits.cols).copied()).collect())
    }

    pub fn dispatches(&self) -> usize {
        self.plan.dispatches()
    }
}
