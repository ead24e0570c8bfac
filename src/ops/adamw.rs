//! The update of all trained parameters at once: global norm, clip, AdamW, in three dispatches, or more where the flat
//! buffers have several segments.

use crate::device::{Segments, Tensor};
use crate::plan::Recorder;

/// The flat buffers of the trained parameters, and what the update leaves for the host. `result` is {Σ loss, labels,
/// norm before clipping, flags}.
#[derive(Clone)]
pub struct UpdateBuffers {
    pub p: Segments,
    pub g: Segments,
    pub m: Segments,
    pub v: Segments,
    /// {Σ loss, labels} of the micro-batches since the last update.
    pub totals: Tensor,
    /// {clipping factor, sticky flag}: once a loss or norm is not finite, no further update happens.
    pub state: Tensor,
    pub result: Tensor,
}

/// How many partial sums of squares the norm of a segment is computed from.
const PARTIALS: usize = 1024;

/// Records norm, clip and AdamW over the flat buffers, whose lengths are multiples of four. Leaves g and totals zeroed.
pub fn adamw(rec: &mut Recorder, b: &UpdateBuffers) {
    let UpdateBuffers { p, g, m, v, totals, state, result } = b;
    let partials = rec.tensor(g.0.len(), PARTIALS);
    let quads = |segment: &Tensor| segment.cols / 4;
    for (i, g) in g.0.iter().enumerate() {
        let constants = vec![("QUADS", quads(g).into()), ("PARTIALS", PARTIALS.into())];
        rec.dispatch("adamw_norm", &[], constants, &[("partials", PARTIALS)], &[g, &partials.slice(i, 1)]);
    }
    let sums = vec![("PARTIALS", (g.0.len() * PARTIALS).into())];
    rec.dispatch("adamw_clip", &[], sums, &[], &[&partials, totals, state, result]);
    for (((p, g), m), v) in p.0.iter().zip(&g.0).zip(&m.0).zip(&v.0) {
        rec.dispatch("adamw", &[], vec![("QUADS", quads(p).into())], &[("quads", quads(p))], &[state, p, g, m, v]);
    }
}
