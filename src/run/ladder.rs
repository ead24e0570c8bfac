//! What to change about a run that needs more memory than there is.

use super::base::Base;
use super::memory::Unloaded;
use super::settings::{MOST_ROWS, Settings};
use crate::device::Device;
use crate::error::{Error, Result};
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

/// The first settings that fit, and what they change: `needed` bytes into what `advice` says.
struct Found {
    settings: Settings,
    needed: u64,
    advice: Option<String>,
}

impl Unloaded {
    /// Errors: `MemoryLimit`, with the first settings that would fit, for a run that needs more than `limit` bytes.
    pub async fn check(&self, settings: &Settings, limit: u64) -> Result<()> {
        match self.find(settings, limit).await? {
            Found { advice: None, .. } => Ok(()),
            Found { needed, advice: Some(advice), .. } => Err(Error::MemoryLimit { needed, limit, advice }),
        }
    }

    /// The first of `settings` and of smaller runs with the same steps that needs at most `limit` bytes. Errors:
    /// `MemoryLimit`, with shorter rows that would fit if there are any.
    pub async fn fit(&self, settings: &Settings, limit: u64) -> Result<Fitted> {
        let Found { settings, needed, advice } = self.find(settings, limit).await?;
        let warning = advice.map(|advice| Warning {
            code: "less_memory",
            message: format!(
                "the run needs {needed} bytes on the device, {limit} are allowed: {advice}, so it is run so"
            ),
        });
        Ok(Fitted { settings, warning })
    }

    async fn find(&self, settings: &Settings, limit: u64) -> Result<Found> {
        let needed = match self.memory(settings).await {
            Ok(memory) if memory.total() <= limit => {
                return Ok(Found { settings: settings.clone(), needed: memory.total(), advice: None });
            }
            Ok(memory) => memory.total(),
            // More than one buffer or binding holds: a smaller run may be possible.
            Err(Error::GpuLimit { needed, .. }) => needed,
            Err(error) => return Err(error),
        };
        let (same_steps, shorter_rows) = (same_steps(settings), shorter_rows(settings));
        let mut last = None;
        for (i, smaller) in same_steps.iter().chain(&shorter_rows).enumerate() {
            // What the device refuses does not fit either.
            let Ok(memory) = self.memory(smaller).await else { continue };
            let advice = format!("with {} it needs {}", changes(settings, smaller), memory.total());
            match memory.total() <= limit {
                true if i < same_steps.len() => {
                    return Ok(Found { settings: smaller.clone(), needed, advice: Some(advice) });
                }
                true => return Err(Error::MemoryLimit { needed, limit, advice }),
                false => last = Some(format!("even {advice}, {} of them for the weights", memory.weights)),
            }
        }
        let advice = last.unwrap_or_else(|| "no smaller run is possible".to_string());
        Err(Error::MemoryLimit { needed, limit, advice })
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

    async fn allowed(&self, settings: &Settings) -> Result<(Unloaded, u64)> {
        let unloaded = Unloaded::like(&self.model)?;
        // What else is on the device, such as an adapter of an earlier run, is not this run's.
        let held = unloaded.model.device.bytes() + self.model.pool.bytes();
        let allowed = unloaded.allowed(&self.model.device, settings, held).await?;
        Ok((unloaded, allowed))
    }
}

/// The settings of smaller runs that make the same steps, in the order in which to try them: checkpointing changes no
/// number, and smaller micro-batches add up to the same gradient.
fn same_steps(settings: &Settings) -> Vec<Settings> {
    let Settings { batch, accumulate, checkpointing, .. } = *settings;
    let first = Settings { checkpointing: true, ..settings.clone() };
    let parts = (2..=batch).filter(|parts| batch.is_multiple_of(*parts) && accumulate * parts <= MOST_ROWS);
    let narrower =
        parts.map(|parts| Settings { batch: batch / parts, accumulate: accumulate * parts, ..first.clone() });
    let checkpointed = (!checkpointing).then(|| first.clone());
    checkpointed.into_iter().chain(narrower).collect()
}

/// As `same_steps`, with shorter and shorter rows. They change what is learnt, so they are only proposed.
fn shorter_rows(settings: &Settings) -> Vec<Settings> {
    let narrowest = same_steps(settings).pop().unwrap_or_else(|| settings.clone());
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
        words.push(format!("batch {} and accumulate {} (the same steps)", to.batch, to.accumulate));
    }
    if to.seq_len != from.seq_len {
        words.push(format!("seq-len {} (shorter rows, so less context is learnt)", to.seq_len));
    }
    words.join(", ")
}
