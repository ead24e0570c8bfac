//! The training loop: steps, evaluations, samples, the best adapter, stopping. The command line and the worker only
//! forward its events.
//!
//! [`train`] is the loop. It is made of parts with one job each: `pace` (what is in flight, and how fast), `keeper`
//! (the best adapter and the check of its export), `saver` (run states), `samples`, [`Losses`], [`Team`] (the engines
//! that share the micro-batches).

pub mod assistant;
pub mod base;
pub mod control;
pub mod cost;
pub mod evaluate;
pub mod event;
pub mod exercise;
mod gguf_writer;
pub mod hooks;
mod keeper;
mod ladder;
pub mod learner;
pub mod limits;
pub mod losses;
pub mod memory;
mod merged;
pub mod model_files;
#[cfg(not(target_arch = "wasm32"))]
mod open;
mod pace;
pub mod probe;
mod profile;
mod safetensors_writer;
mod samples;
mod saver;
pub mod settings;
mod snapshots;
pub mod start;
pub mod state;
mod storing;
pub mod team;
mod training;
mod tuning;
mod whole_file;

pub use assistant::Assistant;
pub use base::{Base, BaseFiles};
pub use control::{Clock, Control, Wish};
pub use cost::Cost;
pub use evaluate::{Measured, evaluate, evaluator};
pub use event::{DoneReason, Event, Phase};
pub use exercise::Exercise;
pub use hooks::Hooks;
pub use keeper::Kept;
pub use ladder::{Fitted, Room};
pub use learner::{Files, Method};
pub use limits::{Limit, Limits};
pub use losses::Losses;
pub use memory::{Memory, Unloaded};
pub use merged::{MergeOptions, Merged, files_of};
pub use model_files::{ModelFiles, config_in};
#[cfg(not(target_arch = "wasm32"))]
pub use open::ModelFolder;
pub use probe::probe;
pub use profile::{Report, profile};
pub use saver::{SAVE_EVERY_MS, SaveHook, SaveWhen};
pub use settings::{HOLDOUT, MOST_HELD_OUT, MOST_ROWS, Settings};
pub use start::Start;
pub use state::RunState;
pub use storing::{Foreseen, Storing};
pub use team::{Answer, Helper, Task, Team};
pub use training::{Outcome, train};
