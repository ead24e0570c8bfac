//! The best adapter or checkpoint of a run, and the check that its files compute the same as it does.

use super::learner::{Files, Learner};
use super::losses::Losses;
use super::training::Job;
use crate::adapter::ExportCheck;
use crate::error::Result;
use crate::plan::Progress;
use crate::warning::Warning;

/// How many tokens the probe of an export's check has.
pub(super) const PROBE_TOKENS: usize = 32;

/// The adapter that a run keeps.
#[derive(Debug, Clone)]
pub struct Kept {
    pub files: Files,
    pub step: u32,
    /// The held-out loss; `None` without held-out rows, or if the run ended before measuring it.
    pub loss: Option<f64>,
    pub rank: usize,
    pub alpha: f64,
    pub targets: Vec<&'static str>,
    pub parameters: usize,
    /// Whether it was trained on conversations.
    pub is_chat: bool,
    /// What there was to say about the files, if they were opened and not trained.
    pub warnings: Vec<Warning>,
}

pub(super) struct Keeper<'a> {
    hook: &'a mut dyn FnMut(&Kept),
    /// Made when first needed; never for full fine-tuning.
    check: Option<ExportCheck>,
    pub kept: Option<Kept>,
    /// The parameters of the kept adapter.
    pub best: Option<Vec<f32>>,
}

impl<'a> Keeper<'a> {
    pub fn new(hook: &'a mut dyn FnMut(&Kept)) -> Keeper<'a> {
        Keeper { hook, check: None, kept: None, best: None }
    }

    /// Keeps the best adapter of the run that is resumed, unless that has been done.
    pub async fn keep_again(&mut self, job: &Job<'_>, learner: &Learner, losses: Losses) -> Result<()> {
        match (&self.kept, self.best.clone()) {
            (None, Some(best)) => self.keep(job, learner, losses.best_step, losses.best, best).await,
            _ => Ok(()),
        }
    }

    /// Frees the check of exports, which is made again when it is needed.
    pub fn forget_check(&mut self) {
        self.check = None;
    }

    /// Makes the check of exports, unless it exists.
    pub async fn prepare(&mut self, job: &Job<'_>, learner: &Learner) -> Result<()> {
        if let (Learner::Lora(adapter), None) = (learner, &self.check) {
            let probe = &job.data.rows[0].ids[..PROBE_TOKENS.min(job.settings.seq_len)];
            let model = &job.base.model;
            let draft = model.device.checked(|| ExportCheck::record(model, adapter, probe)).await?;
            self.check = Some(draft.finish(&mut Progress::silent()).await?);
        }
        Ok(())
    }

    /// Exports parameters, checks the bytes, and passes them to the `keep` hook.
    pub async fn keep(
        &mut self,
        job: &Job<'_>,
        learner: &Learner,
        step: u32,
        loss: Option<f64>,
        flat: Vec<f32>,
    ) -> Result<()> {
        let origin = job.base.origin(job.data.is_chat);
        let files = learner.export(&job.base.model, &flat, &origin).await?;
        self.prepare(job, learner).await?;
        if let (Some(check), Files::Adapter(files)) = (&self.check, &files) {
            check.run(&job.base.model.device, &flat, files).await?;
        }
        let spec = learner.spec();
        let kept = Kept {
            files,
            step,
            loss,
            rank: spec.rank(),
            alpha: spec.alpha(),
            targets: spec.target_names(&job.base.model.config),
            parameters: learner.parameters(),
            is_chat: job.data.is_chat,
            warnings: Vec::new(),
        };
        (self.hook)(&kept);
        self.kept = Some(kept);
        self.best = Some(flat);
        Ok(())
    }
}
