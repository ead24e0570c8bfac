//! The update of all adapter parameters at once: global norm, clip, AdamW, in three dispatches.

use crate::device::Tensor;
use crate::plan::Recorder;

/// Flat buffers of the trained parameters and what the update leaves for the host. `result` is {Σ loss, labels, norm
/// before clipping, flags}.
#[derive(Clone)]
pub struct UpdateBuffers {
    pub p: Tensor,
    pub g: Tensor,
    pub m: Tensor,
    pub v: Tensor,
    /// {Σ loss, labels} of the micro-batches since the last update.
    pub totals: Tensor,
    /// {factor of the clip, sticky flag}: once a loss or norm was not finite, no update happens any more.
    pub state: Tensor,
    pub result: Tensor,
}

/// Sums of squares that the norm is taken from.
const PARTIALS: usize = 1024;

/// Records norm, clip and AdamW over the flat buffers, which have a multiple of four numbers. Leaves g and totals
/// zeroed.
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
