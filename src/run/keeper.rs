//! The best adapter of a run, and the check that its files compute what it does.

use super::learner::{Files, Learner};
use super::training::Job;
use crate::adapter::ExportCheck;
use crate::error::Result;
use crate::plan::Progress;

/// Tokens of the row whose logits prove an export.
pub(super) const PROBE_TOKENS: usize = 32;

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

pub(super) struct Keeper<'a> {
    hook: &'a mut dyn FnMut(&Kept),
    /// Made when it is first needed; never for full fine-tuning.
    check: Option<ExportCheck>,
    pub kept: Option<Kept>,
    /// The kept adapter's parameters.
    pub best: Option<Vec<f32>>,
}

impl<'a> Keeper<'a> {
    pub fn new(hook: &'a mut dyn FnMut(&Kept)) -> Keeper<'a> {
        Keeper { hook, check: None, kept: None, best: None }
    }

    /// Makes the check of exports, unless it has been made.
    pub async fn prepare(&mut self, job: &Job<'_>, learner: &Learner) -> Result<()> {
        if let (Learner::Lora(adapter), None) = (learner, &self.check) {
            let probe = &job.data.rows[0].ids[..PROBE_TOKENS.min(job.settings.seq_len)];
            let draft = ExportCheck::record(&job.base.model, adapter, probe)?;
            self.check = Some(draft.finish(&mut Progress::silent()).await?);
        }
        Ok(())
    }

    /// Exports parameters, checks the bytes, and hands them on.
    pub async fn keep(
        &mut self,
        job: &Job<'_>,
        learner: &Learner,
        step: u32,
        loss: Option<f64>,
        flat: Vec<f32>,
    ) -> Result<()> {
        let files = learner.export(&job.base.model, &flat, &job.base.name).await?;
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
        };
        (self.hook)(&kept);
        self.kept = Some(kept);
        self.best = Some(flat);
        Ok(())
    }
}
