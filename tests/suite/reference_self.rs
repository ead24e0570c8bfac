//! The references check themselves: every backward against central finite differences of its forward, in f64.

use crate::reference::llama::{Batch, Config, Llama, Site, TARGETS};
use crate::reference::*;

/// Every backward here is exact, so only the error of the difference quotient remains: with a step of 1e-4, a
/// fourth-order stencil and values of order one, about 1e-12 from rounding and 1e-16 from truncation, relative to the
/// largest gradient.
const TOLERANCE: f64 = 1e-8;

/// Checks `gradient` as the derivative of `f` at `x`, in every component, relative to the largest of them.
fn check_gradient(what: &str, x: &[f64], gradient: &[f64], f: impl Fn(&[f64]) -> f64) {
    assert_eq!(x.len(), gradient.len(), "{what}: a gradient has the shape of its variable");
    let step = 1e-4;
    let numeric: Vec<f64> = (0..x.len())
        .map(|i| {
            let at = |k: f64| {
                let mut x = x.to_vec();
                x[i] += k * step;
                f(&x)
            };
            (8.0 * (at(1.0) - at(-1.0)) - (at(2.0) - at(-2.0))) / (12.0 * step)
        })
        .collect();
    check(what, gradient, &numeric, TOLERANCE);
}

/// Compares relative to the largest expected magnitude and names the worst index.
fn check(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}: length");
    let largest = expected.iter().fold(0.0, |max: f64, x| max.max(x.abs()));
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs();
        assert!(error <= tolerance * largest, "{what}[{i}]: found {found}, expected {expected}, largest {largest}");
    }
}

/// Numbers in [-1, 1) that depend on `seed` alone (SplitMix64).
fn noise(seed: u64, n: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x2545_f491_4f6c_dd1d);
    (0..n)
        .map(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z ^ (z >> 31)) as i64 as f64 / (1u64 << 63) as f64
        })
        .collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn project_gradients_are_those_of_its_forward() {
    for (rows, n_in, n_out) in [(1, 1, 1), (3, 7, 5), (4, 2, 9)] {
        let (x, w, dy) = (noise(1, rows * n_in), noise(2, n_out * n_in), noise(3, rows * n_out));
        let loss = |x: &[f64], w: &[f64]| dot(&matmul(x, w, rows, n_in, n_out), &dy);
        let dx = matmul_nn(&dy, &w, rows, n_in, n_out);
        let dw = matmul_tn(&dy, &x, rows, n_in, n_out);
        check_gradient("project dx", &x, &dx, |x| loss(x, &w));
        check_gradient("project dw", &w, &dw, |w| loss(&x, w));
    }
}

#[test]
fn lora_gradients_are_those_of_its_forward() {
    for (rows, n_in, n_out, rank) in [(1, 1, 1, 1), (3, 7, 5, 2), (4, 2, 9, 3)] {
        let (x, w, dy) = (noise(1, rows * n_in), noise(2, n_out * n_in), noise(3, rows * n_out));
        let lora = Lora { a: noise(4, rank * n_in), b: noise(5, n_out * rank), scale: 1.7, rank };
        let loss = |x: &[f64], lora: &Lora| dot(&lora_forward(x, &w, lora, rows, n_in, n_out), &dy);
        let (dx, da, db) = lora_backward(&dy, &x, &w, &lora, rows, n_in, n_out);
        check_gradient("lora dx", &x, &dx, |x| loss(x, &lora));
        check_gradient("lora da", &lora.a, &da, |a| loss(&x, &Lora { a: a.to_vec(), ..lora.clone() }));
        check_gradient("lora db", &lora.b, &db, |b| loss(&x, &Lora { b: b.to_vec(), ..lora.clone() }));
    }
}

#[test]
fn lora_equals_the_merged_weight() {
    let (rows, n_in, n_out, rank) = (3, 7, 5, 2);
    let (x, w) = (noise(1, rows * n_in), noise(2, n_out * n_in));
    let lora = Lora { a: noise(4, rank * n_in), b: noise(5, n_out * rank), scale: 1.7, rank };
    let mut merged = w.clone();
    for o in 0..n_out {
        for i in 0..n_in {
            for r in 0..rank {
                merged[o * n_in + i] += lora.scale * lora.b[o * rank + r] * lora.a[r * n_in + i];
            }
        }
    }
    let y = lora_forward(&x, &w, &lora, rows, n_in, n_out);
    check("merged", &y, &matmul(&x, &merged, rows, n_in, n_out), 1e-14);
}

