//! The tanh approximation of GELU (Hendrycks and Gimpel 2016), alone and as a gate (Shazeer 2020, GEGLU).

use super::first_write;
use crate::plan::{Recorder, Var};

/// Records h = gelu(x), both [rows, F].
pub fn gelu(rec: &mut Recorder, x: &Var) -> Var {
    let (rows, cols) = (x.data.rows, x.data.cols);
    let extents = [("quads", rows * cols / 4)];
    let h = Var::new(rec.tensor(rows, cols), x.grad.is_some());
    let read = x.data.clone();
    let h = rec.cheap(h, move |rec, h| {
        rec.dispatch("gelu_forward", &[], vec![("F", cols.into())], &extents, &[&read, h]);
    });
    let x = x.clone();
    rec.on_backward_of(&h.grad, move |rec, dh| {
        let dx = first_write(rec, &x.grad, rows, cols);
        rec.dispatch("gelu_backward", &[], vec![("F", cols.into())], &extents, &[&dh, &x.data, &dx]);
    });
    h
}

/// Records h = gelu(gate) · up, all [rows, F].
pub fn geglu(rec: &mut Recorder, gate: &Var, up: &Var) -> Var {
    let (rows, cols) = (gate.data.rows, gate.data.cols);
    let extents = [("quads", rows * cols / 4)];
    let h = Var::new(rec.tensor(rows, cols), gate.grad.is_some() || up.grad.is_some());
    let read = [gate, up].map(|x| x.data.clone());
    let h = rec.cheap(h, move |rec, h| {
        let [gate, up] = &read;
        rec.dispatch("gelu_forward", &["gated"], vec![("F", cols.into())], &extents, &[gate, up, h]);
    });
    let (gate, up) = (gate.clone(), up.clone());
    rec.on_backward_of(&h.grad, move |rec, dh| {
        // One dispatch writes both gradients. If only one is wanted, the other is scratch.
        let dgate = first_write(rec, &gate.grad, rows, cols);
        let dup = first_write(rec, &up.grad, rows, cols);
        let operands = [&dh, &gate.data, &up.data, &dgate, &dup];
        rec.dispatch("gelu_backward", &["gated"], vec![("F", cols.into())], &extents, &operands);
    });
    h
}
