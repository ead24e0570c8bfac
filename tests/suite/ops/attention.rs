//! `attention`: forward and backward over whole sequences, and forward over a cache.

use std::rc::Rc;

use tabtune::device::{Device, Shape, Tensor};
use tabtune::ops::{Attention, Cache, Heads, attention};

use super::{Bed, times};
use crate::check::{SHAPES, device};
use crate::reference::*;

/// The lengths of the sequences, H, KV, D, a factor for the queries, and the window.
struct Case(&'static [usize], usize, usize, usize, f64, Option<usize>);

/// Every size of tiles and of register arrays, full and partly used. 1 to 8 query heads per key head, where those that
/// are no power of two split a token between work groups. One past a tile of 64 queries and of 16 keys. With a factor
/// of 60, scores exceed 88, where exp overflows f32 unless the maximum is subtracted. Windows of one token, within a
/// tile, of whole tiles, over several groups of queries, and longer than the sequence. Sequences of several lengths,
/// which begin and end within tiles and groups.
const CASES: [Case; 29] = [
    Case(&[1], 1, 1, 4, 1.0, None),
    Case(&[67], 1, 1, 4, 1.0, None),
    Case(&[17; 3], 1, 1, 4, 60.0, None),
    Case(&[7; 2], 4, 1, 12, 1.0, None),
    Case(&[65], 4, 1, 12, 1.0, None),
    Case(&[33; 2], 4, 2, 32, 1.0, None),
    Case(&[65; 2], 3, 1, 36, 1.0, None),
    Case(&[7], 4, 4, 64, 1.0, None),
    Case(&[67], 2, 1, 128, 1.0, None),
    Case(&[5; 3], 2, 1, 128, 1.0, None),
    Case(&[7; 2], 2, 1, 4, 1.0, Some(1)),
    Case(&[33; 2], 4, 2, 32, 1.0, Some(5)),
    Case(&[150], 1, 1, 4, 1.0, Some(16)),
    Case(&[67; 2], 3, 1, 36, 60.0, Some(17)),
    Case(&[150], 4, 2, 12, 1.0, Some(70)),
    Case(&[67], 2, 1, 128, 1.0, Some(33)),
    Case(&[7; 2], 2, 2, 64, 1.0, Some(100)),
    Case(&[67], 2, 1, 256, 1.0, None),
    Case(&[9; 2], 2, 2, 200, 1.0, Some(3)),
    Case(&[40, 1, 24, 70, 2], 4, 2, 32, 1.0, None),
    Case(&[20, 90, 3, 40], 3, 1, 36, 1.0, Some(17)),
    Case(&[5, 64, 1, 1, 30], 2, 1, 256, 1.0, None),
    Case(&[70], 8, 1, 40, 1.0, None),
    Case(&[33, 50], 5, 1, 80, 1.0, Some(19)),
    Case(&[37], 12, 2, 96, 60.0, None),
    Case(&[41, 2], 7, 1, 64, 1.0, None),
    Case(&[140], 1, 1, 128, 1.0, None),
    Case(&[37], 3, 1, 100, 1.0, None),
    Case(&[19, 2], 2, 1, 132, 1.0, Some(5)),
];

/// `room` may exceed the rows of the sequences. A scale of the scores is a factor of the queries: sqrt(D) times as
/// large as the scale.
async fn sequences(device: &Rc<Device>, case: &Case, room: Option<usize>, scale: Option<f64>) {
    let &Case(lengths, h, kv, d, factor, window) = case;
    let rows = lengths.iter().sum();
    let name = format!("attention, sequences of {lengths:?}, H {h} KV {kv} D {d} window {window:?}");
    let mut bed = Bed::new(device, &name, (room.unwrap_or(rows), rows));
    bed.cut(lengths);
    if factor > 1.0 {
        // A score of 100 has a rounding error of 1e-5, and exp turns that into the relative error of a probability.
        bed.tolerance = 1e-4;
    }
    let q_values = times(factor, &bed.noise(rows * h * d)).iter().map(|&x| f64::from(x as f32)).collect::<Vec<_>>();
    let q = bed.var_of(h * d, &q_values);
    let ((k, k_values), (v, v_values)) = (bed.var(kv * d), bed.var(kv * d));
    let heads = Heads { query: h, key: kv, size: d };
    let o = attention(&mut bed.rec, &q, &k, &v, Attention { heads, window, scale, cache: None });
    let (_, dout) = bed.seed(&o);
    let of_queries = scale.map_or(1.0, |scale| scale * (d as f64).sqrt());
    let q_values = times(of_queries, &q_values);
    // Each sequence on its own.
    let mut expected: [Vec<f64>; 4] = Default::default();
    let mut from = 0;
    for &t in lengths {
        let shape = AttentionShape { b: 1, t, h, kv, d, window: window.unwrap_or(usize::MAX) };
        let [q, dout] = [&q_values, &dout].map(|values| &values[from * h * d..][..t * h * d]);
        let [k, v] = [&k_values, &v_values].map(|values| &values[from * kv * d..][..t * kv * d]);
        let (dq, dk, dv) = attention_backward(dout, q, k, v, shape);
        let parts = [attention_forward(q, k, v, shape).0, times(of_queries, &dq), dk, dv];
        expected.iter_mut().zip(parts).for_each(|(all, part)| all.extend(part));
        from += t;
    }
    let [o_values, dq, dk, dv] = expected;
    bed.writes("o", &o.data, o_values);
    bed.writes_grad("dq", &q, dq);
    bed.writes_grad("dk", &k, dk);
    bed.writes_grad("dv", &v, dv);
    bed.check().await;
}

/// A prompt of `prompt` tokens in a plan with more room, then single tokens. Each attends to the cache.
async fn decoding(device: &Rc<Device>, prompt: usize, heads: Heads, window: Option<usize>) {
    let context = prompt + 3;
    let Heads { query: h, key: kv, size: d } = heads;
    let shape = AttentionShape { b: 1, t: context, h, kv, d, window: window.unwrap_or(usize::MAX) };
    let mut all = Bed::new(device, "all tokens", (context, context));
    let (q, k, v) = (all.noise(context * h * d), all.noise(context * kv * d), all.noise(context * kv * d));
    let (o, _) = attention_forward(&q, &k, &v, shape);
    let part =
        |values: &[f64], from: usize, rows: usize, cols: usize| values[from * cols..(from + rows) * cols].to_vec();
    // What the cache holds after the tokens seen so far must not matter.
    let room = |label| {
        let tensor = Tensor::owned(device, label, context, kv * d).expect("a tensor");
        tensor.upload(device, &vec![f32::NAN; context * kv * d]);
        tensor
    };
    let cache = Cache { k: room("keys"), v: room("values") };
    for (position, rows) in [(0, (prompt + 2, prompt)), (prompt, (1, 1)), (prompt + 1, (1, 1)), (prompt + 2, (1, 1))] {
        let mut bed =
            Bed::new(device, &format!("attention from {position} with a cache, {heads:?}, window {window:?}"), rows);
        bed.step.position = position as u32;
        let q = bed.var_of(h * d, &part(&q, position, rows.1, h * d));
        let k_new = bed.var_of(kv * d, &part(&k, position, rows.1, kv * d));
        let v_new = bed.var_of(kv * d, &part(&v, position, rows.1, kv * d));
        let how = Attention { heads, window, scale: None, cache: Some(&cache) };
        let found = attention(&mut bed.rec, &q, &k_new, &v_new, how);
        bed.writes("o", &found.data, part(&o, position, rows.1, h * d));
        bed.changes("keys", &cache.k, part(&k, 0, position + rows.1, kv * d));
        bed.changes("values", &cache.v, part(&v, 0, position + rows.1, kv * d));
        bed.check().await;
    }
}

crate::device_tests! {
    /// Whole sequences and a cache in one test, so that they share pipelines.
    async fn attention_equals_its_reference() {
        for shape in SHAPES {
            let device = device(shape).await;
            // A browser's software device needs seconds for each kernel.
            let every = if cfg!(target_arch = "wasm32") && shape != Shape::Cpu { 3 } else { 1 };
            for case in CASES.iter().step_by(every) {
                sequences(&device, case, None, None).await;
            }
            sequences(&device, &CASES[4], Some(70), None).await;
            for case in [&CASES[6], &CASES[11], &CASES[18]] {
                sequences(&device, case, None, Some(0.7)).await;
            }
            let heads = |query, key, size| Heads { query, key, size };
            decoding(&device, 1, heads(1, 1, 4), None).await;
            decoding(&device, 15, heads(3, 1, 36), None).await;
            decoding(&device, 65, heads(4, 2, 32), None).await;
            decoding(&device, 15, heads(2, 1, 256), None).await;
            decoding(&device, 1, heads(1, 1, 4), Some(1)).await;
            decoding(&device, 65, heads(4, 2, 32), Some(17)).await;
            decoding(&device, 70, heads(9, 3, 64), None).await;
        }
    }
}
