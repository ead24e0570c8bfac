//! Packs the labelled rows together, as input for the head.

use crate::plan::{Recorder, Var};

/// Records y [labelled, C] = x[rows]; in the backward pass every original row gets its gradient, or zero.
pub fn gather_rows(rec: &mut Recorder, x: &Var) -> Var {
    let (rows, cols) = (x.data.rows, x.data.cols);
    let extents = [("quads", rows * cols / 4)];
    let y = Var::new(rec.tensor(rows, cols), x.grad.is_some());
    let list = rec.input.rows.clone();
    rec.dispatch("gather_rows_forward", &[], vec![("C", cols.into())], &extents, &[&x.data, &list, &y.data]);
    if let Some(dx) = x.grad.clone() {
        rec.on_backward_of(&y.grad, move |rec, dy| {
            let slots = rec.input.slot_of_row.clone();
            let (dx, accumulate) = rec.write(&dx, rows, cols);
            assert!(!accumulate, "the head is the only reader of the last hidden state");
            rec.dispatch("gather_rows_backward", &[], vec![("C", cols.into())], &extents, &[&dy, &slots, &dx]);
        });
    }
    y
}
