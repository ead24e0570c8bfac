//! Learned positions. The table is frozen and nothing lies below it, so there is no backward pass.

use crate::device::Tensor;
use crate::plan::{Recorder, Var};

/// Records y += table[position of the row] in place for y [rows, C], which `embed` has just written, and the table
/// [context, C].
pub fn learned_positions(rec: &mut Recorder, y: Var, table: &Tensor) -> Var {
    let (rows, cols) = (y.data.rows, y.data.cols);
    let (starts, extents) = (rec.input.starts.clone(), [("quads", rows * cols / 4)]);
    rec.dispatch("learned_positions", &[], vec![("C", cols.into())], &extents, &[table, &starts, &y.data]);
    y
}
