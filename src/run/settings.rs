//! The settings of a run: one struct for the command line, the worker and the log file.

use serde::{Deserialize, Serialize};

use super::learner::Method;
use super::limits::Limits;
use crate::adapter::AdapterSpec;
use crate::error::{Error, Result};
use crate::model::Config;
use crate::text::batches::Batches;
use crate::text::dataset::{Dataset, DatasetOptions};
use crate::train::{Schedule, TrainerSettings};

/// The default hold-out: this fraction of the rows, but not more than [`MOST_HELD_OUT`].
pub const HOLDOUT: f64 = 0.1;
pub const MOST_HELD_OUT: usize = 64;
/// The most rows per micro-batch, and the most micro-batches per step.
pub const MOST_ROWS: usize = 1024;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// Tokens per row.
    pub seq_len: usize,
    /// Rows per micro-batch.
    pub batch: usize,
    /// Micro-batches per step.
    pub accumulate: usize,
    #[serde(default)]
    pub method: Method,
    pub rank: usize,
    pub alpha: f64,
    pub targets: String,
    /// Peak learning rate.
    pub lr: f64,
    pub schedule: Schedule,
    /// The fraction of the steps during which the learning rate rises.
    pub warmup: f64,
    pub steps: u32,
    /// The largest norm of the gradient; 0 means no clipping.
    pub clip: f64,
    pub weight_decay: f64,
    /// The probability that an input of A is zeroed in training (PEFT's `lora_dropout`).
    #[serde(default)]
    pub dropout: f64,
    /// Whether the backward pass makes norms and activations again, which takes less memory and hardly more time. It
    /// changes no number, except that a card takes the head of a large vocabulary in smaller chunks, whose sums are
    /// rounded differently.
    #[serde(default)]
    pub lean: bool,
    /// Whether blocks are computed again in the backward pass, which takes even less memory and more time. It changes
    /// no number.
    #[serde(default)]
    pub checkpointing: bool,
    /// Whether short examples share rows. Those that are held out do not.
    #[serde(default)]
    pub packing: bool,
    /// Whether a run on a graphics card first measures, for about a second, how its largest products are fastest there.
    /// That changes how their sums are rounded.
    #[serde(default)]
    pub autotune: bool,
    /// The fraction of the rows that is held out.
    pub holdout: f64,
    /// The most rows that the default fraction holds out. A fraction that was chosen is used in full.
    #[serde(default)]
    pub holdout_at_most: Option<usize>,
    /// Steps between evaluations; 0 means a tenth of the run.
    pub eval_every: u32,
    /// The run ends after this many evaluations in a row without a lower held-out loss; 0 means never.
    #[serde(default)]
    pub patience: u32,
    /// Steps between samples; 0 means no samples.
    pub sample_every: u32,
    /// The prompt that samples continue.
    pub prompt: String,
    /// The most tokens of a sample.
    pub max_tokens: usize,
    pub seed: u64,
    pub shuffle: bool,
}

impl Settings {
    /// The defaults for a model and a kind of device. The learning rate of models under 10 M parameters was measured on
    /// the embedded one (`tests/parity/sweep.py`; the numbers are in www/public/base/README.md). On the CPU a step is
    /// four times smaller, so that 150 of them take about half a minute.
    pub fn defaults(config: &Config, software: bool) -> Settings {
        let small = config.parameters() < 10_000_000;
        let (batch, seq_len) = match (software, small) {
            (true, _) => (4, 64),
            (false, true) => (8, 128),
            (false, false) => (8, 256),
        };
        Settings {
            seq_len: seq_len.min(config.context),
            batch,
            accumulate: 1,
            method: Method::Lora,
            rank: 8,
            alpha: 16.0,
            targets: "all-linear".to_string(),
            lr: if small { 5e-3 } else { 5e-4 },
            schedule: Schedule::Linear,
            warmup: 0.05,
            steps: 150,
            clip: 1.0,
            weight_decay: 0.0,
            dropout: 0.0,
            lean: false,
            checkpointing: false,
            packing: false,
            autotune: true,
            holdout: HOLDOUT,
            holdout_at_most: Some(MOST_HELD_OUT),
            eval_every: 0,
            patience: 0,
            sample_every: 0,
            prompt: String::new(),
            max_tokens: 40,
            seed: 0,
            shuffle: true,
        }
    }

    /// The same with another method. Full fine-tuning takes three tenths of the learning rate of LoRA, which
    /// was measured on the embedded model, too.
    pub fn with_method(self, method: Method) -> Settings {
        let factor = match (self.method, method) {
            (Method::Lora, Method::Full) => 0.3,
            (Method::Full, Method::Lora) => 1.0 / 0.3,
            (Method::Lora, Method::Lora) | (Method::Full, Method::Full) => 1.0,
        };
        Settings { method, lr: self.lr * factor, ..self }
    }

