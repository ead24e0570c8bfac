//! What the parts of a run take on this machine, and what that says about the time left.

use super::settings::Settings;

/// The weight of a new measurement in the mean.
const NEW: f64 = 0.3;

/// A moving mean in milliseconds; 0 before the first measurement.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Mean(pub f64);

impl Mean {
    pub(super) fn add(&mut self, ms: f64) {
        self.0 = if self.0 == 0.0 { ms } else { (1.0 - NEW) * self.0 + NEW * ms };
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    pub step: Mean,
    /// The loss of one batch of held-out rows.
    pub batch: Mean,
    /// To keep an adapter: it is read back, exported and checked.
    pub keep: Mean,
    /// The prompt and every token of the answer.
    pub sample: Mean,
}

impl Cost {
    /// The loss of all held-out rows, in milliseconds.
    pub fn evaluation(&self, settings: &Settings, held_out: usize) -> f64 {
        self.batch.0 * held_out.div_ceil(settings.batch) as f64
    }

    /// Milliseconds from the end of `step`, whose evaluation and sample are still to come, to the end of the run.
    /// Step 0 is the start. Nobody knows which evaluations will bring a better adapter, so all of them are taken to.
    pub fn left(&self, settings: &Settings, held_out: usize, step: u32) -> f64 {
        let evaluations = if held_out > 0 { settings.evaluations_from(step) } else { 0 };
        // Nothing is kept of the base; without evaluations, the last adapter is.
        let kept = if held_out > 0 { evaluations - u32::from(step == 0) } else { 1 };
        f64::from(settings.steps - step) * self.step.0
            + f64::from(evaluations) * self.evaluation(settings, held_out)
            + f64::from(kept) * self.keep.0
            + f64::from(settings.samples_from(step)) * self.sample.0
    }
}
