//! The update of all adapter parameters at once: global norm, clip, AdamW, in three dispatches.

use crate::device::Tensor;
use crate::plan::Recorder;

/// The flat buffers of the trained parameters, and what the update leaves for the host. `result` is {Σ loss, labels,
/// norm before clipping, flags}.
#[derive(Clone)]
pub struct UpdateBuffers {
    pub p: Tensor,
    pub g: Tensor,
    pub m: Tensor,
    pub v: Tensor,
    /// {Σ loss, labels} of the micro-batches since the last update.
    pub totals: Tensor,
    /// {clipping factor, sticky flag}: once a loss or norm is not finite, no further update happens.
    pub state: Tensor,
    pub result: Tensor,
}

/// How many partial sums of squares the norm is computed from.
const PARTIALS: usize = 1024;

/// Records norm, clip and AdamW over the flat buffers, whose lengths are multiples of four. Leaves g and totals zeroed.
pub fn adamw(rec: &mut Recorder, b: &UpdateBuffers) {
    let quads = b.p.cols / 4;
    let partials = rec.tensor(1, PARTIALS);
    let sums = ("PARTIALS", PARTIALS.into());
    let constants = vec![("QUADS", quads.into())];
    let with_sums = [&constants[..], &[sums]].concat();
    rec.dispatch("adamw_norm", &[], with_sums, &[("partials", PARTIALS)], &[&b.g, &partials]);
    rec.dispatch("adamw_clip", &[], vec![sums], &[], &[&partials, &b.totals, &b.state, &b.result]);
    rec.dispatch("adamw", &[], constants, &[("quads", quads)], &[&b.state, &b.p, &b.g, &b.m, &b.v]);
}
