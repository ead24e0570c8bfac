//! Steps of a run on tokens that mean nothing: what is measured is the device, and nobody's text.

use super::control::{Clock, Control};
use super::cost::Mean;
use super::learner::Learner;
use super::pace::{Pace, Pending};
use super::settings::Settings;
use super::tuning::measure;
use crate::device::Ticket;
use crate::error::Result;
use crate::model::Transformer;
use crate::plan::{Plan, Progress};
use crate::text::batches::MicroBatch;
use crate::text::rows::Row;
use crate::train::{StepSettings, Trainer};

/// Steps are timed until they have taken so long in milliseconds together, but no more of them than this.
const LONG: f64 = 1_000.0;
const STEPS: f64 = 20.0;

/// A trainer of its own. What it trains is forgotten with it.
pub struct Exercise {
    pub trainer: Trainer,
    micros: Vec<MicroBatch>,
    options: StepSettings,
    seq_len: usize,
}

impl Exercise {
    /// Makes the plans of a run with these settings. Errors: those of [`train`](super::train).
    pub async fn new(model: &Transformer, settings: &Settings, control: &Control) -> Result<Exercise> {
        let Settings { batch, accumulate, seq_len, .. } = *settings;
        let (device, config) = (&model.device, &model.config);
        let spec = settings.check(config)?;
        let learner = device.checked(|| Learner::new(model, settings.method, spec)).await?;
        learner.write(device, &learner.initial(model, settings.seed).await?);
        let (attached, params) = (learner.attach(model), learner.params());
        measure(&attached, settings, control).await?;
        let draft = device.checked(|| Trainer::record(&attached, &params, settings.trainer(batch))).await?;
        let trainer = draft.finish(&mut Progress::silent()).await?;
        let ids = (0..=seq_len).map(|i| (i * 37 % config.vocabulary) as u32).collect();
        let row = Row { ids, labels: vec![true; seq_len], tokens: seq_len };
        let micro = MicroBatch::assemble(&vec![&row; batch], batch, seq_len);
        let options = StepSettings {
            learning_rate: settings.lr,
            weight_decay: settings.weight_decay,
            clip: settings.clip,
            dropout: settings.dropout,
            seed: 0,
        };
        Ok(Exercise { trainer, micros: vec![micro; accumulate], options, seq_len })
    }

    /// Submits a step, each of its micro-batches cut into about `pieces` submissions. Errors: those of
    /// [`Trainer::submit`].
    pub fn submit(&mut self, pieces: usize) -> Result<Ticket> {
        self.trainer.submit(&self.micros, self.options, pieces)
    }

    /// The plans of a step, and how often it runs each.
    pub fn plans(&self) -> [(&Plan, usize); 2] {
        [(self.trainer.micro_plan(), self.micros.len()), (self.trainer.update_plan(), 1)]
    }

    /// Two for every multiply-add of the products of a step.
    pub fn flops(&self) -> f64 {
        let of = |plan: &Plan| plan.costs(self.seq_len).iter().filter_map(|cost| cost.flops).sum::<f64>();
        self.plans().iter().map(|(plan, times)| of(plan) * *times as f64).sum()
    }

    /// What a run would say that a step takes, in milliseconds: as many are in flight as there. `None` if `control`
    /// ended it. Errors: `DeviceLost`.
    pub(super) async fn ms_per_step(
        &mut self,
        settings: &Settings,
        clock: &Clock,
        control: &Control,
    ) -> Result<Option<f64>> {
        let device = self.trainer.device().clone();
        let mut pace = Pace::new(clock.clone(), settings, 0, &device);
        pace.restart();
        if !self.step(&mut pace, 0, control).await? {
            return Ok(None);
        }
        // The first step is slower than others, but one that takes long is not repeated to leave that out.
        let first = pace.cost.step.0;
        if first < LONG {
            pace.cost.step = Mean::default();
            pace.restart();
            let steps = (LONG / first).clamp(1.0, STEPS) as usize;
            for left in (0..steps).rev() {
                let ahead = if left == 0 { 0 } else { pace.ahead };
                if !self.step(&mut pace, ahead, control).await? {
                    return Ok(None);
                }
            }
        }
        Ok(Some(pace.cost.step.0))
    }

    /// Submits a step and waits until at most `ahead` are unread. Returns false if `control` ended it.
    async fn step(&mut self, pace: &mut Pace<'_>, ahead: usize, control: &Control) -> Result<bool> {
        let ticket = self.submit(pace.pieces())?;
        let tokens = self.micros.iter().map(|micro| micro.real_tokens).sum();
        // These steps lead to no end of a run: to the pace, each is the one before the first.
        pace.push(Pending { step: 0, ticket, tokens, lr: self.options.learning_rate });
        while pace.next(&self.trainer, ahead, control).await?.is_some() {}
        Ok(!control.ends())
    }
}
