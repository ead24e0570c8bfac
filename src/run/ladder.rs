//! What to change about a run that needs more memory than there is.

use super::memory::Unloaded;
use super::settings::{MOST_ROWS, Settings};
use crate::error::{Error, Result};

/// Shorter rows are not proposed.
const SHORTEST_ROWS: usize = 16;

impl Unloaded {
    /// Errors: `MemoryLimit`, with the first settings that would fit, for a run that needs more than `limit` bytes.
    pub async fn check(&self, settings: &Settings, limit: u64) -> Result<()> {
        let memory = self.memory(settings).await?;
        let needed = memory.total();
        if needed <= limit {
            return Ok(());
        }
        let mut advice = format!("{} of them for its weights", memory.weights);
        for smaller in rungs(settings) {
            // What the device refuses does not fit either.
            let Ok(memory) = self.memory(&smaller).await else { continue };
            let (changes, needed) = (changes(settings, &smaller), memory.total());
            if needed <= limit {
                advice = format!("with {changes} it needs {needed}");
                break;
            }
            advice = format!("even with {changes} it needs {needed}, {} of them for the weights", memory.weights);
        }
        Err(Error::MemoryLimit { needed, limit, advice })
    }
}

/// The settings of smaller runs in the order in which to try them. Checkpointing changes no number, and smaller
/// micro-batches make the same steps; shorter rows come last, because they change what is learnt.
fn rungs(settings: &Settings) -> Vec<Settings> {
    let Settings { batch, accumulate, seq_len, .. } = *settings;
    let first = Settings { checkpointing: true, ..settings.clone() };
    let parts = (2..=batch).filter(|parts| batch.is_multiple_of(*parts) && accumulate * parts <= MOST_ROWS);
    let narrower =
        parts.map(|parts| Settings { batch: batch / parts, accumulate: accumulate * parts, ..first.clone() });
    let mut rungs: Vec<Settings> = [first.clone()].into_iter().chain(narrower).collect();
    let narrowest = rungs.last().unwrap_or(&first).clone();
    let lengths = std::iter::successors(Some(seq_len / 2), |length| Some(length / 2));
    let lengths = lengths.take_while(|length| *length >= SHORTEST_ROWS);
    rungs.extend(lengths.map(|seq_len| Settings { seq_len, ..narrowest.clone() }));
    rungs
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
