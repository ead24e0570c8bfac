//! Root mean square normalisation (Zhang and Sennrich 2019) with a frozen gain.

use super::constants_of;
use crate::device::Tensor;
use crate::plan::{Recorder, Var};

/// Records y = x · w / sqrt(mean(x²) + eps), x [rows, C], w [C].
pub fn rms_norm(rec: &mut Recorder, x: &Var, weight: &Tensor, eps: f32) -> Var {
    let (rows, cols) = (x.data.rows, x.data.cols);
    let y = Var::new(rec.tensor(rows, cols), x.grad.is_some());
    let rstd = rec.tensor(1, rows);
    let constants = vec![("C", cols.into()), ("EPS", eps.into())];
    rec.dispatch("rms_norm_forward", &[], constants, &[("rows", rows)], &[&x.data, weight, &y.data, &rstd]);
    if let Some(dx) = x.grad.clone() {
        let (x, weight) = (x.data.clone(), weight.clone());
        rec.on_backward_of(&y.grad, move |rec, dy| {
            let (dx, accumulate) = rec.write(&dx, rows, cols);
            let constants = constants_of("C", cols, accumulate);
            rec.dispatch("rms_norm_backward", &[], constants, &[("rows", rows)], &[&dy, &x, &weight, &rstd, &dx]);
        });
    }
    y
}
