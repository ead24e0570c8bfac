//! What a run reports: one schema for the log file, the worker and the API. Units are in the names.

use serde::{Deserialize, Serialize};

use super::settings::Settings;
use crate::device::TunedProduct;
use crate::model::Storage;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub enum Event {
    /// Everything needed to repeat the run. Reported again if the run goes on with less memory.
    Config {
        base: String,
        base_sha256: String,
        /// How the frozen weights are stored.
        #[serde(default)]
        weights: Storage,
        /// The hash of the training rows and the held-out rows, in file order.
        #[serde(default)]
        data_sha256: String,
        /// The hash of the weights of the adapter that the run starts from.
        #[serde(default)]
        init_sha256: Option<String>,
        version: String,
        /// The name of the device. Older run states call it `adapter`.
        #[serde(alias = "adapter")]
        device: String,
        /// How many engines share each micro-batch.
        #[serde(default = "one")]
        workers: usize,
        /// The rows that steps take: with packing, fewer than there are to train on.
        rows: usize,
        held_out: usize,
        parameters: usize,
        /// How the largest products are computed on a card, where that was measured.
        #[serde(default)]
        tuned: Vec<TunedProduct>,
        settings: Box<Settings>,
    },
    Phase {
        phase: Phase,
        done: u64,
        total: u64,
    },
    /// `step` counts from 1; `loss` is the mean over the step's labels before its update, in nats; `grad_norm` is
    /// taken before clipping.
    Step {
        step: u32,
        loss: f64,
        grad_norm: f64,
        lr: f64,
        tokens: u32,
        tokens_per_second: f64,
        eta_ms: f64,
    },
    /// Step 0 is the base model. The loss is null if the held-out rows have no labels.
    Eval {
        step: u32,
        loss: Option<f64>,
        tokens: u32,
    },
    Sample {
        step: u32,
        prompt: String,
        text: String,
    },
    /// The run can be resumed from here.
    Checkpoint {
        step: u32,
    },
    Warning {
        code: String,
        message: String,
    },
    Done {
        step: u32,
        base_loss: Option<f64>,
        best_loss: Option<f64>,
        best_step: u32,
        reason: DoneReason,
    },
}

/// Of a run whose state does not say it.
fn one() -> usize {
    1
}

impl Event {
    /// Whether a resumed run reports it again. The progress of something finished is not reported again.
    pub fn lasts(&self) -> bool {
        !matches!(self, Event::Phase { .. })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    Loading,
    Compiling,
    Training,
    Paused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DoneReason {
    Finished,
    /// `patience` evaluations in a row brought no improvement.
    EarlyStop,
    Stopped,
    Cancelled,
    NonFinite,
}
