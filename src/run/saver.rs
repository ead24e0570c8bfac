//! When run states are saved, and where they go.

use super::losses::Losses;
use super::state::RunState;

/// The default interval between run states.
pub const SAVE_EVERY_MS: f64 = 30_000.0;

pub struct SaveHook<'a> {
    pub every_ms: f64,
    /// Receives the bytes of a [`RunState`].
    pub save: &'a mut dyn FnMut(Vec<u8>),
}

pub(super) struct Saver<'a> {
    hook: Option<SaveHook<'a>>,
    last_at: f64,
    /// The progress that the last state holds, so that nothing is saved twice.
    saved: Option<(u32, Losses)>,
}

impl<'a> Saver<'a> {
    pub fn new(hook: Option<SaveHook<'a>>, now: f64) -> Saver<'a> {
        Saver { hook, last_at: now, saved: None }
    }

    pub fn is_due(&self, now: f64) -> bool {
        self.hook.as_ref().is_some_and(|hook| now - self.last_at >= hook.every_ms)
    }

    /// Whether states are wanted and the one at this step has not been saved.
    pub fn wants(&self, step: u32, losses: Losses) -> bool {
        self.hook.is_some() && step > 0 && self.saved != Some((step, losses))
    }

    pub fn save(&mut self, state: &RunState, clock: &dyn Fn() -> f64) {
        self.saved = Some((state.step, state.losses));
        if let Some(hook) = &mut self.hook {
            (hook.save)(state.to_bytes());
        }
        self.last_at = clock();
    }
}
