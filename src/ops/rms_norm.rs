//! Root mean square normalisation (Zhang and Sennrich 2019) with a frozen gain.

use super::constants_of;
use crate::device::{Constants, Tensor};
use crate::plan::{Recorder, Var};

/// The parameters of a norm.
#[derive(Clone, Copy)]
pub struct RmsNorm<'a> {
    /// [C].
    pub weight: &'a Tensor,
    /// What is added to the weight: the kernel adds it, so that a checkpoint gets its own numbers back.
    pub plus: f32,
    pub eps: f32,
}

/// Records y = x · (w + plus) / sqrt(mean(x²) + eps), x [rows, N · C], w [C]: each C numbers are normalised alone;
/// they are the heads of a row if N is more than one.
pub fn rms_norm(rec: &mut Recorder, x: &Var, RmsNorm { weight, plus, eps }: RmsNorm<'_>) -> Var {
    let (rows, cols, size) = (x.data.rows, x.data.cols, weight.cols);
    let parts = cols / size;
    let extents = [("rows", rows * parts)];
    let with_defaults = move |mut constants: Constants| {
        constants.extend((parts > 1).then(|| ("PARTS", parts.into())));
        constants.extend((plus != 0.0).then(|| ("PLUS", plus.into())));
        constants
    };
    let y = Var::new(rec.tensor(rows, cols), x.grad.is_some());
    let rstd = rec.tensor(1, rows * parts);
    let constants = with_defaults(vec![("C", size.into()), ("EPS", eps.into())]);
    let (dx, x, weight) = (x.grad.clone(), x.data.clone(), weight.clone());
    let read = [&x, &weight, &rstd].map(Tensor::clone);
    let y = rec.cheap(y, move |rec, y| {
        let [x, weight, rstd] = &read;
        rec.dispatch("rms_norm_forward", &[], constants.clone(), &extents, &[x, weight, y, rstd]);
    });
    if let Some(dx) = dx {
        rec.on_backward_of(&y.grad, move |rec, dy| {
            let (dx, accumulate) = rec.write(&dx, rows, cols);
            let constants = with_defaults(constants_of("C", size, accumulate));
            rec.dispatch("rms_norm_backward", &[], constants, &extents, &[&dy, &x, &weight, &rstd, &dx]);
        });
    }
    y
}
