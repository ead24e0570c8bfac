//! The gated activation of Llama's feed-forward part (Shazeer 2020, SwiGLU).

use super::first_write;
use crate::plan::{Recorder, Var};

/// Records h = silu(gate) · up, all [rows, F].
pub fn swiglu(rec: &mut Recorder, gate: &Var, up: &Var) -> Var {
    let (rows, cols) = (gate.data.rows, gate.data.cols);
    let extents = [("quads", rows * cols / 4)];
    let h = Var::new(rec.tensor(rows, cols), gate.grad.is_some() || up.grad.is_some());
    let read = [gate, up].map(|x| x.data.clone());
    let h = rec.cheap(h, move |rec, h| {
        let [gate, up] = &read;
        rec.dispatch("swiglu_forward", &[], vec![("F", cols.into())], &extents, &[gate, up, h]);
    });
    let (gate, up) = (gate.clone(), up.clone());
    rec.on_backward_of(&h.grad, move |rec, dh| {
        // One dispatch writes both gradients. If only one is wanted, the other is scratch.
        let dgate = first_write(rec, &gate.grad, rows, cols);
        let dup = first_write(rec, &up.grad, rows, cols);
        let operands = [&dh, &gate.data, &up.data, &dgate, &dup];
        rec.dispatch("swiglu_backward", &[], vec![("F", cols.into())], &extents, &operands);
    });
    h
}
