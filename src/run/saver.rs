//! When run states are saved, and where they go.

use super::losses::Losses;
use super::state::RunState;

/// The default interval between run states.
pub const SAVE_EVERY_MS: f64 = 30_000.0;
/// What lies at least between two states that are saved because a tenth of the run is done: a second, and twenty times
/// what saving the last one took, so that saving takes hardly any of the time, however short the run is.
const LEAST_MS: f64 = 1_000.0;
const LEAST_COSTS: f64 = 20.0;

/// When run states are saved, besides at a pause, at a stop and when somebody asks for one.
#[derive(Debug, Clone, Copy)]
pub enum SaveWhen {
    /// When so many milliseconds have passed since the last one.
    EveryMs(f64),
    /// At the first evaluation after a step, and then every half minute or tenth of the run, whichever is sooner: for a
    /// run that may be cut short without a warning.
    Often,
}

pub struct SaveHook<'a> {
    pub when: SaveWhen,
    /// Receives the bytes of a [`RunState`].
    pub save: &'a mut dyn FnMut(Vec<u8>),
}

pub(super) struct Saver<'a> {
    hook: Option<SaveHook<'a>>,
    last_at: f64,
    last_cost_ms: f64,
    /// The step of the last state, or of the one that the run continues from.
    pub last_step: u32,
    /// The progress that the last state holds, so that nothing is saved twice.
    saved: Option<(u32, Losses)>,
}

impl<'a> Saver<'a> {
    pub fn new(hook: Option<SaveHook<'a>>, now: f64) -> Saver<'a> {
        Saver { hook, last_at: now, last_cost_ms: 0.0, last_step: 0, saved: None }
    }

    /// Whether it is time for a state after `step` of `steps`.
    pub fn is_due(&self, now: f64, step: u32, steps: u32, losses: Losses) -> bool {
        let since = now - self.last_at;
        match self.hook.as_ref().map(|hook| hook.when) {
            None => false,
            Some(SaveWhen::EveryMs(ms)) => since >= ms,
            // The run is over, and what it leaves is its adapter.
            Some(SaveWhen::Often) if step == steps => false,
            Some(SaveWhen::Often) => {
                let is_first = self.last_step == 0 && losses.last_step > 0;
                let is_tenth = step - self.last_step >= steps.div_ceil(10);
                let is_cheap = since >= LEAST_MS.max(LEAST_COSTS * self.last_cost_ms);
                is_first || is_tenth && is_cheap || since >= SAVE_EVERY_MS
            }
        }
    }

    /// Whether states are wanted and the one at this step has not been saved.
    pub fn wants(&self, step: u32, losses: Losses) -> bool {
        self.hook.is_some() && step > 0 && self.saved != Some((step, losses))
    }

    /// Saves a state whose making began at `begun`.
    pub fn save(&mut self, state: &RunState, begun: f64, clock: &dyn Fn() -> f64) {
        self.saved = Some((state.step, state.losses));
        self.last_step = state.step;
        if let Some(hook) = &mut self.hook {
            (hook.save)(state.to_bytes());
        }
        self.last_at = clock();
        self.last_cost_ms = self.last_at - begun;
    }
}
