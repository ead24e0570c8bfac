//! What to change about a run that needs more memory than there is.

use super::base::Base;
use super::learner::Method;
use super::memory::Unloaded;
use super::settings::{MOST_ROWS, Settings};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::text::{Conversation, Prompt};
use crate::warning::Warning;

/// Shorter rows are not proposed.
pub(super) const SHORTEST_ROWS: usize = 16;

/// The settings of a run that fits, with a warning if they are not those that were asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    pub settings: Settings,
    pub warning: Option<Warning>,
}

impl Fitted {
    pub fn unchanged(settings: &Settings) -> Fitted {
        Fitted { settings: settings.clone(), warning: None }
    }
}

/// The first settings that fit. If they are not those that were asked for: why, and what they change.
struct Found {
    settings: Settings,
    refused: Option<(Error, String)>,
}

impl Unloaded {
    /// Errors: `MemoryLimit` or `GpuLimit` for a run that needs more than `limit` bytes, or more than a buffer holds.
    pub async fn check(&self, settings: &Settings, limit: u64) -> Result<()> {
        self.find(settings, limit).await?.refused.map_or(Ok(()), |(error, _)| Err(error))
    }

    /// The first of `settings` and of smaller runs with the same steps that needs at most `limit` bytes. Errors:
    /// `MemoryLimit`, with shorter rows that would fit if there are any; `GpuLimit` if no run is small enough for the
    /// device's buffers.
    pub async fn fit(&self, settings: &Settings, limit: u64) -> Result<Fitted> {
        let Found { settings, refused } = self.find(settings, limit).await?;
        let warning = refused.map(|(error, changes)| Warning {
            code: "less_memory",
            message: format!("{error}; the run goes on with {changes}"),
        });
        Ok(Fitted { settings, warning })
    }

    async fn find(&self, settings: &Settings, limit: u64) -> Result<Found> {
        let first = match self.memory(settings).await {
            Ok(memory) if memory.total() <= limit => {
                return Ok(Found { settings: settings.clone(), refused: None });
            }
            Ok(memory) => Ok(memory.total()),
            // More than one buffer or binding holds: a smaller run may be possible.
            Err(error @ Error::GpuLimit { .. }) => Err(error),
            Err(error) => return Err(error),
        };
        let refusal = |advice: String| match &first {
            Ok(needed) => Error::MemoryLimit { needed: *needed, limit, advice },
            Err(error) => error.clone(),
        };
        let (same_steps, shorter_rows) = (same_steps(settings), shorter_rows(settings));
        let mut last = None;
        for (i, smaller) in same_steps.iter().chain(&shorter_rows).enumerate() {
            // What the device refuses does not fit either.
            let Ok(memory) = self.memory(smaller).await else { continue };
            let changes = changes(settings, smaller);
            let advice = format!("with {changes} it needs {}", memory.total());
            match memory.total() <= limit {
                true if i < same_steps.len() => {
                    return Ok(Found { settings: smaller.clone(), refused: Some((refusal(advice), changes)) });
                }
                true => return Err(refusal(advice)),
                false => last = Some(format!("even {advice}, {} of them for the weights", memory.weights)),
            }
        }
        let mut advice = last.unwrap_or_else(|| "no smaller run is possible".to_string());
        let adapter = Settings { method: Method::Lora, ..settings.clone() };
        if settings.method == Method::Full
            && let Ok(memory) = self.memory(&adapter).await
        {
            advice += &format!("; with the method lora the run needs {}", memory.total());
        }
        Err(refusal(advice))
    }

