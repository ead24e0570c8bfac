//! What the adapter writes during a run.

use super::learner::Learner;
use super::training::Job;
use crate::error::{Error, Result};
use crate::generate::{Generator, Sampling};
use crate::plan::Progress;
use crate::text::{Conversation, Prompt};

#[derive(Default)]
pub(super) struct Samples {
    /// Made after the first step, so that the run starts sooner.
    generator: Option<Generator>,
}

/// The prompt as a user's message.
fn asked(job: &Job<'_>) -> Conversation {
    Conversation::of_user(&job.settings.prompt, None)
}

fn prompt<'a>(job: &Job<'a>, asked: &'a Conversation) -> Prompt<'a> {
    if job.data.is_chat { Prompt::Conversation(asked) } else { Prompt::Text(&job.settings.prompt) }
}

impl Samples {
    /// Whether the prompt can be used, before the run begins. Errors: those of a prompt, and `PromptTooLong`.
    pub fn check(job: &Job<'_>) -> Result<()> {
        if job.settings.sample_every == 0 {
            return Ok(());
        }
        let (tokens, context) =
            (prompt(job, &asked(job)).ids(&job.base.tokenizer)?.len(), job.base.model.config.context);
        if tokens > context { Err(Error::PromptTooLong { tokens, context }) } else { Ok(()) }
    }

    /// Makes the generator, unless it exists or the run takes no samples.
    pub async fn prepare(&mut self, job: &Job<'_>, learner: &Learner) -> Result<()> {
        if job.settings.sample_every > 0 && self.generator.is_none() {
            let tokens =
                prompt(job, &asked(job)).ids(&job.base.tokenizer)?.len().saturating_add(job.settings.max_tokens);
            let model = learner.attach(&job.base.model);
            let draft = model.device.checked(|| Generator::record(&model, tokens)).await?;
            self.generator = Some(draft.finish(&mut Progress::silent()).await?);
        }
        Ok(())
    }

    /// How the adapter currently continues the prompt, which is a user's message if conversations are learnt; `None` if
    /// a stop interrupts it.
    pub async fn take(&self, job: &Job<'_>) -> Result<Option<String>> {
        let Some(generator) = &self.generator else {
            return Err(Error::Internal { what: "a sample was due before its plans were made".to_string() });
        };
        let sampling = Sampling {
            max_tokens: job.settings.max_tokens,
            temperature: 0.7,
            top_k: 40,
            top_p: 1.0,
            seed: job.settings.seed,
            strength: 1.0,
        };
        let tokenizer = &job.base.tokenizer;
        let asked = asked(job);
        let prompt = prompt(job, &asked);
        let go_on = || !job.control.ends();
        let generated = generator.generate(tokenizer, prompt, &sampling, &mut |_| {}, &go_on).await?;
        Ok(Some(generated.text).filter(|_| go_on()))
    }
}
