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

/// Work groups that one dimension holds on every adapter.
const MOST_GROUPS: usize = 65_535;

/// Records norm, clip and AdamW over the flat buffers, which have a multiple of four numbers. Leaves g and totals
/// zeroed.
pub fn update(rec: &mut Recorder, b: &UpdateBuffers) {
    let quads = b.p.cols / 4;
    let constants = vec![("QUADS", quads as u32)];
    let groups = quads.div_ceil(64);
    let across = groups.min(MOST_GROUPS);
    let groups = [across, groups.div_ceil(across.max(1)), 1];
    let partial = rec.tensor(1, 1024);
    let features = rec.shaped(&[]);
    rec.dispatch("adamw_norm", &[], constants.clone(), [16, 1, 1], &[&b.g, &partial]);
    rec.dispatch("adamw_clip", &features, Vec::new(), [1, 1, 1], &[&partial, &b.totals, &b.state, &b.result]);
    rec.dispatch("adamw", &[], constants, groups, &[&b.state, &b.p, &b.g, &b.m, &b.v]);
}
