//! Dropout on the input of A, like PEFT's `lora_dropout`. The mask is a hash of (seed, step, micro-batch, site, index),
//! so no buffer holds it.

use super::constants_of;
use crate::device::Tensor;
use crate::plan::{Recorder, Var};

/// Records y = mask · x / (1 - p), x [rows, C], where p is `Step.dropout` and the mask is that of `site`.
pub fn dropout(rec: &mut Recorder, x: &Var, site: &Tensor) -> Var {
    let (rows, cols) = (x.data.rows, x.data.cols);
    let y = Var::new(rec.tensor(rows, cols), x.grad.is_some());
    record(rec, site, &x.data, &y.data, false);
    let (read, of) = (x.keep(), site.clone());
    let y = rec.made_by(y, move |rec, y| {
        let x = read.tensor(rec);
        record(rec, &of, &x, y, false);
    });
    if let Some(dx) = x.grad.clone() {
        let site = site.clone();
        rec.on_backward_of(&y.grad, move |rec, dy| {
            let (dx, accumulate) = rec.write(&dx, rows, cols);
            record(rec, &site, &dy, &dx, accumulate);
        });
    }
    y
}

fn record(rec: &mut Recorder, site: &Tensor, x: &Tensor, y: &Tensor, accumulate: bool) {
    let constants = constants_of("C", x.cols, accumulate);
    rec.dispatch("dropout", &[], constants, &[("quads", x.rows * x.cols / 4)], &[site, x, y]);
}