    /// How many bytes a run with these settings may take on `device`: those that it holds already and the run will
    /// use, and those that it gives.
    pub async fn allowed(&self, device: &Device, settings: &Settings, held: u64) -> Result<u64> {
        for run in std::iter::once(settings.clone()).chain(same_steps(settings)).chain(shorter_rows(settings)) {
            match self.memory(&run).await {
                Ok(memory) => return Ok(held + device.room(memory.total().saturating_sub(held)).await),
                // More than one buffer or binding holds: a smaller run may be possible.
                Err(Error::GpuLimit { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(held)
    }
}

impl Base {
    /// The settings with which a run on this base fits onto its device. Errors: `MemoryLimit`.
    pub async fn fit(&self, settings: &Settings) -> Result<Fitted> {
        let (unloaded, allowed) = self.allowed(settings).await?;
        unloaded.fit(settings, allowed).await
    }

    /// Errors: `MemoryLimit` for a run with these settings that does not fit onto the device.
    pub async fn check_memory(&self, settings: &Settings) -> Result<()> {
        let (unloaded, allowed) = self.allowed(settings).await?;
        unloaded.check(settings, allowed).await
    }

    /// A model like this one, for a run whose samples continue `prompt`.
    pub fn unloaded(&self, prompt: &str) -> Result<Unloaded> {
        let Base { model, tokenizer, .. } = self;
        let mut unloaded = Unloaded::new(&model.device, &model.config, &|spec| model.format(spec.role))?;
        // A prompt that cannot be used is refused where the run begins.
        let counted = |prompt: Prompt<'_>| prompt.ids(tokenizer).map_or(0, |ids| ids.len());
        let as_message = Conversation::of_user(prompt, None);
        let message = if tokenizer.has_chat_template() { counted(Prompt::Conversation(&as_message)) } else { 0 };
        unloaded.prompt_tokens = Some(counted(Prompt::Text(prompt)).max(message));
        Ok(unloaded)
    }

    async fn allowed(&self, settings: &Settings) -> Result<(Unloaded, u64)> {
        let unloaded = self.unloaded(&settings.prompt)?;
        // What else is on the device, such as an adapter of an earlier run, is not this run's.
        let held = unloaded.model.device.bytes() + self.model.pool.bytes();
        let allowed = unloaded.allowed(&self.model.device, settings, held).await?;
        Ok((unloaded, allowed))
    }
}

/// The settings of smaller runs that make the same steps, in the order in which to try them: checkpointing changes no
/// number, and smaller micro-batches add up to the same gradient, unless dropout draws for each of them.
fn same_steps(settings: &Settings) -> Vec<Settings> {
    let checkpointed = Settings { checkpointing: true, ..settings.clone() };
    let first = (!settings.checkpointing).then(|| checkpointed.clone());
    let narrower = if settings.dropout > 0.0 { Vec::new() } else { narrower(&checkpointed) };
    first.into_iter().chain(narrower).collect()
}

/// The same rows per step in more and more micro-batches.
fn narrower(settings: &Settings) -> Vec<Settings> {
    let Settings { batch, accumulate, .. } = *settings;
    let parts = (2..=batch).filter(|parts| batch.is_multiple_of(*parts) && accumulate * parts <= MOST_ROWS);
    parts.map(|parts| Settings { batch: batch / parts, accumulate: accumulate * parts, ..settings.clone() }).collect()
}

/// The smallest micro-batches, with shorter and shorter rows. They change what is learnt, so they are only proposed.
fn shorter_rows(settings: &Settings) -> Vec<Settings> {
    let checkpointed = Settings { checkpointing: true, ..settings.clone() };
    let narrowest = narrower(&checkpointed).pop().unwrap_or(checkpointed);
    let lengths = std::iter::successors(Some(settings.seq_len / 2), |length| Some(length / 2));
    let lengths = lengths.take_while(|length| *length >= SHORTEST_ROWS);
    lengths.map(|seq_len| Settings { seq_len, ..narrowest.clone() }).collect()
}

fn changes(from: &Settings, to: &Settings) -> String {
    let mut words = Vec::new();
    if to.checkpointing && !from.checkpointing {
        words.push("checkpointing".to_string());
    }
    if to.batch != from.batch {
        let same = if from.dropout > 0.0 { "with other draws of dropout" } else { "the same steps" };
        words.push(format!("batch {} and accumulate {} ({same})", to.batch, to.accumulate));
    }
    if to.seq_len != from.seq_len {
        words.push(format!("seq-len {} (shorter rows, so less context is learnt)", to.seq_len));
    }
    words.join(", ")
}
