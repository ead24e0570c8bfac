//! `cross_entropy`: the loss through the output head, over the labelled rows only.

use std::rc::Rc;

use tabtune::device::tiling::tiles;
use tabtune::device::{Device, Format, Tensor, Tiling};
#[cfg(not(target_arch = "wasm32"))]
use tabtune::device::{Shape, Stored};
use tabtune::ops::{ChunkSize, Chunks, cross_entropy, gather_rows};
#[cfg(not(target_arch = "wasm32"))]
use tabtune::ops::{Slab, Weight};
use tabtune::plan::Var;

use super::gather_rows::{LABELS, Labels, label};
use super::{Bed, ROWS};
use crate::check::{SHAPES, device, pretending};
use crate::reference::*;

/// A head [V, C] in slabs of at most `slab` rows. `chunk_for` is the vocabulary that the chunks are sized for: a large
/// one makes many small chunks.
#[derive(Clone, Copy)]
struct Head {
    v: usize,
    c: usize,
    slab: usize,
    chunk_for: usize,
    format: Format,
}

const HEADS: [Head; 6] = [
    Head { v: 5, c: 4, slab: 64, chunk_for: 5, format: Format::F32 },
    Head { v: 69, c: 12, slab: 128, chunk_for: 69, format: Format::F32 },
    Head { v: 69, c: 12, slab: 32, chunk_for: 1 << 18, format: Format::F16 },
    Head { v: 69, c: 32, slab: 32, chunk_for: 1 << 18, format: Format::Int8 },
    Head { v: 69, c: 96, slab: 128, chunk_for: 69, format: Format::Int4 },
    Head { v: 261, c: 68, slab: 512, chunk_for: 1 << 18, format: Format::F32 },
];

/// Training (`trained`) adds to the totals and leaves a gradient; evaluating assigns the totals.
async fn loss(device: &Rc<Device>, rows: (usize, usize), head: Head, labels: Labels, trained: bool) {
    let Head { v, c, slab, chunk_for, format } = head;
    let mut bed = Bed::new(
        device,
        &format!(
            "cross_entropy, {format:?} head [{v} in slabs of {slab}, {c}], {labels:?} labelled, trained: {trained}"
        ),
        rows,
    );
    bed.format = format;
    let labels = label(&mut bed, labels, v);
    let (x, x_values) = bed.var(c);
    let x = if trained { x } else { Var::frozen(x.data) };
    let (weight, w_values) = bed.weight(v, c, slab);
    let inv_labels = 1.0 / 128.0;
    bed.step.inv_labels = inv_labels as f32;
    let chunks = Chunks::new(device, rows.0, chunk_for, ChunkSize::Small).expect("chunks");
    let before = if trained { [3.5, 2.0] } else { [f64::NAN; 2] };
    // Four numbers, to check that the two that are not written stay unchanged.
    let totals = bed.filled(1, 4, &[before[0], before[1], 7.0, 9.0]);
    let h = gather_rows(&mut bed.rec, &x, rows.0);
    cross_entropy(&mut bed.rec, &h, &weight, &chunks, &totals, trained);
    let (sum, count) = head_forward(&x_values, &w_values, &labels, c);
    let start = if trained { before } else { [0.0; 2] };
    bed.changes("totals", &totals, vec![start[0] + sum, start[1] + count as f64, 7.0, 9.0]);
    if trained {
        bed.writes_grad("dx", &x, head_backward(&x_values, &w_values, &labels, c, inv_labels));
    }
    bed.check().await;
}

/// The last hidden state has one reader: a gradient that another one wrote would be lost.
#[cfg(not(target_arch = "wasm32"))]
#[test]
#[should_panic(expected = "has a second reader")]
fn cross_entropy_refuses_to_overwrite_a_gradient() {
    let device = pollster::block_on(device(Shape::Direct));
    let mut bed = Bed::new(&device, "a second reader", (7, 7));
    let ((h, _), (head, _)) = (bed.var(4), bed.weight(5, 4, 64));
    bed.seed(&h);
    let chunks = Chunks::new(&device, 7, 5, ChunkSize::Small).expect("chunks");
    let totals = Tensor::owned(&device, "totals", 1, 2).expect("a tensor");
    cross_entropy(&mut bed.rec, &h, &head, &chunks, &totals, true);
}

