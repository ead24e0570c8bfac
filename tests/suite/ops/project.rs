//! `project`: the three products y = x Wᵀ, dx = dy W and dW = dyᵀ x, and `matmul_vec` for a plan of one row.

use std::rc::Rc;
use std::slice::from_ref;

use tabtune::device::Tensor;
use tabtune::device::tiling::tiles;
use tabtune::device::{Device, Format, Shape, Tiling, Usage};
use tabtune::ops::{Matrix, Param, project, project_into};
use tabtune::plan::Var;

use super::{Bed, FORMATS, ROWS, sum, times};
use crate::check::{SHAPES, device, pretending};
use crate::reference::*;

/// A site's uniform with this scale.
fn site(device: &Rc<Device>, scale: f32) -> Tensor {
    let buffer = device.buffer("site", 256, Usage::Uniform).expect("a buffer");
    device.write(&buffer, 0, bytemuck::cast_slice(&[scale.to_bits(), 0, 0, 0]));
    Tensor::in_buffer(buffer, 0, 1, 4)
}

/// A trained matrix whose gradient already holds something.
fn param(bed: &mut Bed, rows: usize, cols: usize, values: &[f64]) -> (Param, Vec<f64>) {
    let (grad, before) = bed.matrix(rows, cols);
    (Param { value: bed.filled(rows, cols, values), grad }, before)
}

async fn frozen(device: &Rc<Device>, rows: (usize, usize), (n_out, n_in, slab): (usize, usize, usize), format: Format) {
    let mut bed = Bed::new(device, &format!("project [{n_out} in slabs of {slab}, {n_in}] {format:?}"), rows);
    bed.format = format;
    let n_in = bed.width(n_in);
    let (x, x_values) = bed.var(n_in);
    let (w, w_values) = bed.weight(n_out, n_in, slab);
    let y = project(&mut bed.rec, None, &x, Matrix::Frozen(&w), None);
    let (_, dy) = bed.seed(&y);
    bed.writes("y", &y.data, matmul(&x_values, &w_values, rows.1, n_in, n_out));
    bed.writes_grad("dx", &x, matmul_nn(&dy, &w_values, rows.1, n_in, n_out));
    bed.check().await;
}

/// A and B stored with a larger rank than their own. The padding is zero, and its gradient must be too.
fn padded(bed: &mut Bed, n_in: usize, n_out: usize, rank: usize, stored: usize) -> Lora {
    let (mut a, mut b) = (bed.noise(stored * n_in), bed.noise(n_out * stored));
    a[rank * n_in..].fill(0.0);
    for row in b.chunks_mut(stored) {
        row[rank..].fill(0.0);
    }
    Lora { a, b, scale: 1.75, rank: stored }
}

/// y = x Wᵀ + s (x Aᵀ) Bᵀ as `Linear` records it, with or without something trainable below x.
async fn lora(device: &Rc<Device>, rows: (usize, usize), (n_out, n_in, rank): (usize, usize, usize), lowest: bool) {
    let mut bed = Bed::new(device, &format!("LoRA [{n_out}, {n_in}] of rank {rank}, lowest: {lowest}"), rows);
    let stored = rank.next_multiple_of(4);
    let lora = padded(&mut bed, n_in, n_out, rank, stored);
    let (x, x_values) = bed.var(n_in);
    let x = if lowest { Var::frozen(x.data) } else { x };
    let (w, w_values) = bed.weight(n_out, n_in, n_out);
    let (a, a_before) = param(&mut bed, stored, n_in, &lora.a);
    let (b, b_before) = param(&mut bed, n_out, stored, &lora.b);
    // The strength is 0.5, so the site holds twice the scale.
    bed.step.strength = 0.5;
    let site = site(device, 2.0 * lora.scale as f32);
    let y = project(&mut bed.rec, None, &x, Matrix::Frozen(&w), None);
    let z = project(&mut bed.rec, None, &x, Matrix::Trained(from_ref(&a)), None);
    let y = project(&mut bed.rec, Some(y), &z, Matrix::Trained(from_ref(&b)), Some(&site));
    let (_, dy) = bed.seed(&y);

    let (dx, da, db) = lora_backward(&dy, &x_values, &w_values, &lora, rows.1, n_in, n_out);
    bed.writes("y", &y.data, lora_forward(&x_values, &w_values, &lora, rows.1, n_in, n_out));
    bed.changes("dA", &a.grad, sum(&a_before, &da));
    bed.changes("dB", &b.grad, sum(&b_before, &db));
    if !lowest {
        bed.writes_grad("dx", &x, dx);
    }
    bed.check().await;
}

