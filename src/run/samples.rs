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

impl Samples {
    /// Makes the generator, unless it exists or the run takes no samples.
    pub async fn prepare(&mut self, job: &Job<'_>, learner: &Learner) -> Result<()> {
        if job.settings.sample_every > 0 && self.generator.is_none() {
            let draft = Generator::record(&learner.attach(&job.base.model))?;
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
        let (tokenizer, asked) = (&job.base.tokenizer, Conversation::of_user(&job.settings.prompt, None));
        let prompt = match job.data.is_chat {
            true => Prompt::Conversation(&asked),
            false => Prompt::Text(&job.settings.prompt),
        };
        let go_on = || !job.control.ends();
        let generated = generator.generate(tokenizer, prompt, &sampling, &mut |_| {}, &go_on).await?;
        Ok(Some(generated.text).filter(|_| go_on()))
    }
}