#[test]
fn embed_copies_the_rows_it_is_asked_for() {
    let weight = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5];
    assert_eq!(embed_forward(&[2, 0, 2], &weight, 2), [2.0, 2.5, 0.0, 0.5, 2.0, 2.5]);
}

#[test]
fn rms_norm_gradient_is_that_of_its_forward() {
    for (rows, c, eps) in [(1, 1, 0.5), (3, 7, 1e-5), (2, 8, 0.1)] {
        let (x, weight, dy) = (noise(1, rows * c), noise(2, c), noise(3, rows * c));
        let dx = rms_norm_backward(&dy, &x, &weight, eps);
        check_gradient("rms_norm dx", &x, &dx, |x| dot(&rms_norm_forward(x, &weight, eps).0, &dy));
    }
    let (y, rstd) = rms_norm_forward(&[3.0, 4.0], &[1.0, 2.0], 0.0);
    check("rms_norm y", &y, &[3.0 / 12.5f64.sqrt(), 8.0 / 12.5f64.sqrt()], 1e-15);
    check("rms_norm rstd", &rstd, &[1.0 / 12.5f64.sqrt()], 1e-15);
}

#[test]
fn layer_norm_gradient_is_that_of_its_forward() {
    for (rows, c, eps) in [(1, 2, 0.5), (3, 7, 1e-5), (2, 8, 0.1)] {
        let (x, weight, bias, dy) = (noise(1, rows * c), noise(2, c), noise(3, c), noise(4, rows * c));
        let dx = layer_norm_backward(&dy, &x, &weight, eps);
        check_gradient("layer_norm dx", &x, &dx, |x| dot(&layer_norm_forward(x, &weight, &bias, eps), &dy));
    }
    let y = layer_norm_forward(&[3.0, 5.0], &[1.0, 2.0], &[0.5, 0.0], 0.0);
    check("layer_norm y", &y, &[-0.5, 2.0], 1e-15);
}

#[test]
fn gelu_gradients_are_those_of_their_forwards() {
    let (g, u, dh) = (noise(1, 9), noise(2, 9), noise(3, 9));
    let g: Vec<f64> = g.iter().map(|x| 4.0 * x).collect();
    check_gradient("gelu dx", &g, &gelu_backward(&dh, &g), |x| dot(&gelu_forward(x), &dh));
    let (dg, du) = geglu_backward(&dh, &g, &u);
    check_gradient("geglu dg", &g, &dg, |g| dot(&geglu_forward(g, &u), &dh));
    check_gradient("geglu du", &u, &du, |u| dot(&geglu_forward(&g, u), &dh));
    // torch.nn.functional.gelu(torch.tensor([-1.0, 0.0, 2.0], dtype=torch.float64), approximate="tanh")
    let expected = [-0.15880800939172324, 0.0, 1.954597694087775];
    check("gelu", &gelu_forward(&[-1.0, 0.0, 2.0]), &expected, 1e-15);
}

#[test]
fn rope_rotates_each_pair_by_its_angle_and_backward_rotates_it_back() {
    let (positions, h, d) = ([0, 3, 5], 2, 6);
    let tables = rope_tables(6, d, 10_000.0);
    let (x, dy) = (noise(1, positions.len() * h * d), noise(2, positions.len() * h * d));
    let y = rope_forward(&x, &tables, &positions, h, d);
    assert_eq!(y[..h * d], x[..h * d], "position 0 is not rotated");
    // As a complex number, pair (1, 4) of row 2, head 1 rotates by 5 · 10000^(-2/6). The table is rounded to f32.
    let (at, angle) = ((2 * h + 1) * d + 1, 5.0 * 10_000f64.powf(-2.0 / 6.0));
    let (re, im) = (x[at], x[at + 3]);
    let turned = [re * angle.cos() - im * angle.sin(), im * angle.cos() + re * angle.sin()];
    check("pair", &[y[at], y[at + 3]], &turned, 1e-6);
    check("there and back", &rope_backward(&y, &tables, &positions, h, d), &x, 1e-6);
    let dx = rope_backward(&dy, &tables, &positions, h, d);
    check_gradient("rope dx", &x, &dx, |x| dot(&rope_forward(x, &tables, &positions, h, d), &dy));
}

