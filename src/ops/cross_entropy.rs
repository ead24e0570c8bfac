//! Cross-entropy through the output head, for the labelled rows only, in chunks of rows by slabs of the vocabulary, so
//! that [rows, V] never exists as a whole.

use std::rc::Rc;

use super::first_write;
use super::matmul::{Form, Logits, Product};
use super::weight::{Slab, Weight};
use crate::device::{Constants, Device, Shape, Tensor, Usage};
use crate::error::Result;
use crate::plan::{Recorder, Var};

/// How the labelled rows are cut into chunks: `{first, rows}` of each chunk, 256 bytes apart.
pub struct Chunks {
    uniforms: Vec<Tensor>,
    rows: usize,
}

/// How much memory the logits of a chunk may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkSize {
    /// At most 2^22 logits.
    Small,
    /// On a card at most 2^25 logits: longer products keep it busier, and W is read less often.
    Large,
}

impl Chunks {
    /// Chunks of at least 16 rows, of at most 256 or, if they are large ones, 1024; at least two chunks if there are
    /// more than 16 rows.
    pub fn new(device: &Rc<Device>, rows: usize, vocabulary: usize, size: ChunkSize) -> Result<Chunks> {
        let (logits, most, step) = match (size, device.shape) {
            (ChunkSize::Large, Shape::Tiled) => (1 << 25, 1024, 64),
            _ => (1 << 22, 256, 16),
        };
        let bound = (device.max_activation / 4).min(logits) as usize;
        let fitting = bound / vocabulary.max(1);
        let fitting = if fitting >= step { fitting / step * step } else { fitting / 16 * 16 }.clamp(16, most);
        let count = rows.div_ceil(fitting).max(if rows > 16 { 2 } else { 1 });
        let size = rows.div_ceil(count).next_multiple_of(16);
        Chunks::of(device, size, rows.div_ceil(size))
    }

    /// `count` chunks of `size` rows each.
    fn of(device: &Rc<Device>, size: usize, count: usize) -> Result<Chunks> {
        let buffer = device.buffer("chunks", 256 * count as u64, Usage::Uniform)?;
        let mut uniforms = Vec::with_capacity(count);
        for i in 0..count {
            device.write(&buffer, 256 * i as u64, bytemuck::cast_slice(&[(i * size) as u32, size as u32, 0, 0]));
            uniforms.push(Tensor::in_buffer(buffer.clone(), 256 * i as u64, 1, 4));
        }
        Ok(Chunks { uniforms, rows: size })
    }

    /// The bytes of the logits that exist at one time, for `rows` rows in all.
    pub fn logits_bytes(&self, rows: usize, head: &Weight) -> u64 {
        let widest = head.slabs.iter().map(|slab| slab.stored.rows).max().unwrap_or(0);
        (self.rows.min(rows) * widest.next_multiple_of(4) * 4) as u64
    }

    /// The first `rows` labelled rows as the only chunk.
    pub fn first(device: &Rc<Device>, rows: usize) -> Result<Tensor> {
        Ok(Chunks::of(device, rows, 1)?.uniforms.remove(0))
    }
}

/// Records totals (+)= {Σ -log p(label), labelled rows} for h [labelled, C] (from `gather_rows`) and the head's weight
/// [V, C]. The gradient, scaled by `Step.inv_labels`, is written while the logits exist, which saves one product
/// compared with computing them again later.
pub fn cross_entropy(rec: &mut Recorder, h: &Var, head: &Weight, chunks: &Chunks, totals: &Tensor, accumulate: bool) {
    let (rows, cols) = (h.data.rows, h.data.cols);
    let stats = rec.tensor(rows, 4);
    let several = head.slabs.len() > 1;
    let dh = h.grad.is_some().then(|| first_write(rec, &h.grad, rows, cols));
    for (i, chunk) in chunks.uniforms.iter().enumerate() {
        let first = i * chunks.rows;
        let size = chunks.rows.min(rows - first);
        let x = h.data.slice(first, size);
        for slab in head.slabs.iter() {
            let z = logits(rec, &x, slab, chunk);
            log_sum_exp(rec, &z, slab.first, &stats, chunk);
            if let (Some(dh), false) = (&dh, several) {
                back(rec, &z, slab, &stats, &dh.slice(first, size), chunk);
            }
        }
        // With several slabs the sum over the vocabulary is known only now, so the logits are computed again.
        if let (Some(dh), true) = (&dh, several) {
            for slab in head.slabs.iter() {
                let z = logits(rec, &x, slab, chunk);
                back(rec, &z, slab, &stats, &dh.slice(first, size), chunk);
            }
        }
    }
    let constants = if accumulate { vec![("ACCUMULATE", true.into())] } else { Vec::new() };
    rec.dispatch("cross_entropy_total", &[], constants, &[], &[&stats, totals]);
}

/// Records the logits of a chunk for the tokens of one slab.
fn logits(rec: &mut Recorder, x: &Tensor, slab: &Slab, chunk: &Tensor) -> Tensor {
    let z = rec.tensor(x.rows, slab.stored.rows);
    // A single row needs no guard: whatever reads its logits skips it if it has no label.
    let chunk = Some(chunk).filter(|_| x.rows > 1);
    Product { chunk, ..Product::of(Form::Forward, x, &slab.stored, &z, 0) }.record(rec);
    z
}

fn slab_constants(z: &Tensor, first: usize) -> Constants {
    let mut constants = vec![("V", z.cols.into())];
    if first > 0 {
        constants.push(("FIRST", first.into()));
    }
    constants
}

fn log_sum_exp(rec: &mut Recorder, z: &Tensor, first: usize, stats: &Tensor, chunk: &Tensor) {
    let (list, labels) = (rec.input.rows.clone(), rec.input.labels.clone());
    let operands = [z, &list, &labels, stats, chunk];
    rec.dispatch("cross_entropy_forward", &[], slab_constants(z, first), &[("rows", z.rows)], &operands);
}

/// dh (+)= dz W. On a card dz is computed as z is read; elsewhere it overwrites z.
fn back(rec: &mut Recorder, z: &Tensor, slab: &Slab, stats: &Tensor, dh: &Tensor, chunk: &Tensor) {
    let product = Product::of(Form::Backward, z, &slab.stored, dh, 0);
    let product = Product { chunk: Some(chunk), accumulate: slab.first > 0, ..product };
    if rec.device.shape == Shape::Tiled {
        let logits = Some(Logits { stats, first: slab.first });
        return Product { logits, ..product }.record(rec);
    }
    let extents = [("quads", z.cols.div_ceil(4)), ("rows", z.rows)];
    let operands = [stats, z, chunk];
    rec.dispatch("cross_entropy_backward", &[], slab_constants(z, slab.first), &extents, &operands);
    product.record(rec);
}
