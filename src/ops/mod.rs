//! Ops: functions that record a forward dispatch and push the backward one. They know shapes and maths; not what a
//! transformer is.

mod adamw;
mod add;
mod attention;
mod bias;
mod cross_entropy;
mod dropout;
mod embed;
mod project;
mod rms_norm;
mod rope;
mod swiglu;

pub use adamw::{UpdateBuffers, update};
pub use add::add;
pub use attention::{Cache, Heads, attention};
pub use bias::bias;
pub use cross_entropy::{Chunks, cross_entropy, gather_rows};
pub use dropout::dropout;
pub use embed::embed;
pub use project::{Matrix, Param, Slab, Weight, project, project_into};
pub use rms_norm::rms_norm;
pub use rope::{RopeTables, rope};
pub use swiglu::swiglu;

/// Work groups of 64 that cover `n` invocations, one per group of four numbers.
fn groups_of_64(quads: usize) -> [usize; 3] {
    [quads.div_ceil(64), 1, 1]
}
