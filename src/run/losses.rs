//! What evaluations have found, and when.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Losses {
    /// At strength 0; `None` without held-out rows.
    pub base: Option<f64>,
    /// Before the first step; the base's unless the run began from an adapter.
    pub start: Option<f64>,
    pub best: Option<f64>,
    pub best_step: u32,
    /// The step of the last evaluation, and how many there were since the best one.
    pub last_step: u32,
    pub since_best: u32,
    /// What the last evaluation found.
    #[serde(default)]
    pub last: Option<f64>,
    /// The step of the last sample.
    #[serde(default)]
    pub last_sample: u32,
}

impl Losses {
    /// Adds what an evaluation found. True if it is the lowest so far, the start's included. A loss that is not finite
    /// is never kept: JSON has no such number.
    pub(super) fn add(&mut self, step: u32, loss: f64) -> bool {
        let last = Some(loss).filter(|loss| loss.is_finite());
        let lowest = last.is_some() && self.best.or(self.start).is_none_or(|lowest| loss < lowest);
        *self = match lowest {
            true => Losses { best: last, best_step: step, since_best: 0, ..*self },
            false => Losses { since_best: self.since_best + 1, ..*self },
        };
        (self.last_step, self.last) = (step, last);
        lowest
    }
}