#[test]
fn attention_gradients_are_those_of_its_forward() {
    let shapes = [[1, 1, 1, 1, 1, 9], [1, 5, 3, 3, 2, 9], [2, 4, 4, 2, 3, 9], [1, 7, 6, 1, 2, 9], [2, 6, 2, 1, 2, 3]];
    for [b, t, h, kv, d, window] in shapes {
        let s = AttentionShape { b, t, h, kv, d, window };
        let (q, dout) = (noise(1, b * t * h * d), noise(2, b * t * h * d));
        let (k, v) = (noise(3, b * t * kv * d), noise(4, b * t * kv * d));
        let loss = |q: &[f64], k: &[f64], v: &[f64]| dot(&attention_forward(q, k, v, s).0, &dout);
        let (dq, dk, dv) = attention_backward(&dout, &q, &k, &v, s);
        check_gradient(&format!("{s:?} dv"), &v, &dv, |v| loss(&q, &k, v));
        if t == 1 {
            // A single key has probability 1, whatever its score.
            assert_eq!((dq, dk), (vec![0.0; q.len()], vec![0.0; k.len()]));
            continue;
        }
        check_gradient(&format!("{s:?} dq"), &q, &dq, |q| loss(q, &k, &v));
        check_gradient(&format!("{s:?} dk"), &k, &dk, |k| loss(&q, k, &v));
    }
}

#[test]
fn grouped_attention_equals_attention_with_repeated_heads() {
    let s = AttentionShape { b: 2, t: 4, h: 6, kv: 2, d: 3, window: 3 };
    let (q, k, v) = (noise(1, 2 * 4 * 6 * 3), noise(2, 2 * 4 * 2 * 3), noise(3, 2 * 4 * 2 * 3));
    let repeat = |x: &[f64]| -> Vec<f64> { x.chunks(3).flat_map(|head| head.repeat(3)).collect() };
    let grouped = attention_forward(&q, &k, &v, s);
    let repeated = attention_forward(&q, &repeat(&k), &repeat(&v), AttentionShape { kv: 6, ..s });
    assert_eq!(grouped, repeated);
}

#[test]
fn attention_lse_is_in_heads_then_time_and_sums_the_window() {
    let s = AttentionShape { b: 1, t: 3, h: 2, kv: 1, d: 1, window: 2 };
    let (q, k) = ([0.5, -1.0, 2.0, 0.3, -0.7, 1.1], [0.2, -0.4, 0.9]);
    let (_, lse) = attention_forward(&q, &k, &[1.0; 3], s);
    for h in 0..2 {
        for t in 0..3 {
            let sum: f64 = k[usize::saturating_sub(t, 1)..=t].iter().map(|k| (q[t * 2 + h] * k).exp()).sum();
            check("lse", &[lse[h * 3 + t]], &[sum.ln()], 1e-14);
        }
    }
}

#[test]
fn swiglu_and_add_gradients_are_those_of_their_forwards() {
    let (g, u, dh) = (noise(1, 13), noise(2, 13), noise(3, 13));
    let g: Vec<f64> = g.iter().map(|g| 8.0 * g).collect();
    let (dg, du) = swiglu_backward(&dh, &g, &u);
    check_gradient("swiglu dg", &g, &dg, |g| dot(&swiglu_forward(g, &u), &dh));
    check_gradient("swiglu du", &u, &du, |u| dot(&swiglu_forward(&g, u), &dh));
    let (dx, dy) = add_backward(&dh);
    check_gradient("add dx", &g, &dx, |x| dot(&add_forward(x, &u), &dh));
    check_gradient("add dy", &u, &dy, |y| dot(&add_forward(&g, y), &dh));
}