crate::device_tests! {
    async fn project_through_frozen_weights() {
        for shape in SHAPES {
            let device = device(shape).await;
            // A browser's software device needs seconds for each kernel of a card.
            let few = if cfg!(target_arch = "wasm32") && shape == Shape::Tiled { 1..2 } else { 0..3 };
            for weight in &[(4, 20, 64), (68, 68, 64), (20, 12, 8)][few] {
                for rows in ROWS {
                    for format in FORMATS {
                        frozen(&device, rows, *weight, format).await;
                    }
                }
            }
        }
    }

    async fn project_through_adapters() {
        for shape in SHAPES {
            let device = device(shape).await;
            for adapter in [(132, 12, 3), (12, 68, 8), (20, 20, 20)] {
                for rows in ROWS {
                    lora(&device, rows, adapter, false).await;
                }
            }
            lora(&device, (70, 67), (12, 68, 8), true).await;
        }
    }

    /// Every tile, with the sum whole and in splits, on matrices that no tile divides.
    async fn project_in_every_tile_and_in_splits() {
        for (tile, _) in tiles("matmul").enumerate() {
            for splits in [1, 3] {
                // A browser's software device needs seconds for each kernel.
                if cfg!(target_arch = "wasm32") && (tile, splits) != (1, 3) {
                    continue;
                }
                let device = pretending(Tiling { tile: Some(tile), splits: Some(splits) }).await;
                frozen(&device, (135, 131), (132, 68, 132), FORMATS[(tile + splits) % 4]).await;
                if splits == 3 && tile % 2 == 1 {
                    lora(&device, (135, 131), (68, 132, 8), false).await;
                }
            }
        }
    }

    /// The sum of parts that a split product left, with a factor and onto what is there.
    async fn project_adds_up_the_parts_of_splits() {
        for shape in SHAPES {
            let device = device(shape).await;
            for rows in ROWS {
                for (count, accumulate) in [(1, false), (2, true), (9, true)] {
                    let mut bed = Bed::new(&device, &format!("{count} parts"), rows);
                    let (part, n) = (rows.0 * 12, rows.1 * 12);
                    let (parts, values) = bed.matrix(count * rows.0, 12);
                    let before = bed.noise(if accumulate { part } else { 0 });
                    let y = bed.filled(rows.0, 12, &before);
                    let site = site(&device, -3.0);
                    let constants = if accumulate { vec![("ACCUMULATE", true.into())] } else { Vec::new() };
                    let extents = [("quads", part / 4)];
                    bed.rec.dispatch("matmul_sum", &["site"], constants, &extents, &[&parts, &y, &site]);
                    let all = values.chunks(part).fold(vec![0.0; part], |all, part| sum(&all, part));
                    let scaled = times(-3.0, &all);
                    let expected = if accumulate { sum(&before, &scaled) } else { scaled };
                    bed.changes("y", &y, expected[..n].to_vec());
                    bed.check().await;
                }
            }
        }
    }

    /// Bit for bit, even if the adapter is not finite.
    async fn project_with_strength_zero_leaves_the_base() {
        for shape in SHAPES {
            let device = device(shape).await;
            for rows in [(1, 1), (7, 7)] {
                let mut bed = Bed::new(&device, "strength zero", rows);
                let (x, _) = bed.var(4);
                let base = bed.noise(rows.1 * 12);
                let y = bed.var_of(12, &base);
                let (b, _) = param(&mut bed, 12, 4, &[f64::NAN; 48]);
                let site = site(&device, 2.0);
                bed.step.strength = 0.0;
                bed.tolerance = 0.0;
                let y = project(&mut bed.rec, Some(y), &x, Matrix::Trained(from_ref(&b)), Some(&site));
                bed.changes("y", &y.data, base);
                bed.check().await;
            }
        }
    }

    /// Several matrices read one activation, as q, k and v do: the first writer of its gradient assigns, the others
    /// add.
    async fn project_gradients_of_one_input_add_up() {
        for shape in SHAPES {
            let device = device(shape).await;
            for rows in ROWS {
                let mut bed = Bed::new(&device, "two readers", rows);
                let (x, _) = bed.var(12);
                let mut dx = vec![0.0; rows.1 * 12];
                for n_out in [4, 20] {
                    let (w, w_values) = bed.weight(n_out, 12, 64);
                    let y = project(&mut bed.rec, None, &x, Matrix::Frozen(&w), None);
                    let (_, dy) = bed.seed(&y);
                    dx = sum(&dx, &matmul_nn(&dy, &w_values, rows.1, 12, n_out));
                }
                bed.writes_grad("dx", &x, dx);
                bed.check().await;
            }
        }
    }

    /// A vocabulary that is not a multiple of 4, into unpadded logits that the host reads.
    async fn project_into_logits() {
        for shape in SHAPES {
            let device = device(shape).await;
            for (v, slab) in [(5, 64), (69, 32)] {
                for (rows, format) in ROWS.into_iter().zip(FORMATS) {
                    let mut bed =
                        Bed::new(&device, &format!("logits of {v} tokens in slabs of {slab}, {format:?}"), rows);
                    bed.format = format;
                    let c = bed.width(12);
                    let (x, x_values) = bed.var(c);
                    let (w, w_values) = bed.weight(v, c, slab);
                    let y = Tensor::owned(&device, "logits", rows.0, v).expect("a tensor");
                    project_into(&mut bed.rec, &x.data, &w, &y, None);
                    bed.writes("logits", &y, matmul(&x_values, &w_values, rows.1, c, v));
                    bed.check().await;
                }
            }
        }
    }

    /// s · x Wᵀ without a y to add to, and its gradient. The factor is in all three products.
    async fn project_scales_by_its_site() {
        for shape in SHAPES {
            let device = device(shape).await;
            for rows in ROWS {
                let mut bed = Bed::new(&device, "a site without a base", rows);
                let (x, x_values) = bed.var(4);
                let w_values = bed.noise(12 * 4);
                let (w, before) = param(&mut bed, 12, 4, &w_values);
                let site = site(&device, -3.0);
                let y = project(&mut bed.rec, None, &x, Matrix::Trained(from_ref(&w)), Some(&site));
                let (_, dy) = bed.seed(&y);
                bed.writes("y", &y.data, times(-3.0, &matmul(&x_values, &w_values, rows.1, 4, 12)));
                bed.writes_grad("dx", &x, times(-3.0, &matmul_nn(&dy, &w_values, rows.1, 4, 12)));
                bed.changes("dW", &w.grad, sum(&before, &times(-3.0, &matmul_tn(&dy, &x_values, rows.1, 4, 12))));
                bed.check().await;
            }
        }
    }
}
