//! Causal grouped-query attention that never holds a T x T matrix (Dao 2023: a running maximum in the forward pass, the
//! log-sum-exp kept for the backward pass).

use super::first_write;
use crate::device::{Constants, Tensor};
use crate::plan::{Recorder, Var};

/// Head counts and head size. D is a multiple of 4 and at most 256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    pub query: usize,
    pub key: usize,
    pub size: usize,
}

impl Heads {
    pub(super) fn constants(&self) -> Constants {
        vec![("H", self.query.into()), ("KV", self.key.into()), ("D", self.size.into())]
    }

    /// The features of a kernel that suits the size of these heads.
    fn features(&self) -> &'static [&'static str] {
        if self.size <= 32 { &["d32"] } else { &[] }
    }
}

/// The keys and values that one layer has seen so far, [room, KV x D] each.
#[derive(Clone)]
pub struct Cache {
    pub k: Tensor,
    pub v: Tensor,
}

/// Which queries see which keys.
#[derive(Clone, Copy)]
pub struct Attention<'a> {
    pub heads: Heads,
    /// A query sees this many keys, its own included; `None`: all before it.
    pub window: Option<usize>,
    /// The factor of the scores; `None`: 1 / sqrt(D).
    pub scale: Option<f64>,
    /// What one sequence, which is being decoded, has seen so far.
    pub cache: Option<&'a Cache>,
}

impl Attention<'_> {
    fn constants(&self) -> Constants {
        let mut constants = self.heads.constants();
        constants.extend(self.window.map(|window| ("WINDOW", window.into())));
        let factor = |scale: f64| (scale * (self.heads.size as f64).sqrt()) as f32;
        constants.extend(self.scale.map(|scale| ("FACTOR", factor(scale).into())));
        constants
    }
}

/// Records o = softmax(scale · q kᵀ) v within the sequences of the input. With a cache the new keys and values are
/// appended to it at `Step.position`, and the queries attend to the cache.
pub fn attention(rec: &mut Recorder, q: &Var, k: &Var, v: &Var, how: Attention<'_>) -> Var {
    let Attention { heads, cache, .. } = how;
    let rows = q.data.rows;
    let trained = [q, k, v].iter().any(|x| x.grad.is_some());
    let o = Var::new(rec.tensor(rows, heads.query * heads.size), trained);
    // For each query the logarithm of its Σ exp(scores), and room for what the backward pass needs besides.
    let stats = rec.tensor(rows, 2 * heads.query);
    let starts = rec.input.starts.clone();
    let (keys, values) = match cache {
        Some(cache) => {
            let cols = heads.key * heads.size;
            let operands = [&k.data, &v.data, &cache.k, &cache.v];
            rec.dispatch("attention_cache", &[], vec![("C", cols.into())], &[("quads", rows * cols / 4)], &operands);
            (cache.k.clone(), cache.v.clone())
        }
        None => (k.data.clone(), v.data.clone()),
    };
    let (features, constants) = (heads.features(), how.constants());
    // An invocation of a direct form has four rows, or one of large heads.
    let items = if features.is_empty() { rows } else { rows.div_ceil(4) };
    let extents = [
        ("head size", heads.size),
        ("queries", rows * (heads.query / heads.key)),
        ("rows", rows),
        ("key heads", heads.key),
        ("query items", items * heads.query),
        ("key items", items * heads.key),
    ];
    let operands = [&q.data, &keys, &values, &starts, &o.data, &stats];
    rec.dispatch("attention_forward", features, constants.clone(), &extents, &operands);
    let [dq, dk, dv] = [q, k, v].map(|x| x.grad.clone());
    let (q, out) = (q.data.clone(), o.data.clone());
    rec.on_backward_of(&o.grad, move |rec, dout| {
        let dq = first_write(rec, &dq, rows, heads.query * heads.size);
        let operands = [&q, &keys, &values, &out, &dout, &starts, &stats, &dq];
        rec.dispatch("attention_backward_q", features, constants.clone(), &extents, &operands);
        let dk = first_write(rec, &dk, rows, heads.key * heads.size);
        let dv = first_write(rec, &dv, rows, heads.key * heads.size);
        let operands = [&q, &keys, &values, &dout, &starts, &stats, &dk, &dv];
        rec.dispatch("attention_backward_kv", features, constants, &extents, &operands);
    });
    o
}
