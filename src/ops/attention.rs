//! Causal grouped-query attention that never holds a T x T matrix (Dao 2023: running maximum forward, log-sum-exp kept
//! for the way back).

use super::groups_of_64;
use crate::device::{Constants, Shape, Tensor};
use crate::plan::{Grad, Recorder, Var};

/// Head counts and size. D is a multiple of 4, at most 128.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    pub query: usize,
    pub key: usize,
    pub size: usize,
}

impl Heads {
    pub(super) fn constants(&self) -> Constants {
        vec![("H", self.query as u32), ("KV", self.key as u32), ("D", self.size as u32)]
    }

    /// The register size that holds a head.
    fn feature(&self) -> &'static str {
        match self.size {
            0..=32 => "d32",
            33..=64 => "d64",
            _ => "d128",
        }
    }
}

/// Keys and values of one layer seen so far, [context, KV x D] each.
#[derive(Clone)]
pub struct Cache {
    pub k: Tensor,
    pub v: Tensor,
}

/// Records o = softmax(q kᵀ / sqrt(D)) v for `batch` sequences of up to rows / batch tokens. With a cache (decoding,
/// one sequence) the new keys and values are appended to it at `Step.position`, and it is what the queries see.
pub fn attention(
    rec: &mut Recorder,
    q: &Var,
    k: &Var,
    v: &Var,
    heads: Heads,
    batch: usize,
    cache: Option<&Cache>,
) -> Var {
    let rows = q.data.rows;
    let trained = [q, k, v].iter().any(|x| x.grad.is_some());
    let o = Var::new(rec.tensor(rows, heads.query * heads.size), trained);
    let lse = rec.tensor(rows, heads.query);
    let (keys, values) = match cache {
        Some(cache) => {
            let cols = heads.key * heads.size;
            let groups = groups_of_64(rows * cols / 4);
            rec.dispatch(
                "attention_cache",
                &[],
                vec![("C", cols as u32)],
                groups,
                &[&k.data, &v.data, &cache.k, &cache.v],
            );
            (cache.k.clone(), cache.v.clone())
        }
        None => (k.data.clone(), v.data.clone()),
    };
    let features = rec.shaped(&[heads.feature()]);
    let time = rows / batch;
    let by_query = match rec.device.shape {
        Shape::Tiled => [(time * (heads.query / heads.key)).div_ceil(64), heads.key, batch],
        Shape::Direct => [rows.div_ceil(8), heads.query, 1],
    };
    let by_key = match rec.device.shape {
        Shape::Tiled => [time.div_ceil(64), heads.key, batch],
        Shape::Direct => [rows.div_ceil(8), heads.key, 1],
    };
    rec.dispatch(
        "attention_forward",
        &features,
        heads.constants(),
        by_query,
        &[&q.data, &keys, &values, &o.data, &lse],
    );
    if let Some(dout) = o.grad.clone() {
        let grads = [q, k, v].map(|x| x.grad.clone());
        let (q, out) = (q.data.clone(), o.data.clone());
        rec.on_backward(move |rec| {
            let Some(dout) = rec.read(&dout) else { return };
            let [dq, dk, dv] = grads.map(Option::unwrap_or_default);
            let delta = rec.tensor(rows, heads.query);
            let dq = fresh(rec, &dq, rows, heads.query * heads.size);
            rec.dispatch(
                "attention_backward_q",
                &features,
                heads.constants(),
                by_query,
                &[&q, &keys, &values, &out, &dout, &lse, &dq, &delta],
            );
            let dk = fresh(rec, &dk, rows, heads.key * heads.size);
            let dv = fresh(rec, &dv, rows, heads.key * heads.size);
            rec.dispatch(
                "attention_backward_kv",
                &features,
                heads.constants(),
                by_key,
                &[&q, &keys, &values, &dout, &lse, &delta, &dk, &dv],
            );
        });
    }
    o
}

/// Attention is the only reader of its queries, keys and values, so it is the first writer of their gradients.
fn fresh(rec: &mut Recorder, grad: &Grad, rows: usize, cols: usize) -> Tensor {
    let (tensor, accumulate) = rec.write(grad, rows, cols);
    assert!(!accumulate, "queries, keys and values have one reader");
    tensor
}
