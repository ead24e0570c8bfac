//! Rotary position embedding (Su et al. 2021) with half-rotation pairs (i, i + D/2), as transformers' Llama does it.

use std::rc::Rc;

use super::attention::Heads;
use crate::device::{Device, Tensor};
use crate::error::Result;
use crate::plan::{Recorder, Var};

/// cos and sin of position · frequency, [context, D/2] each. They are computed on the host, because shaders guarantee
/// no accuracy for large angles.
#[derive(Clone)]
pub struct RopeTables {
    pub cosine: Tensor,
    pub sine: Tensor,
}

impl RopeTables {
    /// Tables for these frequencies, one for each pair of a head's numbers, with every number multiplied by
    /// `amplitude`. Angles are rounded to f32 where transformers rounds them. Each table is stored as one dense row.
    pub fn new(device: &Rc<Device>, context: usize, frequencies: &[f32], amplitude: f32) -> Result<RopeTables> {
        let half = frequencies.len();
        if device.is_dry() {
            let table = |label| Tensor::owned(device, label, 1, context * half);
            return Ok(RopeTables { cosine: table("rope cosine")?, sine: table("rope sine")? });
        }
        let angles = (0..context).flat_map(|t| frequencies.iter().map(move |f| f64::from(t as f32 * f)));
        let number = |x: f64| x as f32 * amplitude;
        let (cosine, sine): (Vec<f32>, Vec<f32>) = angles.map(|a| (number(a.cos()), number(a.sin()))).unzip();
        let table = |label, values: &[f32]| {
            let tensor = Tensor::owned(device, label, 1, context * half)?;
            tensor.upload(device, values);
            Ok(tensor)
        };
        Ok(RopeTables { cosine: table("rope cosine", &cosine)?, sine: table("rope sine", &sine)? })
    }
}

/// Rotates queries [rows, H, D] and keys [rows, KV, D] in place. Nothing else reads the values from before the
/// rotation, so their gradients are rotated back in place too.
pub fn rope(rec: &mut Recorder, mut q: Var, mut k: Var, heads: Heads, tables: &RopeTables) -> (Var, Var) {
    record(rec, &q.data, &k.data, heads, tables, false);
    (q.again, k.again) = (None, None);
    if q.grad.is_some() || k.grad.is_some() {
        // Attention writes both gradients and one dispatch rotates both. If only one is wanted, the other is scratch.
        let dq = q.grad.get_or_insert_default().clone();
        let dk = k.grad.get_or_insert_default().clone();
        let tables = tables.clone();
        rec.on_backward(move |rec| match (rec.read(&dq), rec.read(&dk)) {
            (Some(dq), Some(dk)) => record(rec, &dq, &dk, heads, &tables, true),
            (None, None) => {}
            _ => panic!("attention wrote the gradient of its queries or of its keys, not both"),
        });
    }
    (q, k)
}

fn record(rec: &mut Recorder, q: &Tensor, k: &Tensor, heads: Heads, tables: &RopeTables, inverse: bool) {
    let mut constants = heads.constants();
    if inverse {
        constants.push(("INVERSE", true.into()));
    }
    let pairs = q.rows * (heads.query + heads.key) * heads.size / 2;
    let starts = rec.input.starts.clone();
    rec.dispatch("rope", &[], constants, &[("pairs", pairs)], &[&tables.cosine, &tables.sine, &starts, q, k]);
}