    /// 150 steps or three epochs, whichever is more, at most 2,000.
    pub fn default_steps(&self, rows: usize) -> u32 {
        let per_epoch = rows.div_ceil((self.batch * self.accumulate).max(1)) as u32;
        per_epoch.saturating_mul(3).clamp(150, 2000)
    }

    /// How documents become the rows of a run.
    pub(super) fn dataset_options(&self, limit_bytes: u64) -> DatasetOptions {
        let holdout_at_most = self.holdout_at_most.filter(|_| self.holdout == HOLDOUT);
        DatasetOptions { seq_len: self.seq_len, holdout: self.holdout, holdout_at_most, limit_bytes }
    }

    /// What the plans of an engine are recorded for that computes `batch` rows of a micro-batch.
    pub(super) fn trainer(&self, batch: usize) -> TrainerSettings {
        let Settings { seq_len, dropout, lean, checkpointing, .. } = *self;
        TrainerSettings { batch, seq_len, dropout: dropout > 0.0, lean, checkpointing }
    }

    /// Which rows each step takes.
    pub(super) fn batches(&self, rows: usize) -> Batches {
        Batches { rows, batch: self.batch * self.accumulate, seed: self.seed, shuffle: self.shuffle }
    }

    /// Whether an evaluation follows a step.
    pub(super) fn evaluates_after(&self, step: u32) -> bool {
        step.is_multiple_of(self.evaluation_interval()) || step == self.steps
    }

    fn evaluation_interval(&self) -> u32 {
        if self.eval_every > 0 { self.eval_every } else { self.steps.div_ceil(10) }
    }

    /// How many evaluations follow `first` and the steps after it. The base is evaluated after step 0, so to say.
    pub(super) fn evaluations_from(&self, first: u32) -> u32 {
        u32::from(first == 0) + times(self.evaluation_interval(), first.max(1), self.steps)
    }

    /// Whether a sample follows a step.
    pub(super) fn samples_after(&self, step: u32) -> bool {
        self.sample_every > 0 && (step.is_multiple_of(self.sample_every) || step == self.steps)
    }

    /// How many samples follow `first` and the steps after it.
    pub(super) fn samples_from(&self, first: u32) -> u32 {
        if self.sample_every > 0 { times(self.sample_every, first.max(1), self.steps) } else { 0 }
    }

    /// Errors: `DataFormat` if no row has a label, `Setting` if the rows have another length than `seq_len`.
    pub(super) fn check_rows(&self, data: &Dataset) -> Result<()> {
        if data.labels() == 0 {
            let (name, reason) = ("data".to_string(), "no row has a label".to_string());
            return Err(Error::DataFormat { name, reason });
        }
        match data.rows.iter().chain(&data.held_out).find(|row| row.labels.len() != self.seq_len) {
            Some(row) => Err(Error::Setting {
                name: "seq-len".to_string(),
                value: self.seq_len.to_string(),
                expected: format!("{}, the length of the rows that were made", row.labels.len()),
            }),
            None => Ok(()),
        }
    }

    /// Errors: `Setting` for the first value that cannot be used.
    pub fn check(&self, config: &Config) -> Result<AdapterSpec> {
        let limits = Limits::of(config);
        let numbers = [
            ("lr", self.lr, limits.lr),
            ("warmup", self.warmup, limits.warmup),
            ("holdout", self.holdout, limits.holdout),
            ("weight-decay", self.weight_decay, limits.weight_decay),
            ("clip", self.clip, limits.clip),
            ("dropout", self.dropout, limits.dropout),
            ("seq-len", self.seq_len as f64, limits.seq_len),
            ("batch", self.batch as f64, limits.batch),
            ("accumulate", self.accumulate as f64, limits.accumulate),
            ("steps", f64::from(self.steps), limits.steps),
        ];
        for (name, number, limit) in numbers {
            limit.check(name, number)?;
        }
        // As f32, in which the kernel draws, the largest numbers below 1 are 1.
        if self.dropout as f32 >= 1.0 {
            return limits.dropout.refuse("dropout", self.dropout);
        }
        match self.method {
            Method::Lora => AdapterSpec::new(config, self.rank, self.alpha, &self.targets),
            Method::Full if self.dropout > 0.0 => Err(Error::Setting {
                name: "dropout".to_string(),
                value: self.dropout.to_string(),
                expected: "0 with the method full, because dropout belongs to LoRA".to_string(),
            }),
            Method::Full => Ok(AdapterSpec::default()),
        }
    }
}

/// How many of the steps `first..=last` are multiples of `every` or the last.
fn times(every: u32, first: u32, last: u32) -> u32 {
    last.div_ceil(every) - (first - 1) / every
}