#[test]
fn cross_entropy_and_head_gradients_are_those_of_their_forwards_with_masked_labels() {
    for labels in [vec![Some(2)], vec![None, Some(0), Some(4), None, Some(4)]] {
        let (rows, c, v) = (labels.len(), 3, 5);
        let inv_labels = 1.0 / labels.iter().flatten().count() as f64;
        let (logits, hidden, weight) = (noise(1, rows * v), noise(2, rows * c), noise(3, v * c));
        let mean = |(loss, n): (f64, usize)| loss / n as f64;
        let dlogits = cross_entropy_backward(&logits, &labels, v, inv_labels);
        check_gradient("dlogits", &logits, &dlogits, |l| mean(cross_entropy_forward(l, &labels, v)));
        let dhidden = head_backward(&hidden, &weight, &labels, c, inv_labels);
        check_gradient("dhidden", &hidden, &dhidden, |h| mean(head_forward(h, &weight, &labels, c)));
        for (row, label) in labels.iter().enumerate() {
            let unlabelled_row_is_zero = dhidden[row * c..][..c].iter().all(|d| *d == 0.0);
            assert_eq!(unlabelled_row_is_zero, label.is_none());
        }
    }
    assert_eq!(cross_entropy_forward(&noise(1, 10), &[None, None], 5), (0.0, 0));
    // Equal logits give every token probability 1/V, and a large common offset changes nothing.
    check("ln V", &[cross_entropy_forward(&[1e4; 5], &[Some(3)], 5).0], &[5f64.ln()], 1e-12);
}

#[test]
fn clip_scales_a_long_gradient_to_the_maximum_and_leaves_a_short_one() {
    let norm = global_norm(&[&[3.0, 0.0], &[0.0, 4.0]]);
    assert_eq!(norm, 5.0);
    assert_eq!(clip_coefficient(norm, 1.0), 1.0 / 5.000_001);
    assert_eq!(clip_coefficient(norm, 6.0), 1.0);
    assert_eq!(clip_coefficient(0.0, 1.0), 1.0);
}

/// The results of `torch.optim.AdamW` (torch 2.15, f64) for two parameters, [0.5, -1.25] and [2], with
/// `clip_grad_norm_(…, 1.0)` before each step. The norms are those that `clip_grad_norm_` returned.
#[test]
fn adamw_follows_torch_for_three_steps() {
    let options = AdamW { lr: 0.1, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01 };
    let steps = [
        ([3.0, -4.0, 12.0], 13.0, [0.3995000043333335, -1.1487500032500002, 1.8980000010833333]),
        ([0.1, 0.2, -0.2], 0.30000000000000004, [0.30802390400557295, -1.1319978526261905, 1.8463820062197207]),
        ([0.0, 1e-3, -5.0], 5.000000099999999, [0.2373134049742468, -1.1188392270236642, 1.8646218556405187]),
    ];
    let (mut p, mut m, mut v) = ([0.5, -1.25, 2.0], [0.0; 3], [0.0; 3]);
    for (step, (g, norm, expected)) in (1..).zip(steps) {
        let found = global_norm(&[&g[..2], &g[2..]]);
        check("norm", &[found], &[norm], 1e-15);
        let clipped = g.map(|g| g * clip_coefficient(found, 1.0));
        adamw_step(&mut p, &clipped, &mut m, &mut v, step, &options);
        check(&format!("p after step {step}"), &p, &expected, 1e-14);
    }
}

#[test]
fn schedules_warm_up_then_follow_their_shape() {
    let rates = |schedule, warmup| (1..=10).map(|s| learning_rate(schedule, 2.0, warmup, s, 10)).collect::<Vec<_>>();
    let linear = [1.0, 2.0, 16.0 / 9.0, 14.0 / 9.0, 12.0 / 9.0, 10.0 / 9.0, 8.0 / 9.0, 6.0 / 9.0, 4.0 / 9.0, 2.0 / 9.0];
    check("linear", &rates(Schedule::Linear, 0.15), &linear, 1e-15);
    check("constant", &rates(Schedule::Constant, 0.15), &[1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0], 1e-15);
    let cosine = rates(Schedule::Cosine, 0.15);
    check("cosine", &[cosine[0], cosine[1], cosine[5], cosine[9]], &[1.0, 2.0, 1.0, 0.0], 1e-15);
    // Without warm-up the linear schedule starts at its first step down, and no schedule divides by zero.
    check("linear, no warm-up", &rates(Schedule::Linear, 0.0)[..1], &[20.0 / 11.0], 1e-15);
    check("all warm-up", &rates(Schedule::Cosine, 1.0)[8..], &[1.8, 2.0], 1e-15);
}

