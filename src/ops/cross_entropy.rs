//! Cross-entropy through the output head, for the labelled rows only, in chunks of rows x slabs of the vocabulary:
//! [rows, V] never exists at once.

use std::rc::Rc;

use super::groups_of_64;
use super::project::{Weight, project_chunk, project_slab};
use crate::device::{Device, Shape, Tensor, Usage};
use crate::error::Result;
use crate::plan::{Recorder, Var};

/// How the labelled rows are cut: `{first, rows}` of each chunk, at 256-byte spacing.
pub struct Chunks {
    uniforms: Vec<Tensor>,
    rows: usize,
}

impl Chunks {
    /// Chunks of at most 2^22 logits, of 16 to 256 rows, at least two chunks where there are more than 16 rows.
    pub fn new(device: &Rc<Device>, rows: usize, vocabulary: usize) -> Result<Chunks> {
        let fitting = ((1 << 22) / vocabulary.max(1) / 16 * 16).clamp(16, 256);
        let size = fitting.min(rows.div_ceil(2).next_multiple_of(16));
        let count = rows.div_ceil(size);
        Chunks::of(device, size, count)
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

    /// The first `rows` labelled rows as the only chunk.
    pub fn first(device: &Rc<Device>, rows: usize) -> Result<Tensor> {
        Ok(Chunks::of(device, rows, 1)?.uniforms.remove(0))
    }
}

/// Records y [labelled, C] = x[rows]: the labelled rows close together; back, every original row gets its gradient or
/// zero.
pub fn gather_rows(rec: &mut Recorder, x: &Var) -> Var {
    let (rows, cols) = (x.data.rows, x.data.cols);
    let y = Var::new(rec.tensor(rows, cols), x.grad.is_some());
    let list = rec.input.rows.clone();
    let constants = vec![("C", cols as u32)];
    let groups = groups_of_64(rows * cols / 4);
    rec.dispatch("gather_rows_forward", &[], constants.clone(), groups, &[&x.data, &list, &y.data]);
    if let (Some(dx), Some(dy)) = (x.grad.clone(), y.grad.clone()) {
        rec.on_backward(move |rec| {
            let Some(dy) = rec.read(&dy) else { return };
            let slots = rec.input.slot_of_row.clone();
            let (dx, accumulate) = rec.write(&dx, rows, cols);
            assert!(!accumulate, "the head is the only reader of the last hidden state");
            rec.dispatch("gather_rows_backward", &[], constants, groups, &[&dy, &slots, &dx]);
        });
    }
    y
}

/// Records totals (+)= {Σ -log p(label), labelled rows} for h [labelled, C] (from `gather_rows`) and the head's weight
/// [V, C]. The gradient, scaled by `Step.inv_labels`, is written while the logits are at hand, which costs one product
/// less than coming back for it.
pub fn cross_entropy(rec: &mut Recorder, h: &Var, head: &Weight, chunks: &Chunks, totals: &Tensor, accumulate: bool) {
    let (rows, cols) = (h.data.rows, h.data.cols);
    let stats = rec.tensor(rows, 4);
    let several = head.slabs.len() > 1;
    let dh = h.grad.as_ref().map(|grad| rec.write(grad, rows, cols).0);
    for (i, chunk) in chunks.uniforms.iter().enumerate() {
        let first = i * chunks.rows;
        let size = chunks.rows.min(rows - first);
        let x = h.data.slice(first, size);
        for slab in head.slabs.iter() {
            let z = rec.tensor(size, slab.tensor.rows);
            project_chunk(rec, &x, &slab.tensor, &z, chunk);
            log_sum_exp(rec, &z, slab.first, &stats, chunk);
            if let (Some(dh), false) = (&dh, several) {
                back(rec, &z, slab.first, &slab.tensor, &stats, &dh.slice(first, size), chunk);
            }
        }
        // With several slabs the sum over the vocabulary is known only now: the logits are made again.
        if let (Some(dh), true) = (&dh, several) {
            for slab in head.slabs.iter() {
                let z = rec.tensor(size, slab.tensor.rows);
                project_chunk(rec, &x, &slab.tensor, &z, chunk);
                back(rec, &z, slab.first, &slab.tensor, &stats, &dh.slice(first, size), chunk);
            }
        }
    }
    let constants = if accumulate { vec![("ACCUMULATE", 1)] } else { Vec::new() };
    let features = rec.shaped(&[]);
    rec.dispatch("cross_entropy_total", &features, constants, [1, 1, 1], &[&stats, totals]);
}

fn slab_constants(z: &Tensor, first: usize) -> Vec<(&'static str, u32)> {
    let mut constants = vec![("V", z.cols as u32)];
    if first > 0 {
        constants.push(("FIRST", first as u32));
    }
    constants
}

fn log_sum_exp(rec: &mut Recorder, z: &Tensor, first: usize, stats: &Tensor, chunk: &Tensor) {
    let (list, labels) = (rec.input.rows.clone(), rec.input.labels.clone());
    let groups = match rec.device.shape {
        Shape::Tiled => [z.rows, 1, 1],
        Shape::Direct => [z.rows.div_ceil(8), 1, 1],
    };
    let features = rec.shaped(&[]);
    rec.dispatch(
        "cross_entropy_forward",
        &features,
        slab_constants(z, first),
        groups,
        &[z, &list, &labels, stats, chunk],
    );
}

/// dz in place of z, then dh (+)= dz W.
fn back(rec: &mut Recorder, z: &Tensor, first: usize, w: &Tensor, stats: &Tensor, dh: &Tensor, chunk: &Tensor) {
    let (list, labels) = (rec.input.rows.clone(), rec.input.labels.clone());
    let groups = [z.cols.div_ceil(4).div_ceil(64), z.rows, 1];
    rec.dispatch("cross_entropy_backward", &[], slab_constants(z, first), groups, &[&list, &labels, stats, z, chunk]);
    project_slab(rec, z, w, 0, dh, first > 0, None, Some(chunk));
}