/// SmolLM2-135M's head at 4 x 512 tokens, and one of a small vocabulary.
#[cfg(not(target_arch = "wasm32"))]
#[test]
fn chunks_are_larger_on_cards_if_they_may_be() {
    for (shape, size, vocabulary, rows) in [
        (Shape::Tiled, ChunkSize::Large, 49_152, 512),
        (Shape::Tiled, ChunkSize::Small, 49_152, 80),
        (Shape::Direct, ChunkSize::Large, 49_152, 80),
        (Shape::Cpu, ChunkSize::Large, 49_152, 80),
        (Shape::Tiled, ChunkSize::Large, 500, 1024),
        (Shape::Tiled, ChunkSize::Small, 500, 256),
    ] {
        let device = Device::dry(shape);
        let stored = Stored::new(&device, "head", vocabulary, 4, Format::F32).expect("a matrix");
        let head = Weight { rows: vocabulary, cols: 4, slabs: Rc::new(vec![Slab { first: 0, stored }]) };
        let chunks = Chunks::new(&device, 2048, vocabulary, size).expect("chunks");
        assert_eq!(chunks.logits_bytes(2048, &head), 4 * (rows * vocabulary) as u64, "{shape:?} {size:?} {vocabulary}");
    }
}

crate::device_tests! {
    /// One kernel serves both shapes.
    async fn cross_entropy_equals_its_reference() {
        for shape in SHAPES {
            let device = device(shape).await;
            for head in HEADS {
                for rows in ROWS {
                    for labels in LABELS {
                        loss(&device, rows, head, labels, true).await;
                    }
                    loss(&device, rows, head, Labels::Third, false).await;
                }
            }
        }
    }

    /// In every tile, whole and in splits, computing dz as the logits are read.
    async fn cross_entropy_in_every_tile_and_in_splits() {
        for (tile, _) in tiles("matmul").enumerate() {
            // A browser's software device needs seconds for each kernel.
            if cfg!(target_arch = "wasm32") && tile != 1 {
                continue;
            }
            let splits = [1, 3, 2, 5][tile / 2];
            let device = pretending(Tiling { tile: Some(tile), splits: Some(splits) }).await;
            loss(&device, (135, 131), HEADS[2 + tile % 4], Labels::Third, true).await;
            loss(&device, (70, 67), HEADS[5 - tile % 4], Labels::All, true).await;
        }
    }

    /// Logits of ±400: exp overflows f32 unless the maximum is subtracted, across slabs too.
    async fn cross_entropy_of_large_logits_is_finite() {
        for shape in SHAPES {
            let device = device(shape).await;
            for slab in [128, 32] {
                let mut bed = Bed::new(&device, &format!("large logits in slabs of {slab}"), (7, 7));
                // A logit of 400 has a rounding error of 3e-5, and exp turns that into the relative error of a
                // probability.
                bed.tolerance = 1e-4;
                let labels = label(&mut bed, Labels::All, 69);
                let x_values: Vec<f64> = bed.noise(7 * 12).iter().map(|x| 256.0 * x).collect();
                let x = bed.var_of(12, &x_values);
                let (weight, w_values) = bed.weight(69, 12, slab);
                let chunks = Chunks::new(&device, 7, 69, ChunkSize::Small).expect("chunks");
                let totals = Tensor::owned(&device, "totals", 1, 2).expect("a tensor");
                cross_entropy(&mut bed.rec, &x, &weight, &chunks, &totals, false);
                let (sum, count) = head_forward(&x_values, &w_values, &labels, 12);
                bed.writes("totals", &totals, vec![sum, count as f64]);
                bed.writes_grad("dx", &x, head_backward(&x_values, &w_values, &labels, 12, 1.0));
                bed.check().await;
            }
        }
    }
}
