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

/// How many bytes a run may take on a device.
#[derive(Clone, Copy)]
pub enum Room<'a> {
    Bytes(u64),
    /// What the device gives, and the bytes that it holds already and the run will use.
    On {
        device: &'a Device,
        held: u64,
    },
}

impl Room<'_> {
    /// How many of `needed` bytes there is room for.
    async fn bytes(self, needed: u64) -> u64 {
        match self {
            Room::Bytes(bytes) => bytes,
            Room::On { device, held } => held + device.room(needed.saturating_sub(held)).await,
        }
    }
}

impl Unloaded {
    /// Errors: `MemoryLimit` or `GpuLimit` for a run for which there is no room, or whose buffers are too large.
    pub async fn check(&self, settings: &Settings, room: Room<'_>) -> Result<()> {
        self.find(settings, room).await?.refused.map_or(Ok(()), |(error, _)| Err(error))
    }

    /// The first of `settings` and of smaller runs with the same steps for which there is room. Errors: `MemoryLimit`,
    /// with shorter rows that would fit if there are any; `GpuLimit` if no run is small enough for the device's
    /// buffers.
    pub async fn fit(&self, settings: &Settings, room: Room<'_>) -> Result<Fitted> {
        let Found { settings, refused } = self.find(settings, room).await?;
        let warning = refused.map(|(error, changes)| less_memory(&error, &changes));
        Ok(Fitted { settings, warning })
    }

    async fn find(&self, settings: &Settings, room: Room<'_>) -> Result<Found> {
        let first = match self.memory(settings).await {
            Ok(memory) => Ok((memory.total(), room.bytes(memory.total()).await)),
            // More than one buffer or binding holds: a smaller run may be possible.
            Err(error @ Error::GpuLimit { .. }) => Err(error),
            Err(error) => return Err(error),
        };
        if first.as_ref().is_ok_and(|(needed, limit)| needed <= limit) {
            return Ok(Found { settings: settings.clone(), refused: None });
        }
        let refusal = |advice: String| match &first {
            Ok((needed, limit)) => Error::MemoryLimit { needed: *needed, limit: *limit, advice },
            Err(error) => error.clone(),
        };
        let (same_steps, shorter_rows) = (same_steps(settings), shorter_rows(settings));
        let (mut limit, mut last) = (first.as_ref().ok().map(|(_, limit)| *limit), None);
        for (i, smaller) in same_steps.iter().chain(&shorter_rows).enumerate() {
            // What the device refuses does not fit either.
            let Ok(memory) = self.memory(smaller).await else { continue };
            let limit = match limit {
                Some(limit) => limit,
                None => *limit.insert(room.bytes(memory.total()).await),
            };
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
}

impl Base {
    /// The settings with which a run on this base fits onto its device. Errors: `MemoryLimit`.
    pub async fn fit(&self, settings: &Settings) -> Result<Fitted> {
        let unloaded = self.unloaded(&settings.prompt)?;
        unloaded.fit(settings, self.room(&unloaded)).await
    }

    /// Errors: `MemoryLimit` for a run with these settings that does not fit onto the device.
    pub async fn check_memory(&self, settings: &Settings) -> Result<()> {
        let unloaded = self.unloaded(&settings.prompt)?;
        unloaded.check(settings, self.room(&unloaded)).await
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

    /// What else is on the device, such as an adapter of an earlier run, is not this run's.
    fn room(&self, unloaded: &Unloaded) -> Room<'_> {
        let held = unloaded.model.device.bytes() + self.model.pool.bytes();
        Room::On { device: &self.model.device, held }
    }
}

/// The settings of smaller runs that make the same steps, in the order in which to try them: to be lean and
/// checkpointing change no number, or on a card the last bits; smaller micro-batches add up to the same gradient,
/// unless dropout draws for each of them.
pub(super) fn same_steps(settings: &Settings) -> Vec<Settings> {
    let lean = Settings { lean: true, ..settings.clone() };
    let checkpointed = Settings { checkpointing: true, ..lean.clone() };
    let narrower = if settings.dropout > 0.0 { Vec::new() } else { narrower(&checkpointed) };
    let mut all: Vec<Settings> = [settings.clone(), lean, checkpointed].into_iter().chain(narrower).collect();
    all.dedup();
    all.split_off(1)
}

/// Says what a run that went without enough memory changes.
pub(super) fn less_memory(why: &Error, changes: &str) -> Warning {
    Warning { code: "less_memory", message: format!("{why}; the run goes on with {changes}") }
}

/// The same rows per step in more and more micro-batches.
fn narrower(settings: &Settings) -> Vec<Settings> {
    let Settings { batch, accumulate, .. } = *settings;
    let parts = (2..=batch).filter(|parts| batch.is_multiple_of(*parts) && accumulate * parts <= MOST_ROWS);
    parts.map(|parts| Settings { batch: batch / parts, accumulate: accumulate * parts, ..settings.clone() }).collect()
}

/// The smallest micro-batches, with shorter and shorter rows. They change what is learnt, so they are only proposed.
fn shorter_rows(settings: &Settings) -> Vec<Settings> {
    let checkpointed = Settings { lean: true, checkpointing: true, ..settings.clone() };
    let narrowest = narrower(&checkpointed).pop().unwrap_or(checkpointed);
    let lengths = std::iter::successors(Some(settings.seq_len / 2), |length| Some(length / 2));
    let lengths = lengths.take_while(|length| *length >= SHORTEST_ROWS);
    lengths.map(|seq_len| Settings { seq_len, ..narrowest.clone() }).collect()
}

pub(super) fn changes(from: &Settings, to: &Settings) -> String {
    let mut words = Vec::new();
    if to.lean && !from.lean {
        words.push("lean recomputation".to_string());
    }
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
