//! `low_rank`: linears with a LoRA pair each that read one activation, together and alone, in every form.

use std::rc::Rc;

use tabtune::device::{Device, Format, Shape, Tensor, Usage};
use tabtune::ops::{LowRank, Matrix, Param, low_rank, low_rank_onto, project};
use tabtune::plan::{Progress, Var};

use super::{Bed, FORMATS, ROWS, sum};
use crate::check::{SHAPES, device};
use crate::reference::*;

/// (out, rank) of each linear.
type Linears<'a> = &'a [(usize, usize)];

/// q, k and v; gate and up; one alone, of a rank beyond a tile's depth; and two that do not fit together.
const CASES: [(usize, Linears<'_>); 4] =
    [(12, &[(20, 8), (8, 8), (8, 8)]), (68, &[(132, 3), (132, 3)]), (36, &[(68, 20)]), (20, &[(12, 4), (8, 12)])];

/// Everything that a case compares with.
struct Host {
    w: Vec<f64>,
    lora: Lora,
    before: [Vec<f64>; 2],
}

/// Linears whose A and B stand one after the other in one buffer, as an adapter's do, and in another their gradients,
/// which already hold something. A rank is padded to a multiple of four, with zeros.
fn linears(bed: &mut Bed, n_in: usize, outs: Linears<'_>, slab: usize) -> (Vec<LowRank>, Vec<Host>) {
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
    let mut all = (Vec::new(), Vec::new());
    for (i, &(out, rank)) in outs.iter().enumerate() {
        let (weight, w) = bed.weight(out, n_in, slab);
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
async fn check(device: &Rc<Device>, rows: (usize, usize), case: (usize, Linears<'_>), format: Format, lowest: bool) {
    let (n_in, outs) = case;
    let mut bed = Bed::new(device, &format!("{outs:?} on {n_in} columns, {format:?}, lowest: {lowest}"), rows);
    bed.format = format;
    let n_in = bed.width(n_in);
    let (x, x_values) = bed.var(n_in);
    let x = if lowest { Var::frozen(x.data) } else { x };
    // The sites hold twice the scale.
    bed.step.strength = 0.5;
    let (pairs, hosts) = linears(&mut bed, n_in, outs, 64);
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
                check(&device, (70, 67), CASES[0], Format::Int8, false).await;
                check(&device, (70, 67), CASES[2], Format::F32, true).await;
                continue;
            }
            for case in CASES {
                for rows in ROWS {
                    check(&device, rows, case, Format::F32, false).await;
                }
                check(&device, (70, 67), case, Format::F32, true).await;
            }
            for format in FORMATS {
                check(&device, (70, 67), CASES[0], format, false).await;
                check(&device, (7, 7), CASES[1], format, false).await;
            }
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
                let (pairs, hosts) = linears(&mut bed, n_in, &[(n_out, 20)], 64);
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
            let mut bed = Bed::new(&device, "strength zero", (7, 7));
            bed.step.strength = 0.0;
            let (x, _) = bed.var(12);
            let (pairs, _) = linears(&mut bed, 12, CASES[0].1, 64);
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
                assert_eq!(bits(found), bits(base), "{shape:?}");
            }
        }
    }
}
