//! With p = exp(q·k / sqrt(D) - lse), delta = Σ_keys p (do · v), which is do · o:
//! dq = Σ_keys p (do · v - delta) k / sqrt(D). Also stores delta for attention_backward_kv.

use super::binding::all;
use super::dot::dot;
use super::heads::{BLOCK, Heads, Part, probabilities, score_gradients, scores};
use super::parallel::each_task;
use super::product::{Matrix, Threads, product};
use super::{Constants, Run};

pub fn twin(constants: &Constants<'_>) -> Run {
    let heads = Heads::of(constants);
    Box::new(move |bound| {
        let [step, q, k, v, _, dout, starts, stats, dq] = all(bound);
        let (q, k, v) = (q.numbers(), k.numbers(), v.numbers());
        let (dout, known): (_, &[[f32; 2]]) = (dout.numbers(), bytemuck::cast_slice(stats.numbers()));
        let parts = Part::all(&step.step(), starts, heads.query);
        let done = each_task(parts.len(), |task| {
            let Part { start, count, head } = parts[task];
            let mut sums = Vec::with_capacity(count);
            let mut out = vec![0.0; count * heads.size];
            let mut p = vec![0.0; BLOCK.min(count) * count];
            let mut dp = p.clone();
            for first in (0..count).step_by(BLOCK) {
                let queries = BLOCK.min(count - first);
                let seen = heads.keys_of(first, queries);
                let (first_key, keys) = (start + seen.start, seen.len());
                let (p, dp) = (&mut p[..queries * keys], &mut dp[..queries * keys]);
                let key_head = heads.key_of(head);
                let k = heads.keys(k, first_key, keys, key_head);
                scores(p, heads.queries(q, start + first, queries, head), k, heads.scale);
                let lse = (first..first + queries).map(|row| known[(start + row) * heads.query + head][0]);
                probabilities(p, keys, heads.seen(first, queries), lse.clone());
                let v = heads.keys(v, first_key, keys, key_head);
                scores(dp, heads.queries(dout, start + first, queries, head), v, 1.0);
                // From the same products that it is subtracted from, so that a row that sees one key has no gradient.
                let deltas = p.chunks(keys).zip(dp.chunks(keys)).map(|(p, dp)| dot(p, dp));
                sums.extend(lse.zip(deltas).map(|(lse, delta)| [lse, delta]));
                score_gradients(p, dp, keys, heads.scale, sums[first..].iter().map(|[_, delta]| *delta));
                let ds = Matrix::new(p, queries, keys, keys);
                product(&mut out[first * heads.size..], heads.size, ds, k, 1.0, false, Threads::One);
            }
            (out, sums)
        });
        let (dq, stats) = (dq.numbers_mut(), stats.numbers_mut());
        for (part, (out, sums)) in parts.iter().zip(done) {
            part.put(heads.query, heads.size, &out, dq);
            part.put(heads.query, 2, sums.as_flattened(), stats);
        }
    })
}
