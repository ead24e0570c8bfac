//! A plan: an immutable list of dispatches, recorded once and replayed. This room knows order and memory, but not what
//! an op computes.

mod autotune;
pub mod cost;
pub mod input;
mod kept;
#[allow(clippy::module_inception)]
mod plan;
mod profile;
pub mod recorder;
mod timer;

pub use autotune::autotune;
pub use cost::Cost;
pub use input::{Input, Lists};
pub use kept::Kept;
pub use plan::{Dispatch, Operand, Plan, Progress};
pub use profile::{KernelTime, Profile, Row, Timed};
pub use recorder::{Grad, Recorder, Var};
pub use timer::Timer;

pub use crate::device::Step;
