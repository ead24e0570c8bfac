//! Evaluations during a run, the promotion of the best adapter, and samples.

use super::{Job, Run};
use crate::error::Result;
use crate::run::control::Wish;
use crate::run::evaluate::Measured;
use crate::run::event::Event;
use crate::text::dataset::NOTHING_MEASURED;

impl Run<'_> {
    /// Measures the held-out losses that every later one is compared with.
    pub(super) async fn measure_start(&mut self, started_from_adapter: bool) -> Result<()> {
        let base = self.held_out_loss_unless_stopped(0.0).await?;
        self.losses.base = base.and_then(|base| self.report(0, base));
        self.losses.start = self.losses.base;
        if base.is_some_and(|base| base.loss.is_none()) && !self.job.data.warned_of(NOTHING_MEASURED) {
            let message = "nothing in the held-out rows is learnt, so there is no held-out loss";
            self.log.warn(NOTHING_MEASURED, message.to_string());
        }
        if started_from_adapter {
            let start = self.held_out_loss_unless_stopped(1.0).await?.and_then(|start| start.loss);
            self.losses.start = start.filter(|loss| self.is_finite(0, *loss));
        }
        Ok(())
    }

    /// Reports a held-out loss, unless it is a number that is not finite, and returns it.
    fn report(&mut self, step: u32, Measured { loss, labels }: Measured) -> Option<f64> {
        if loss.is_none_or(|loss| self.is_finite(step, loss)) {
            self.log.report(Event::Eval { step, loss, tokens: labels });
        }
        loss.filter(|loss| loss.is_finite())
    }

    /// Whether a loss is finite. Warns if it is not.
    fn is_finite(&mut self, step: u32, loss: f64) -> bool {
        if !loss.is_finite() {
            self.log.warn("non_finite", format!("step {step}: the held-out loss is not a finite number"));
        }
        loss.is_finite()
    }

    /// Evaluates and samples after a step if that is due and has not been reported yet, with no step in flight.
    pub(super) async fn evaluate_and_sample(&mut self) -> Result<()> {
        let (step, settings) = (self.step, self.job.settings);
        let has_held_out = !self.job.data.held_out.is_empty();
        let evaluate = settings.evaluates_after(step) && self.losses.last_step < step && has_held_out;
        let sample = settings.samples_after(step) && self.losses.last_sample < step;
        if !evaluate && !sample {
            return Ok(());
        }
        self.drain(0).await?;
        self.pause_if_asked().await?;
        // A pause during an evaluation ends it, so it is started again afterwards.
        while evaluate && self.losses.last_step < step && self.may_continue() {
            self.evaluate_and_promote(step).await?;
            self.pause_if_asked().await?;
        }
        if sample && self.may_continue() {
            self.sample(step).await?;
        }
        self.pace.restart();
        Ok(())
    }

    fn may_continue(&self) -> bool {
        self.pace.broken.is_none() && !self.job.control.ends()
    }

    /// Evaluates the current adapter. A copy taken beforehand is kept if its loss is the lowest so far.
    async fn evaluate_and_promote(&mut self, step: u32) -> Result<()> {
        self.snapshots.take(&self.job.base.model.device, &self.learner.params());
        let Some(measured) = self.held_out_loss(1.0).await? else { return Ok(()) };
        let before = self.losses;
        let is_lowest = self.losses.add(step, measured.loss);
        let loss = self.report(step, measured);
        if is_lowest && let Err(error) = self.keep(step, loss).await {
            // A run that goes on with less memory evaluates this step again.
            self.losses = before;
            return Err(error);
        }
        Ok(())
    }

    /// Keeps the copy of the adapter that was taken last.
    pub(super) async fn keep(&mut self, step: u32, loss: Option<f64>) -> Result<()> {
        let started = (self.job.clock)();
        let flat = self.snapshots.read(&self.job.base.model.device).await?;
        self.keeper.keep(&self.job, &self.learner, step, loss, flat).await?;
        self.pace.cost.keep.add((self.job.clock)() - started);
        Ok(())
    }

    /// Measures the held-out loss again after a pause.
    async fn held_out_loss_unless_stopped(&mut self, strength: f32) -> Result<Option<Measured>> {
        loop {
            let loss = self.held_out_loss(strength).await?;
            if loss.is_some() || self.job.control.wish() != Wish::Pause {
                return Ok(loss);
            }
            self.pause_if_asked().await?;
        }
    }

    async fn held_out_loss(&mut self, strength: f32) -> Result<Option<Measured>> {
        let held_out = &self.job.data.held_out;
        if held_out.is_empty() {
            return Ok(None);
        }
        let started = (self.job.clock)();
        let Job { base, team, control, settings, .. } = &self.job;
        let p = match team.workers() {
            1 => None,
            _ => Some(self.snapshots.read_from(&base.model.device, &self.trainer.buffers().p).await?),
        };
        let measured = team.evaluate(&mut self.evaluator, held_out, strength, p.as_deref(), control).await?;
        if measured.is_some() {
            let batches = held_out.len().div_ceil(settings.batch);
            self.pace.cost.batch.add(((self.job.clock)() - started) / batches as f64);
        }
        Ok(measured)
    }

    async fn sample(&mut self, step: u32) -> Result<()> {
        let started = (self.job.clock)();
        if let Some(text) = self.samples.take(&self.job).await? {
            self.pace.cost.sample.add((self.job.clock)() - started);
            self.losses.last_sample = step;
            self.log.report(Event::Sample { step, prompt: self.job.settings.prompt.clone(), text });
        }
        Ok(())
    }
}
