//! `low_rank`: linears with a LoRA pair each that read one activation, together and alone, in every form.

use std::rc::Rc;

use tabtune::device::tiling::tiles;
use tabtune::device::{Device, Format, KernelKey, Shape, Stored, Tensor, Tiling, Usage};
use tabtune::ops::{LowRank, Matrix, Param, low_rank, low_rank_onto, project};
use tabtune::plan::{Progress, Var};

use super::{Bed, FORMATS, ROWS, sum};
use crate::check::{SHAPES, device, pretending};
use crate::reference::*;

/// (out, rank) of each linear.
type Linears<'a> = &'a [(usize, usize)];

/// q, k and v; gate and up; one alone, of a rank beyond a tile's depth; and two that do not fit together.
const CASES: [(usize, Linears<'_>); 4] =
    [(12, &[(20, 8), (8, 8), (8, 8)]), (68, &[(132, 3), (132, 3)]), (36, &[(68, 20)]), (20, &[(12, 4), (8, 12)])];

/// How the weights of a case are stored.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stock {
    /// In slabs of so many rows, each on its own.
    Slabs(usize),
    /// One after the other.
    Stack,
}

const SLABS: Stock = Stock::Slabs(64);

/// Where every weight of a stack can be bound in every format. No tile ends where the weights do.
const STACKS: [(usize, Linears<'_>); 3] =
    [(128, &[(96, 8), (32, 8), (32, 8)]), (128, &[(160, 20), (160, 20)]), (256, &[(16, 4), (144, 4)])];

/// Of f32 only: less than any tile has columns.
const NARROW: (usize, Linears<'_>) = (64, &[(4, 8), (20, 8), (8, 8)]);

/// Everything that a case compares with.
struct Host {
    w: Vec<f64>,
    lora: Lora,
    before: [Vec<f64>; 2],
}

/// Linears whose A and B stand one after the other in one buffer, as an adapter's do, and in another their gradients,
/// which already hold something. A rank is padded to a multiple of four, with zeros.
fn linears(bed: &mut Bed, n_in: usize, outs: Linears<'_>, stock: Stock) -> (Vec<LowRank>, Vec<Host>) {
    let stored = |rank: usize| rank.next_multiple_of(4);
    let numbers = |(out, rank): &(usize, usize)| {
        (stored(*rank) * n_in).next_multiple_of(64) + (stored(*rank) * out).next_multiple_of(64)
    };
    let bytes = 4 * outs.iter().map(numbers).sum::<usize>() as u64;
    let buffer = |label| bed.device.buffer(label, bytes, Usage::Storage).expect("a buffer");
    let (p, g) = (buffer("parameters"), buffer("gradients"));
    let mut offset = 0;
    let mut place = |bed: &mut Bed, rows: usize, cols: usize, values: &[f64]| {
        let tensor = |buffer: &Rc<_>| Tensor::in_buffer(Rc::clone(buffer), offset, rows, cols);
        let (value, grad) = (tensor(&p), tensor(&g));
        offset += 4 * (rows * cols).next_multiple_of(64) as u64;
        let before = bed.noise(rows * cols);
        for (tensor, numbers) in [(&value, values), (&grad, &before)] {
            tensor.upload(&bed.device, &numbers.iter().map(|&x| x as f32).collect::<Vec<f32>>());
        }
        (Param { value, grad }, before)
    };
    let weights: Vec<_> = match stock {
        Stock::Slabs(most) => outs.iter().map(|(out, _)| bed.weight(*out, n_in, most)).collect(),
        Stock::Stack => bed.stacked(&outs.iter().map(|(out, _)| *out).collect::<Vec<_>>(), n_in),
    };
    let mut all = (Vec::new(), Vec::new());
    for (i, (&(out, rank), (weight, w))) in outs.iter().zip(weights).enumerate() {
        let rows = stored(rank);
        let (mut a_values, mut b_values) = (bed.noise(rows * n_in), bed.noise(out * rows));
        a_values[rank * n_in..].fill(0.0);
        b_values.chunks_mut(rows).for_each(|row| row[rank..].fill(0.0));
        let scale = 1.75 - i as f64;
        let (a, a_before) = place(bed, rows, n_in, &a_values);
        let (b, b_before) = place(bed, out, rows, &b_values);
        all.0.push(LowRank { weight, a, b, site: site(&bed.device, 2.0 * scale as f32) });
        let lora = Lora { a: a_values, b: b_values, scale, rank: rows };
        all.1.push(Host { w, lora, before: [a_before, b_before] });
    }
    all
}

fn site(device: &Rc<Device>, scale: f32) -> Tensor {
    let buffer = device.buffer("site", 256, Usage::Uniform).expect("a buffer");
    device.write(&buffer, 0, bytemuck::cast_slice(&[scale.to_bits(), 0, 0, 0]));
    Tensor::in_buffer(buffer, 0, 1, 4)
}

/// With or without something trainable below x.
async fn check(
    device: &Rc<Device>,
    rows: (usize, usize),
    (n_in, outs): (usize, Linears<'_>),
    (format, stock): (Format, Stock),
    lowest: bool,
) {
    let name = format!("{outs:?} on {n_in} columns, {format:?}, {stock:?}, lowest: {lowest}");
    let mut bed = Bed::new(device, &name, rows);
    bed.format = format;
    let n_in = bed.width(n_in);
    let (x, x_values) = bed.var(n_in);
    let x = if lowest { Var::frozen(x.data) } else { x };
    // The sites hold twice the scale.
    bed.step.strength = 0.5;
    let (pairs, hosts) = linears(&mut bed, n_in, outs, stock);
    let ys = low_rank(&mut bed.rec, &x, &pairs);
    let mut dx = vec![0.0; rows.1 * n_in];
    for ((y, pair), Host { w, lora, before }) in ys.iter().zip(&pairs).zip(&hosts) {
        let (_, dy) = bed.seed(y);
        let n_out = y.data.cols;
        let (more, da, db) = lora_backward(&dy, &x_values, w, lora, rows.1, n_in, n_out);
        dx = sum(&dx, &more);
        bed.writes("y", &y.data, lora_forward(&x_values, w, lora, rows.1, n_in, n_out));
        bed.changes("dA", &pair.a.grad, sum(&before[0], &da));
        bed.changes("dB", &pair.b.grad, sum(&before[1], &db));
    }
    if !lowest {
        bed.writes_grad("dx", &x, dx);
    }
    bed.check().await;
}

crate::device_tests! {
    async fn low_rank_terms_join_the_products_that_they_belong_to() {
        for shape in SHAPES {
            let device = device(shape).await;
            // A browser's software device needs seconds for each kernel.
            if cfg!(target_arch = "wasm32") && shape != Shape::Cpu {
                check(&device, (70, 67), CASES[0], (Format::Int8, SLABS), false).await;
                check(&device, (70, 67), CASES[2], (Format::F32, SLABS), true).await;
                continue;
            }
            for case in CASES {
                for rows in ROWS {
                    check(&device, rows, case, (Format::F32, SLABS), false).await;
                }
                check(&device, (70, 67), case, (Format::F32, SLABS), true).await;
            }
            for format in FORMATS {
                check(&device, (70, 67), CASES[0], (format, SLABS), false).await;
                check(&device, (7, 7), CASES[1], (format, SLABS), false).await;
            }
        }
    }

    async fn weights_that_stand_one_after_the_other_are_one_product() {
        for shape in SHAPES {
            let device = device(shape).await;
            if cfg!(target_arch = "wasm32") && shape != Shape::Cpu {
                check(&device, (70, 67), STACKS[0], (Format::Int4, Stock::Stack), false).await;
                continue;
            }
            for (rows, format) in ROWS.into_iter().zip(FORMATS) {
                for case in STACKS {
                    check(&device, rows, case, (format, Stock::Stack), false).await;
                }
                check(&device, rows, NARROW, (Format::F32, Stock::Stack), false).await;
            }
            check(&device, (70, 67), NARROW, (Format::F32, Stock::Stack), true).await;
        }
    }

    /// Every tile, with the sum of the backward pass whole and in splits.
    async fn weights_that_stand_one_after_the_other_in_every_tile_and_in_splits() {
        for (tile, _) in tiles("matmul").enumerate().filter(|_| cfg!(not(target_arch = "wasm32"))) {
            for splits in [1, 3] {
                let device = pretending(Tiling { tile: Some(tile), splits: Some(splits) }).await;
                let format = FORMATS[(tile + splits) % 4];
                check(&device, (135, 131), STACKS[tile % STACKS.len()], (format, Stock::Stack), false).await;
            }
        }
    }

    /// What has few numbers is cut into more slices: the smaller cases are all of the first row of the kernel table.
    async fn larger_sums_are_cut_into_fewer_slices() {
        let of_rank_20: Linears<'_> = &[(12, 20), (12, 20), (12, 20)];
        for (rows, n_in, slices, cells) in [(7, 12, 64, 1), (300, 300, 32, 2), (568, 580, 16, 4)] {
            let mut bed = Bed::new(&Device::dry(Shape::Tiled), "slices", (rows, rows));
            let (x, _) = bed.var(n_in);
            let (pairs, _) = linears(&mut bed, n_in, of_rank_20, SLABS);
            for y in low_rank(&mut bed.rec, &x, &pairs) {
                bed.seed(&y);
            }
            bed.rec.unwind();
            for (kernel, constant) in [
                ("low_rank_forward", ("SLICES", slices)),
                ("low_rank_backward", ("SLICES", slices)),
                ("low_rank_gradients", ("CELLS", cells)),
            ] {
                let (name, value): (_, usize) = constant;
                let of_kernel = |key: &KernelKey| key.kernel == kernel;
                let key = bed.rec.kernels().into_iter().find(of_kernel).expect("a dispatch");
                assert!(key.constants.contains(&(name, value.into())), "{kernel} of {rows} rows: {:?}", key.constants);
            }
            if cfg!(not(target_arch = "wasm32")) {
                let device = device(Shape::Tiled).await;
                check(&device, (rows, rows), (n_in, of_rank_20), (Format::F32, SLABS), false).await;
            }
        }
    }

    async fn products_and_their_gradients_are_one_dispatch_for_a_stack() {
        let device = Device::dry(Shape::Tiled);
        // The products with A, those with B and the gradients of both are three dispatches anyway.
        for (stock, lowest, expected) in
            [(Stock::Stack, false, 3 + 2), (Stock::Stack, true, 3 + 1), (SLABS, false, 3 + 8), (SLABS, true, 3 + 4)]
        {
            let mut bed = Bed::new(&device, "dispatches", (70, 67));
            let (n_in, outs) = STACKS[0];
            let (x, _) = bed.var(n_in);
            let x = if lowest { Var::frozen(x.data) } else { x };
            let (pairs, _) = linears(&mut bed, n_in, outs, stock);
            for y in low_rank(&mut bed.rec, &x, &pairs) {
                bed.seed(&y);
            }
            bed.rec.unwind();
            // Of the separate weights, only the first has two slabs.
            assert_eq!(bed.rec.dispatch_count(), expected, "{stock:?}, lowest: {lowest}");
        }
    }

    /// Rows of 12 numbers in f32 are 48 bytes, but bindings begin at multiples of 256.
    async fn weights_that_could_not_be_bound_alone_are_not_stacked() {
        let device = Device::dry(Shape::Tiled);
        let stack = |rows: &[usize], cols, format| Stored::stack(&device, "weights", rows, cols, format);
        let is_made = |rows: &[usize], cols, format| stack(rows, cols, format).expect("room").is_some();
        assert!(is_made(&[16, 5], 12, Format::F32) && !is_made(&[8, 16], 12, Format::F32));
        // The scales of 32 rows of 128 numbers are 256 bytes.
        assert!(is_made(&[32, 4], 128, Format::Int8) && !is_made(&[16, 32], 128, Format::Int8));
        let parts = stack(&[16, 32, 8], 16, Format::F16).expect("room").expect("a stack");
        let [first, second, third] = <[Stored; 3]>::try_from(parts).unwrap_or_else(|_| unreachable!("three matrices"));
        let rows = |parts: &[&Stored]| {
            let parts: Vec<Stored> = parts.iter().copied().cloned().collect();
            Stored::joined(&parts).map(|whole| (whole.rows, whole.bytes()))
        };
        assert_eq!(rows(&[&first, &second, &third]), Some((56, 56 * 32)));
        assert_eq!(rows(&[&second, &third]), Some((40, 40 * 32)));
        for others in [[&first, &third], [&second, &first]] {
            assert_eq!(rows(&others), None);
        }
    }

    async fn low_rank_terms_and_a_residual_join_one_product() {
        for shape in SHAPES {
            let device = device(shape).await;
            let skipped = if cfg!(target_arch = "wasm32") { ROWS.len() - 1 } else { 0 };
            for (rows, format) in ROWS.into_iter().zip(FORMATS).skip(skipped) {
                let mut bed = Bed::new(&device, &format!("onto a residual, {format:?}"), rows);
                bed.format = format;
                let (n_in, n_out) = (bed.width(36), 68);
                let ((x, x_values), (r, r_values)) = (bed.var(n_in), bed.var(n_out));
                bed.step.strength = 0.5;
                let (pairs, hosts) = linears(&mut bed, n_in, &[(n_out, 20)], SLABS);
                let Host { w, lora, before } = &hosts[0];
                let y = low_rank_onto(&mut bed.rec, &r, &x, &pairs[0]);
                let (_, dy) = bed.seed(&y);
                let (dx, da, db) = lora_backward(&dy, &x_values, w, lora, rows.1, n_in, n_out);
                bed.writes("y", &y.data, sum(&r_values, &lora_forward(&x_values, w, lora, rows.1, n_in, n_out)));
                bed.writes_grad("dx", &x, dx);
                bed.changes("dA", &pairs[0].a.grad, sum(&before[0], &da));
                bed.changes("dB", &pairs[0].b.grad, sum(&before[1], &db));
                let passed_on = r.grad.clone();
                bed.rec.unwind();
                let dr = passed_on.as_ref().and_then(|dr| bed.rec.read(dr)).expect("a gradient of the residual");
                bed.changes("dr", &dr, dy);
                bed.check().await;
            }
        }
    }

    /// Bit for bit, even if the adapter is not finite.
    async fn low_rank_terms_of_strength_zero_leave_the_base() {
        for shape in SHAPES {
            let device = device(shape).await;
            for ((n_in, outs), stock) in [(CASES[0], SLABS), (NARROW, Stock::Stack)] {
                let mut bed = Bed::new(&device, "strength zero", (7, 7));
                bed.step.strength = 0.0;
                let (x, _) = bed.var(n_in);
                let (pairs, _) = linears(&mut bed, n_in, outs, stock);
                for pair in &pairs {
                    pair.b.value.upload(&device, &vec![f32::NAN; pair.b.value.rows * pair.b.value.cols]);
                }
                let weights: Vec<_> = pairs.iter().map(|pair| pair.weight.clone()).collect();
                let found = low_rank(&mut bed.rec, &x, &pairs);
                let base: Vec<Var> =
                    weights.iter().map(|w| project(&mut bed.rec, None, &x, Matrix::Frozen(w), None)).collect();
                let Bed { rec, step, .. } = bed;
                let plan = rec.finish(&mut Progress::silent()).await.expect("a plan");
                plan.input.write_step(&device, &step);
                plan.submit(&device, 1);
                for (found, base) in found.iter().zip(&base) {
                    let bits = |y: Vec<f32>| y.into_iter().map(f32::to_bits).collect::<Vec<u32>>();
                    let found = found.data.download(&device).await.expect("numbers");
                    let base = base.data.download(&device).await.expect("numbers");
                    assert_eq!(bits(found), bits(base), "{shape:?} {stock:?}");
                }
            }
        }
    }

    /// An adapter of scale zero that is not finite, beside those that count.
    async fn a_low_rank_term_of_scale_zero_leaves_its_own_linear_only() {
        let device = device(Shape::Tiled).await;
        let mut bed = Bed::new(&device, "scale zero", (7, 7));
        let (n_in, outs) = NARROW;
        let (x, x_values) = bed.var(n_in);
        bed.step.strength = 0.5;
        let (mut pairs, hosts) = linears(&mut bed, n_in, outs, Stock::Stack);
        pairs[0].site = site(&device, 0.0);
        pairs[0].b.value.upload(&device, &[f32::NAN; 4 * 8]);
        let ys = low_rank(&mut bed.rec, &x, &pairs);
        let mut dx = vec![0.0; 7 * n_in];
        for (i, (y, Host { w, lora, .. })) in ys.iter().zip(&hosts).enumerate() {
            let lora = Lora { scale: if i == 0 { 0.0 } else { lora.scale }, ..lora.clone() };
            let (_, dy) = bed.seed(y);
            let (more, ..) = lora_backward(&dy, &x_values, w, &lora, 7, n_in, outs[i].0);
            dx = sum(&dx, &more);
            bed.writes("y", &y.data, lora_forward(&x_values, w, &lora, 7, n_in, outs[i].0));
        }
        bed.writes_grad("dx", &x, dx);
        bed.check().await;
    }
}
