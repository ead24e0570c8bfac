//! What a run leaves behind: the best adapter, checkpoints, samples, and its end.

use super::{PROBE_TOKENS, Run};
use crate::adapter::ExportCheck;
use crate::error::{Error, Result};
use crate::generate::{Generator, Sampling};
use crate::plan::Progress;
use crate::run::checkpoint::{Checkpoint, Losses, State};
use crate::run::learner::{Files, Learner};
use crate::run::{DoneReason, Event, Wish};

/// The adapter that a run keeps.
#[derive(Debug, Clone)]
pub struct Kept {
    pub files: Files,
    pub step: u32,
    /// Held-out loss; `None` without held-out rows, or where a run ended before it was measured.
    pub loss: Option<f64>,
    pub rank: usize,
    pub alpha: f64,
    pub targets: Vec<&'static str>,
    pub parameters: usize,
}

impl Run<'_> {
    /// Goes on from a checkpoint: losses, and the best adapter so far.
    pub(super) async fn take_up(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        (self.step, self.losses) = (checkpoint.state.step, checkpoint.state.losses);
        if let Some(best) = &checkpoint.best {
            self.keep(self.losses.best_step, self.losses.best, best.clone()).await?;
        }
        Ok(())
    }

    pub(super) async fn checkpoint_if_due(&mut self) -> Result<()> {
        let every = self.hooks.checkpoint.as_ref().map(|hook| hook.every_ms);
        if every.is_none_or(|every| (self.clock)() - self.last_checkpoint_at < every) {
            return Ok(());
        }
        self.checkpoint().await?;
        self.last_result_at = (self.clock)();
        Ok(())
    }

    /// Hands on everything that the run needs to go on from here. Drains first, so that p, m, v and the step belong
    /// together.
    pub(super) async fn checkpoint(&mut self) -> Result<()> {
        self.drain(0).await?;
        let step = self.step;
        let losses = self.losses;
        if self.hooks.checkpoint.is_none() || self.broken.is_some() || step == 0 || self.saved == Some((step, losses)) {
            return Ok(());
        }
        self.saved = Some((step, losses));
        self.emit(Event::Checkpoint { step });
        let device = self.base.model.device.clone();
        let flat = self.trainer.buffers();
        let (p, m, v) = (
            self.snapshots.read_from(&device, &flat.p).await?,
            self.snapshots.read_from(&device, &flat.m).await?,
            self.snapshots.read_from(&device, &flat.v).await?,
        );
        let state = State {
            form: State::FORM,
            step,
            updates: self.trainer.step,
            settings: self.settings.clone(),
            spec: self.learner.spec(),
            base_sha256: self.base.sha256.clone(),
            data_sha256: self.data_sha256.clone(),
            losses,
            events: self.events.clone(),
        };
        let checkpoint = Checkpoint { state, p, m, v, best: self.best.clone() };
        if let Some(hook) = &mut self.hooks.checkpoint {
            (hook.save)(checkpoint.to_bytes());
        }
        self.last_checkpoint_at = (self.clock)();
        Ok(())
    }

    /// Exports parameters, checks the bytes, and hands them on.
    pub(super) async fn keep(&mut self, step: u32, loss: Option<f64>, flat: Vec<f32>) -> Result<()> {
        let device = self.base.model.device.clone();
        let files = self.learner.export(&self.base.model, &flat, &self.base.name).await?;
        self.make_late_plans().await?;
        if let (Some(check), Files::Adapter(files)) = (&self.check, &files) {
            check.run(&device, &flat, files).await?;
        }
        let spec = self.learner.spec();
        let kept = Kept {
            files,
            step,
            loss,
            rank: spec.rank(),
            alpha: spec.alpha(),
            targets: spec.target_names(&self.base.model.config),
            parameters: self.learner.parameters(),
        };
        (self.hooks.keep)(&kept);
        self.kept = Some(kept);
        self.best = Some(flat);
        Ok(())
    }

    /// The plans that nobody waits for: samples and the check of exports.
    pub(super) async fn make_late_plans(&mut self) -> Result<()> {
        if self.late_plans_made {
            return Ok(());
        }
        self.late_plans_made = true;
        let mut progress = Progress { done: 0, total: 0, report: &mut |_, _| {} };
        let probe: Vec<u32> = self
            .data
            .rows
            .first()
            .map(|row| row.ids.iter().take(PROBE_TOKENS.min(self.settings.seq_len)).copied().collect())
            .unwrap_or_default();
        if let Learner::Lora(adapter) = &self.learner {
            let draft = ExportCheck::record(&self.base.model, adapter, &probe)?;
            self.check = Some(ExportCheck::finish(draft, &probe, &mut progress).await?);
        }
        if self.settings.sample_every > 0 {
            let model = self.learner.attach(&self.base.model);
            self.generator = Some(Generator::finish(&model, Generator::record(&model)?, &mut progress).await?);
        }
        Ok(())
    }

    pub(super) async fn sample(&mut self, step: u32) -> Result<()> {
        let settings = self.settings;
        let Some(generator) = &self.generator else { return Ok(()) };
        let sampling = Sampling {
            max_tokens: settings.max_tokens,
            temperature: 0.7,
            top_k: 40,
            top_p: 1.0,
            seed: settings.seed,
            strength: 1.0,
        };
        let go_on = || !self.control.ends();
        let generated =
            generator.generate(&self.base.tokenizer, &settings.prompt, &sampling, &mut |_| {}, &go_on).await?;
        // A sample that a stop has cut short tells nothing.
        if self.control.ends() {
            return Ok(());
        }
        self.losses.last_sample = step;
        self.emit(Event::Sample { step, prompt: settings.prompt.clone(), text: generated.text });
        Ok(())
    }

    pub(super) async fn end(mut self) -> Result<Option<Kept>> {
        // A step that was not finite changed nothing.
        let step = self.broken.map_or(self.step, |broken| broken.saturating_sub(1));
        let reason = match (self.broken, self.control.wish()) {
            (_, Wish::Cancel) => DoneReason::Cancelled,
            (Some(_), _) => DoneReason::NonFinite,
            (None, Wish::Stop) => DoneReason::Stopped,
            (None, _) if step < self.settings.steps => DoneReason::EarlyStop,
            (None, _) => DoneReason::Finished,
        };
        let Losses { base: base_loss, start, .. } = self.losses;
        if let Some(step) = self.broken {
            let error = Error::NonFinite { step };
            self.emit(Event::Warning { code: error.code().to_string(), message: format!("{error}. {}", error.hint()) });
        }
        if reason == DoneReason::Cancelled {
            self.emit(Event::Done { step, base_loss, best_loss: None, best_step: 0, reason });
            return Ok(None);
        }
        if reason == DoneReason::Stopped {
            self.checkpoint().await?;
        }
        if self.kept.is_none() && self.step > 0 {
            if start.is_some() && reason != DoneReason::Stopped {
                let message = "no evaluation was better than the start; the last adapter is kept".to_string();
                self.emit(Event::Warning { code: "no_improvement".to_string(), message });
            }
            let device = self.base.model.device.clone();
            self.snapshots.take(&device, &self.params);
            let flat = self.snapshots.read(&device).await?;
            let loss = self.losses.last.filter(|_| self.losses.last_step == step);
            self.keep(step, loss, flat).await?;
        }
        let best = self.kept.as_ref().map(|kept| (kept.loss, kept.step)).unwrap_or((None, 0));
        self.emit(Event::Done { step, base_loss, best_loss: best.0, best_step: best.1, reason });
        Ok(self.kept)
    }
}
