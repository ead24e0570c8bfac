//! The parts of what a fused linear returns: q, k and v, or gate and up.

use super::first_write;
use crate::device::{Constants, Tensor};
use crate::plan::{Grad, Recorder, Var};

/// Records one tensor [rows, width] for each of the widths, which are the columns of x from left to right. Nothing else
/// reads x.
pub fn split<const N: usize>(rec: &mut Recorder, x: Var, widths: [usize; N]) -> [Var; N] {
    let (rows, cols) = (x.data.rows, x.data.cols);
    assert_eq!(widths.iter().sum::<usize>(), cols, "the widths of all parts");
    let mut first = 0;
    let parts = widths.map(|width| {
        let part = Var::new(rec.tensor(rows, width), x.grad.is_some());
        columns(rec, (&x.data, first), (&part.data, 0), width);
        first += width;
        part
    });
    let grads: Vec<Grad> = parts.iter().filter_map(|part| part.grad.clone()).collect();
    if x.grad.is_some() {
        rec.on_backward(move |rec| {
            let written: Vec<Tensor> = grads.iter().filter_map(|grad| rec.read(grad)).collect();
            drop(grads);
            if written.is_empty() {
                return;
            }
            assert_eq!(written.len(), N, "later ops wrote the gradients of some parts and not of all");
            let dx = first_write(rec, &x.grad, rows, cols);
            let mut first = 0;
            for part in written {
                columns(rec, (&part, 0), (&dx, first), part.cols);
                first += part.cols;
            }
        });
    }
    parts
}

/// Copies `count` columns, from the given first ones on.
fn columns(rec: &mut Recorder, (x, x_first): (&Tensor, usize), (y, y_first): (&Tensor, usize), count: usize) {
    let mut constants: Constants =
        vec![("C", count.into()), ("X_COLUMNS", x.cols.into()), ("Y_COLUMNS", y.cols.into())];
    let firsts = [("X_FIRST", x_first), ("Y_FIRST", y_first)].into_iter().filter(|(_, first)| *first > 0);
    constants.extend(firsts.map(|(name, first)| (name, first.into())));
    rec.dispatch("split", &[], constants, &[("quads", x.rows * count / 4)], &[x, y]);
}
