//! Root mean square normalisation (Zhang and Sennrich 2019) with a frozen gain.

use super::constants_of;
use crate::device::{Constants, Tensor};
use crate::plan::{Recorder, Var};

/// Records y = x · w / sqrt(mean(x²) + eps), x [rows, N · C], w [C]: each C numbers are normalised alone, which are the
/// heads of a row if N is more than one.
pub fn rms_norm(rec: &mut Recorder, x: &Var, weight: &Tensor, eps: f32) -> Var {
    let (rows, cols, size) = (x.data.rows, x.data.cols, weight.cols);
    let parts = cols / size;
    let extents = [("rows", rows * parts)];
    let with_parts = move |mut constants: Constants| {
        constants.extend((parts > 1).then(|| ("PARTS", parts.into())));
        constants
    };
    let y = Var::new(rec.tensor(rows, cols), x.grad.is_some());
    let rstd = rec.tensor(1, rows * parts);
    let constants = with_parts(vec![("C", size.into()), ("EPS", eps.into())]);
    rec.dispatch("rms_norm_forward", &[], constants, &extents, &[&x.data, weight, &y.data, &rstd]);
    if let Some(dx) = x.grad.clone() {
        let (x, weight) = (x.data.clone(), weight.clone());
        rec.on_backward_of(&y.grad, move |rec, dy| {
            let (dx, accumulate) = rec.write(&dx, rows, cols);
            let constants = with_parts(constants_of("C", size, accumulate));
            rec.dispatch("rms_norm_backward", &[], constants, &extents, &[&dy, &x, &weight, &rstd, &dx]);
        });
    }
    y
}
