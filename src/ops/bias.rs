//! The bias of a linear. It is frozen, so the gradient passes through untouched and there is no backward dispatch.

use crate::device::Tensor;
use crate::plan::{Recorder, Var};

/// Records y += b in place for y [rows, C] and b [C]. `project` has just written y and nothing has read it yet.
pub fn bias(rec: &mut Recorder, y: Var, b: &Tensor) -> Var {
    let (rows, cols) = (y.data.rows, y.data.cols);
    rec.dispatch("bias", &[], vec![("C", cols.into())], &[("quads", rows * cols / 4)], &[b, &y.data]);
    y
}
