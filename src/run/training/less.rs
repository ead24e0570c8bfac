//! What a run does when the device refuses memory that it should have: it goes on with less.

use super::{Job, Run, compile};
use crate::error::{Error, Result};
use crate::run::hooks::Log;
use crate::run::ladder::{changes, less_memory};
use crate::run::learner::Learner;
use crate::run::samples::Samples;
use crate::run::snapshots::Snapshots;
use crate::run::team::Team;
use crate::train::{Evaluator, Trainer};

/// What a run allocates before its first step.
pub(super) struct Plans {
    pub trainer: Trainer,
    pub evaluator: Evaluator,
    pub snapshots: Snapshots,
}

impl Plans {
    /// Plans for which the device has the memory. Errors: `OutOfMemory` if it has none for the smallest.
    pub async fn make(job: &mut Job<'_>, learner: &Learner, log: &mut Log<'_>) -> Result<Plans> {
        loop {
            match compile(job, learner, log).await {
                Err(error @ Error::OutOfMemory { .. }) => job.take_less(error, log)?,
                made => return made,
            }
        }
    }
}

impl Job<'_> {
    /// Goes one step down the ladder, after everything that was planned is dropped. Errors: `error` if that was the
    /// last step.
    fn take_less(&mut self, error: Error, log: &mut Log<'_>) -> Result<()> {
        let [next, smaller @ ..] = self.smaller else { return Err(error) };
        let why = less_memory(&error, &changes(self.settings, next));
        (self.settings, self.smaller) = (next, smaller);
        self.team = Team::new(self.helpers, next.batch, next.seq_len);
        self.base.model.pool.give_up();
        log.change(why, next, self.team.workers());
        Ok(())
    }
}

impl<'a> Run<'a> {
    /// The run with less memory, after the last step that was taken.
    pub(super) async fn with_less(mut self, error: Error) -> Result<Run<'a>> {
        self.drain(0).await?;
        let (device, buffers, updates) = (&self.job.base.model.device, self.trainer.buffers(), self.trainer.step);
        let m = self.snapshots.read_from(device, &buffers.m).await?;
        let v = self.snapshots.read_from(device, &buffers.v).await?;
        drop((self.trainer, self.evaluator, self.snapshots, self.samples));
        self.keeper.forget_check();
        self.job.take_less(error, &mut self.log)?;
        let mut plans = Plans::make(&mut self.job, &self.learner, &mut self.log).await?;
        plans.trainer.restore(updates, &m, &v);
        self.pace.settings = self.job.settings;
        let Plans { trainer, evaluator, snapshots } = plans;
        Ok(Run { trainer, evaluator, snapshots, samples: Samples::default(), ..self })
    }
}
