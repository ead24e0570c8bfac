//! How a run ends.

use super::Run;
use crate::error::{Error, Result};
use crate::run::control::Wish;
use crate::run::cost::Cost;
use crate::run::event::{DoneReason, Event};
use crate::run::keeper::Kept;
use crate::run::losses::Losses;

/// How a run ended, and what it leaves.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub reason: DoneReason,
    /// `None` if the run was cancelled, or stopped before its first step.
    pub kept: Option<Kept>,
    pub cost: Cost,
}

impl Run<'_> {
    pub(super) async fn end(mut self) -> Result<Outcome> {
        // The step that was not finite changed nothing.
        let step = self.pace.broken.map_or(self.step, |broken| broken - 1);
        let reason = self.reason(step);
        let Losses { base: base_loss, start, .. } = self.losses;
        if let Some(step) = self.pace.broken {
            let error = Error::NonFinite { step };
            self.log.warn(error.code(), format!("{error}. {}", error.hint()));
        }
        if reason == DoneReason::Cancelled {
            self.log.report(Event::Done { step, base_loss, best_loss: None, best_step: 0, reason });
            return Ok(Outcome { reason, kept: None, cost: self.pace.cost });
        }
        if reason == DoneReason::Stopped {
            self.save().await?;
        }
        if self.keeper.kept.is_none() && self.step > 0 {
            if start.is_some() && reason != DoneReason::Stopped {
                let message = "no evaluation was better than the start, so the last adapter is kept".to_string();
                self.log.warn("no_improvement", message);
            }
            self.keep_last(step).await?;
        }
        let kept = self.keeper.kept;
        let (best_loss, best_step) = kept.as_ref().map_or((None, 0), |kept| (kept.loss, kept.step));
        self.log.report(Event::Done { step, base_loss, best_loss, best_step, reason });
        Ok(Outcome { reason, kept, cost: self.pace.cost })
    }

    fn reason(&self, step: u32) -> DoneReason {
        match (self.pace.broken, self.job.control.wish()) {
            (_, Wish::Cancel) => DoneReason::Cancelled,
            (Some(_), _) => DoneReason::NonFinite,
            (None, Wish::Stop) => DoneReason::Stopped,
            (None, _) if step < self.job.settings.steps => DoneReason::EarlyStop,
            (None, _) => DoneReason::Finished,
        }
    }

    /// Keeps the current adapter, with its loss if it was measured.
    async fn keep_last(&mut self, step: u32) -> Result<()> {
        self.snapshots.take(&self.job.base.model.device, &self.learner.params());
        let loss = self.losses.last.filter(|_| self.losses.last_step == step);
        self.keep(step, loss).await
    }
}
