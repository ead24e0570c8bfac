//! Root mean square normalisation (Zhang and Sennrich 2019) with a frozen gain.

use crate::device::{Shape, Tensor};
use crate::plan::{Recorder, Var};

/// Records y = x · w / sqrt(mean(x²) + eps), x [rows, C], w [C].
pub fn rms_norm(rec: &mut Recorder, x: &Var, weight: &Tensor, eps: f32) -> Var {
    let (rows, cols) = (x.data.rows, x.data.cols);
    let y = Var::new(rec.tensor(rows, cols), x.grad.is_some());
    let rstd = rec.tensor(1, rows);
    let features = rec.shaped(&[]);
    let constants = vec![("C", cols as u32), ("EPS", eps.to_bits())];
    let groups = groups(rec, rows);
    rec.dispatch("rms_norm_forward", &features, constants, groups, &[&x.data, weight, &y.data, &rstd]);
    if let (Some(dx), Some(dy)) = (x.grad.clone(), y.grad.clone()) {
        let (x, weight) = (x.data.clone(), weight.clone());
        rec.on_backward(move |rec| {
            let Some(dy) = rec.read(&dy) else { return };
            let (dx, accumulate) = rec.write(&dx, rows, cols);
            let mut constants = vec![("C", cols as u32)];
            if accumulate {
                constants.push(("ACCUMULATE", 1));
            }
            rec.dispatch("rms_norm_backward", &features, constants, groups, &[&dy, &x, &weight, &rstd, &dx]);
        });
    }
    y
}

/// A group per row, or a row per invocation.
fn groups(rec: &Recorder, rows: usize) -> [usize; 3] {
    match rec.device.shape {
        Shape::Tiled => [rows, 1, 1],
        Shape::Direct => [rows.div_ceil(8), 1, 1],
    }
}
