//! For one key, summed over the queries that see it and the heads that share it:
//! dv = Σ p do, dk = Σ p (do · v - delta) q / sqrt(D)

use super::binding::all;
use super::heads::{BLOCK, Heads, Part, probabilities, score_gradients, scores};
use super::parallel::each_task;
use super::product::{Matrix, Threads, product};
use super::{Constants, Run};

pub fn twin(constants: &Constants<'_>) -> Run {
    let heads = Heads::of(constants);
    Box::new(move |bound| {
        let [step, q, k, v, dout, starts, stats, dk, dv] = all(bound);
        let (q, k, v, dout) = (q.numbers(), k.numbers(), v.numbers(), dout.numbers());
        let stats: &[[f32; 2]] = bytemuck::cast_slice(stats.numbers());
        let shared_by = heads.query / heads.key;
        let parts = Part::all(&step.step(), starts, heads.key);
        let done = each_task(parts.len(), |task| {
            let Part { start, count, head: key_head } = parts[task];
            let mut sum_k = vec![0.0; count * heads.size];
            let mut sum_v = sum_k.clone();
            let mut p = vec![0.0; BLOCK.min(count) * count];
            let mut dp = p.clone();
            for head in key_head * shared_by..(key_head + 1) * shared_by {
                for first in (0..count).step_by(BLOCK) {
                    let queries = BLOCK.min(count - first);
                    let seen = heads.keys_of(first, queries);
                    let (first_key, keys) = (start + seen.start, seen.len());
                    let (p, dp) = (&mut p[..queries * keys], &mut dp[..queries * keys]);
                    let stats = (first..first + queries).map(|row| stats[(start + row) * heads.query + head]);
                    let q = heads.queries(q, start + first, queries, head);
                    scores(p, q, heads.keys(k, first_key, keys, key_head), heads.scale);
                    probabilities(p, keys, heads.seen(first, queries), stats.clone().map(|[lse, _]| lse));
                    let dout = heads.queries(dout, start + first, queries, head);
                    let block = Matrix::new(p, queries, keys, keys);
                    let sums = seen.start * heads.size..;
                    product(&mut sum_v[sums.clone()], heads.size, block.transposed(), dout, 1.0, true, Threads::One);
                    scores(dp, dout, heads.keys(v, first_key, keys, key_head), 1.0);
                    score_gradients(p, dp, keys, heads.scale, stats.map(|[_, delta]| delta));
                    let block = Matrix::new(p, queries, keys, keys);
                    product(&mut sum_k[sums], heads.size, block.transposed(), q, 1.0, true, Threads::One);
                }
            }
            (sum_k, sum_v)
        });
        let (dk, dv) = (dk.numbers_mut(), dv.numbers_mut());
        for (part, (sum_k, sum_v)) in parts.iter().zip(done) {
            part.put(heads.key, heads.size, &sum_k, dk);
            part.put(heads.key, heads.size, &sum_v, dv);
        }
    })
}
