//! Ops: functions that record a forward dispatch and push the backward one. This room knows shapes and maths, but not
//! what a transformer is.

mod adamw;
mod add;
mod attention;
mod bias;
mod cross_entropy;
mod dropout;
mod embed;
mod gather_rows;
mod gelu;
mod layer_norm;
mod learned_positions;
mod low_rank;
mod matmul;
mod probes;
mod project;
mod rms_norm;
mod rope;
mod split;
mod swiglu;
mod weight;

pub use adamw::{UpdateBuffers, adamw};
pub use add::add;
pub use attention::{Attention, Cache, Heads, attention};
pub use bias::bias;
pub use cross_entropy::{ChunkSize, Chunks, cross_entropy};
pub use dropout::dropout;
pub use embed::embed;
pub use gather_rows::gather_rows;
pub use gelu::{geglu, gelu};
pub use layer_norm::layer_norm;
pub use learned_positions::learned_positions;
pub use low_rank::{LowRank, low_rank, low_rank_onto};
pub use probes::{MostFlops, most_bytes, most_flops};
pub use project::{project, project_into};
pub use rms_norm::{RmsNorm, rms_norm};
pub use rope::{RopeTables, rope};
pub use split::split;
pub use swiglu::swiglu;
pub use weight::{Matrix, Param, Slab, Weight};

use crate::device::{Constants, Tensor};
use crate::plan::{Grad, Recorder};

/// The constants of an element-wise kernel: the number of columns, and whether it adds to what is already there.
fn constants_of(columns: &'static str, cols: usize, accumulate: bool) -> Constants {
    let mut constants = vec![(columns, cols.into())];
    if accumulate {
        constants.push(("ACCUMULATE", true.into()));
    }
    constants
}

/// Where a kernel assigns the gradient of a value that has one reader: the gradient, or scratch memory if there is
/// none.
fn first_write(rec: &mut Recorder, grad: &Option<Grad>, rows: usize, cols: usize) -> Tensor {
    let Some(grad) = grad else { return rec.tensor(rows, cols) };
    let (tensor, accumulate) = rec.write(grad, rows, cols);
    assert!(!accumulate, "a value of {rows} x {cols} has a second reader, whose gradient would be overwritten");
    tensor
}
