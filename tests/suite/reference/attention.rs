//! Causal attention (Vaswani et al. 2017, section 3.2.1) whose H query heads share KV key and value heads (Ainslie et
//! al. 2023, "GQA").

/// q and o are [B, T, H, D]; k and v are [B, T, KV, D]; KV divides H. A query sees the last `window` keys up to its
/// own.
#[derive(Clone, Copy, Debug)]
pub struct AttentionShape {
    pub b: usize,
    pub t: usize,
    pub h: usize,
    pub kv: usize,
    pub d: usize,
    pub window: usize,
}

impl AttentionShape {
    fn query(&self, b: usize, t: usize, h: usize) -> usize {
        ((b * self.t + t) * self.h + h) * self.d
    }

    /// Query heads h with the same h / (H / KV) read the same key and value head.
    fn key(&self, b: usize, t: usize, h: usize) -> usize {
        ((b * self.t + t) * self.kv + h / (self.h / self.kv)) * self.d
    }

    fn seen(&self, t: usize) -> std::ops::RangeInclusive<usize> {
        (t + 1).saturating_sub(self.window)..=t
    }

    fn scale(&self) -> f64 {
        1.0 / (self.d as f64).sqrt()
    }
}

/// s[j] = q·k[j] / √D for the keys j that t sees, p = softmax(s), o = Σⱼ p[j] v[j]. Returns o and lse [B, H, T] =
/// ln Σⱼ exp s[j].
pub fn attention_forward(q: &[f64], k: &[f64], v: &[f64], s: AttentionShape) -> (Vec<f64>, Vec<f64>) {
    let mut o = vec![0.0; q.len()];
    let mut lse = Vec::with_capacity(s.b * s.h * s.t);
    for b in 0..s.b {
        for h in 0..s.h {
            for t in 0..s.t {
                let (p, row_lse) = probabilities(q, k, s, [b, t, h]);
                lse.push(row_lse);
                for (p, j) in p.iter().zip(s.seen(t)) {
                    for i in 0..s.d {
                        o[s.query(b, t, h) + i] += p * v[s.key(b, j, h) + i];
                    }
                }
            }
        }
    }
    (o, lse)
}

/// With dp[j] = do·v[j]: ds[j] = p[j] (dp[j] - Σₖ p[k] dp[k]), dq = Σⱼ ds[j] k[j] / √D, dk[j] = Σ ds[j] q / √D and
/// dv[j] = Σ p[j] do, where the last two sum over every query, of every head, that reads j. `dout` is do. Returns (dq,
/// dk, dv).
pub fn attention_backward(
    dout: &[f64],
    q: &[f64],
    k: &[f64],
    v: &[f64],
    s: AttentionShape,
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let (mut dq, mut dk, mut dv) = (vec![0.0; q.len()], vec![0.0; k.len()], vec![0.0; v.len()]);
    for b in 0..s.b {
        for h in 0..s.h {
            for t in 0..s.t {
                let (p, _) = probabilities(q, k, s, [b, t, h]);
                let query = s.query(b, t, h);
                let dp: Vec<f64> = s.seen(t).map(|j| dot(&dout[query..][..s.d], &v[s.key(b, j, h)..][..s.d])).collect();
                let mean = dot(&p, &dp);
                for ((p, dp), j) in p.iter().zip(&dp).zip(s.seen(t)) {
                    let ds = p * (dp - mean) * s.scale();
                    let key = s.key(b, j, h);
                    for i in 0..s.d {
                        dq[query + i] += ds * k[key + i];
                        dk[key + i] += ds * q[query + i];
                        dv[key + i] += p * dout[query + i];
                    }
                }
            }
        }
    }
    (dq, dk, dv)
}

/// The softmax row of query [b, t, h] over the keys that it sees, and its lse. The largest score is subtracted so that
/// exp cannot overflow.
fn probabilities(q: &[f64], k: &[f64], s: AttentionShape, [b, t, h]: [usize; 3]) -> (Vec<f64>, f64) {
    let q = &q[s.query(b, t, h)..][..s.d];
    let scores: Vec<f64> = s.seen(t).map(|j| dot(q, &k[s.key(b, j, h)..][..s.d]) * s.scale()).collect();
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let lse = max + scores.iter().map(|score| (score - max).exp()).sum::<f64>().ln();
    (scores.iter().map(|score| (score - lse).exp()).collect(), lse)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
