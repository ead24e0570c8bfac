//! Dropout of what enters A, as PEFT's `lora_dropout`. The mask is a hash of (seed, step, micro-batch, site, index): no
//! buffer holds it.

use super::groups_of_64;
use crate::device::Tensor;
use crate::plan::{Recorder, Var};

/// Records y = mask · x / (1 - p), x [rows, C], with p in `Step.dropout` and the mask of `site`.
pub fn dropout(rec: &mut Recorder, x: &Var, site: &Tensor) -> Var {
    let (rows, cols) = (x.data.rows, x.data.cols);
    let y = Var::new(rec.tensor(rows, cols), x.grad.is_some());
    let groups = groups_of_64(rows * cols / 4);
    rec.dispatch("dropout", &[], vec![("C", cols as u32)], groups, &[site, &x.data, &y.data]);
    if let (Some(dx), Some(dy)) = (x.grad.clone(), y.grad.clone()) {
        let site = site.clone();
        rec.on_backward(move |rec| {
            let Some(dy) = rec.read(&dy) else { return };
            let (dx, accumulate) = rec.write(&dx, rows, cols);
            let mut constants = vec![("C", cols as u32)];
            if accumulate {
                constants.push(("ACCUMULATE", 1));
            }
            rec.dispatch("dropout", &[], constants, groups, &[&site, &dy, &dx]);
        });
    }
    y
}
