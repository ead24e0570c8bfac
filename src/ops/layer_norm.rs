//! Layer normalisation (Ba et al. 2016) with a frozen gain and bias.

use super::constants_of;
use crate::device::Tensor;
use crate::plan::{Recorder, Var};

/// Records y = (x - mean(x)) / sqrt(variance(x) + eps) · w + b, x [rows, C], w and b [C].
pub fn layer_norm(rec: &mut Recorder, x: &Var, weight: &Tensor, bias: &Tensor, eps: f32) -> Var {
    let (rows, cols) = (x.data.rows, x.data.cols);
    let y = Var::new(rec.tensor(rows, cols), x.grad.is_some());
    let stats = rec.tensor(1, 2 * rows);
    let constants = vec![("C", cols.into()), ("EPS", eps.into())];
    let (dx, x, weight) = (x.grad.clone(), x.data.clone(), weight.clone());
    let read = [&x, &weight, bias, &stats].map(Tensor::clone);
    let y = rec.cheap(y, move |rec, y| {
        let [x, weight, bias, stats] = &read;
        rec.dispatch("layer_norm_forward", &[], constants.clone(), &[("rows", rows)], &[x, weight, bias, y, stats]);
    });
    if let Some(dx) = dx {
        rec.on_backward_of(&y.grad, move |rec, dy| {
            let (dx, accumulate) = rec.write(&dx, rows, cols);
            let constants = constants_of("C", cols, accumulate);
            rec.dispatch("layer_norm_backward", &[], constants, &[("rows", rows)], &[&dy, &x, &weight, &stats, &dx]);
        });
    }
    y
}
