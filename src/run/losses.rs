//! The results of evaluations, and when they were made.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Losses {
    /// At adapter strength 0; `None` without held-out rows.
    pub base: Option<f64>,
    /// Before the first step: that of the base model, unless the run started from an adapter.
    pub start: Option<f64>,
    pub best: Option<f64>,
    pub best_step: u32,
    /// The step of the last evaluation, and the number of evaluations since the best one.
    pub last_step: u32,
    pub since_best: u32,
    /// The loss of the last evaluation.
    #[serde(default)]
    pub last: Option<f64>,
    /// The step of the last sample.
    #[serde(default)]
    pub last_sample: u32,
}

impl Losses {
    /// Adds the loss of an evaluation. Returns true if it is the lowest so far, including the start. A loss that is not
    /// finite is never kept, because JSON has no such number; an evaluation of nothing is neither better nor worse.
    pub(super) fn add(&mut self, step: u32, loss: Option<f64>) -> bool {
        let last = loss.filter(|loss| loss.is_finite());
        let lowest = last.is_some_and(|loss| self.best.or(self.start).is_none_or(|lowest| loss < lowest));
        *self = match lowest {
            true => Losses { best: last, best_step: step, since_best: 0, ..*self },
            false => Losses { since_best: self.since_best + u32::from(loss.is_some()), ..*self },
        };
        (self.last_step, self.last) = (step, last);
        lowest
    }
}
