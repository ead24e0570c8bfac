//! Residual addition.

use crate::device::Tensor;
use crate::plan::{Grad, Recorder, Var};

/// Records z = x + y, both [rows, C]. Backward passes dz to both without a dispatch: they share it until something is
/// added to one of them.
pub fn add(rec: &mut Recorder, x: &Var, y: &Var) -> Var {
    let z = Var::new(rec.tensor(x.data.rows, x.data.cols), rec.trains() && (x.grad.is_some() || y.grad.is_some()));
    record(rec, &x.data, &y.data, &z.data);
    let (dx, dy) = (x.grad.clone(), y.grad.clone());
    rec.on_backward_of(&z.grad, move |rec, dz| {
        for grad in [dx, dy].into_iter().flatten() {
            pass_on(rec, &dz, &grad);
        }
    });
    z
}

/// Sets the gradient to `dz`, or adds `dz` to what is already there.
pub(super) fn pass_on(rec: &mut Recorder, dz: &Tensor, grad: &Grad) {
    let before = grad.borrow_mut().take();
    let after = match before {
        None => dz.clone(),
        Some(before) => {
            let sum = rec.tensor(dz.rows, dz.cols);
            record(rec, &before, dz, &sum);
            sum
        }
    };
    *grad.borrow_mut() = Some(after);
}

fn record(rec: &mut Recorder, a: &Tensor, b: &Tensor, y: &Tensor) {
    rec.dispatch("add", &[], vec![("C", y.cols.into())], &[("quads", y.rows * y.cols / 4)], &[a, b, y]);
}
