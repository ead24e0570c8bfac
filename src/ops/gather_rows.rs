//! Packs the labelled rows together. Whoever computes only them is recorded by `Recorder::of_labelled`.

use crate::plan::{Recorder, Var};

/// Records y [labelled, C] = x[rows], with room for `most` rows; in the backward pass every original row gets its
/// gradient, or zero.
pub fn gather_rows(rec: &mut Recorder, x: &Var, most: usize) -> Var {
    let (rows, cols) = (x.data.rows, x.data.cols);
    let quads = move |rows: usize| [("quads", rows * cols / 4)];
    let y = Var::new(rec.tensor(most, cols), x.grad.is_some());
    let list = rec.input.rows.clone();
    rec.dispatch("gather_rows_forward", &[], vec![("C", cols.into())], &quads(most), &[&x.data, &list, &y.data]);
    if let Some(dx) = x.grad.clone() {
        rec.on_backward_of(&y.grad, move |rec, dy| {
            let slots = rec.input.slot_of_row.clone();
            let (dx, accumulate) = rec.write(&dx, rows, cols);
            assert!(!accumulate, "the labelled rows of a value are all that is read of it");
            rec.dispatch("gather_rows_backward", &[], vec![("C", cols.into())], &quads(rows), &[&dy, &slots, &dx]);
        });
    }
    y
}