const GROUPED: Config =
    Config { v: 11, c: 6, l: 2, h: 4, kv: 2, d: 4, f: 7, eps: 1e-5, theta: 10_000.0, tied: false, window: 9 };

/// A model whose weights are all noise, with adapters at `sites` whose B is not zero.
fn llama(config: &Config, sites: &[Site]) -> Llama {
    let mut model = Llama { config: config.clone(), weights: [].into(), adapters: [].into() };
    for (seed, (name, shape)) in config.shapes().into_iter().enumerate() {
        let is_norm = shape.len() == 1;
        let weight = noise(seed as u64, shape.iter().product());
        model.weights.insert(name, weight.iter().map(|w| if is_norm { 1.0 + 0.3 * w } else { 0.8 * w }).collect());
    }
    for (seed, &site) in sites.iter().enumerate() {
        let ((n_out, n_in), rank) = (config.linear(site.1), 2);
        let lora = Lora {
            a: noise(100 + seed as u64, rank * n_in),
            b: noise(200 + seed as u64, n_out * rank),
            scale: 0.6,
            rank,
        };
        model.adapters.insert(site, lora);
    }
    model
}

fn all_sites(config: &Config) -> Vec<Site> {
    (0..config.l).flat_map(|layer| TARGETS.map(|target| (layer, target))).collect()
}

/// Two rows of five tokens with a masked prompt in the first and padding at the end of the second.
fn masked_batch() -> Batch {
    let ids = vec![3, 1, 4, 1, 5, 9, 2, 6, 0, 0];
    let labels = vec![None, None, Some(1), Some(5), Some(10), Some(2), Some(6), Some(7), None, None];
    Batch { b: 2, t: 5, ids, labels }
}

#[test]
fn llama_adapter_gradients_are_those_of_its_forward() {
    let multi_head = Config { l: 1, kv: 4, tied: true, ..GROUPED };
    for config in [GROUPED, multi_head] {
        let (model, batch) = (llama(&config, &all_sites(&config)), masked_batch());
        let pass = model.forward(&batch);
        assert_eq!(pass.labels, 6);
        let gradients = model.backward(&pass, &batch, 1.0 / 6.0);
        assert_eq!(gradients.len(), model.adapters.len());
        for (site, (da, db)) in &gradients {
            let mean_loss = |lora: Lora| {
                let mut model = model.clone();
                model.adapters.insert(*site, lora);
                model.forward(&batch).loss / 6.0
            };
            let lora = &model.adapters[site];
            check_gradient(&format!("{site:?} da"), &lora.a, da, |a| mean_loss(Lora { a: a.to_vec(), ..lora.clone() }));
            check_gradient(&format!("{site:?} db"), &lora.b, db, |b| mean_loss(Lora { b: b.to_vec(), ..lora.clone() }));
        }
    }
}

#[test]
fn llama_without_adapters_has_no_gradients_and_zero_b_changes_nothing() {
    let (base, batch) = (llama(&GROUPED, &[]), masked_batch());
    let pass = base.forward(&batch);
    assert!(base.backward(&pass, &batch, 1.0).is_empty());
    let mut adapted = llama(&GROUPED, &[(1, "v_proj")]);
    adapted.adapters.get_mut(&(1, "v_proj")).unwrap().b.fill(0.0);
    assert_eq!(adapted.forward(&batch).logits, pass.logits);
}

#[test]
fn llama_logits_do_not_depend_on_later_tokens_nor_losses_on_padding() {
    let (model, batch) = (llama(&GROUPED, &all_sites(&GROUPED)), masked_batch());
    let before = model.forward(&batch);
    let mut later = batch.clone();
    later.ids[8..].copy_from_slice(&[7, 8]);
    let after = model.forward(&later);
    assert_eq!(after.logits[..8 * 11], before.logits[..8 * 11]);
    assert_ne!(after.logits[8 * 11..], before.logits[8 * 11..]);
    assert_eq!(after.loss, before.loss);
    let gradients = model.backward(&before, &batch, 1.0);
    for (site, (da, db)) in model.backward(&after, &later, 1.0) {
        check(&format!("{site:?} da"), &da, &gradients[&site].0, 1e-15);
        check(&format!("{site:?} db"), &db, &gradients[&site].1, 1e-15);
    }
}
