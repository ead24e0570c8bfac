//! The gated activation of Llama's feed-forward part (Shazeer 2020, SwiGLU).

use super::groups_of_64;
use crate::plan::{Recorder, Var};

/// Records h = silu(gate) · up, all [rows, F].
pub fn swiglu(rec: &mut Recorder, gate: &Var, up: &Var) -> Var {
    let (rows, cols) = (gate.data.rows, gate.data.cols);
    let groups = groups_of_64(rows * cols / 4);
    let h = Var::new(rec.tensor(rows, cols), gate.grad.is_some() || up.grad.is_some());
    rec.dispatch("swiglu_forward", &[], vec![("F", cols as u32)], groups, &[&gate.data, &up.data, &h.data]);
    if let Some(dh) = h.grad.clone() {
        let (gate, up) = (gate.clone(), up.clone());
        rec.on_backward(move |rec| {
            let Some(dh) = rec.read(&dh) else { return };
            let (dgate, _) = rec.write(&gate.grad.unwrap_or_default(), rows, cols);
            let (dup, _) = rec.write(&up.grad.unwrap_or_default(), rows, cols);
            rec.dispatch(
                "swiglu_backward",
                &[],
                vec![("F", cols as u32)],
                groups,
                &[&dh, &gate.data, &up.data, &dgate, &dup],
            );
        });
    }
    h
}
