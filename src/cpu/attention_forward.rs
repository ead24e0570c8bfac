//! o = softmax(q kᵀ / sqrt(D) + causal mask) v; lse = log Σ exp(scores). A query sees the last WINDOW keys of its
//! sequence up to its own, which is at position + row. H / KV query heads share a key head. In decoding, k and v are
//! the cache.

use super::binding::all;
use super::exp::exp_all;
use super::heads::{BLOCK, Heads, Part, scores, visible};
use super::parallel::each_task;
use super::product::{Matrix, Threads, product};
use super::{Constants, Run};

pub fn twin(constants: &Constants<'_>) -> Run {
    let heads = Heads::of(constants);
    Box::new(move |bound| {
        let [step, q, k, v, starts, o, stats] = all(bound);
        let step = step.step();
        let position = step.position as usize;
        let (q, k, v) = (q.numbers(), k.numbers(), v.numbers());
        let parts = Part::all(&step, starts, heads.query);
        let done = each_task(parts.len(), |task| {
            let Part { start, count, head } = parts[task];
            let mut out = vec![0.0; count * heads.size];
            let mut sums = vec![[0.0; 2]; count];
            let mut block = vec![0.0; BLOCK.min(count) * (position + count)];
            for first in (0..count).step_by(BLOCK) {
                let queries = BLOCK.min(count - first);
                let seen = heads.keys_of(position + first, queries);
                let (first_key, keys) = (start + seen.start, seen.len());
                let block = &mut block[..queries * keys];
                let key_head = heads.key_of(head);
                let k = heads.keys(k, first_key, keys, key_head);
                scores(block, heads.queries(q, start + first, queries, head), k, heads.scale);
                let rows = block.chunks_mut(keys).zip(heads.seen(position + first, queries));
                for (i, (row, seen)) in rows.enumerate() {
                    let visible = visible(row, seen);
                    let top = visible.iter().copied().fold(f32::MIN, f32::max);
                    let total = exp_all(visible, top);
                    visible.iter_mut().for_each(|p| *p /= total);
                    sums[first + i][0] = top + total.ln();
                }
                let p = Matrix::new(block, queries, keys, keys);
                let out = &mut out[first * heads.size..];
                product(out, heads.size, p, heads.keys(v, first_key, keys, key_head), 1.0, false, Threads::One);
            }
            (out, sums)
        });
        let (o, stats) = (o.numbers_mut(), stats.numbers_mut());
        for (part, (out, sums)) in parts.iter().zip(done) {
            part.put(heads.query, heads.size, &out, o);
            part.put(heads.query, 2, sums.as_flattened(), stats);
        }
    })
}
