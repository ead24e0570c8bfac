//! What the attention twins share: where a head's rows are, and blocks of probabilities. A block is a few queries of
//! one head beside every key that they see, so that the products run through `gemm` and no T x T matrix exists.

use super::Constants;
use super::exp::exp;
use super::product::{Matrix, Threads, product};

/// Queries per block.
pub(super) const BLOCK: usize = 64;

#[derive(Clone, Copy)]
pub(super) struct Heads {
    pub query: usize,
    pub key: usize,
    pub size: usize,
    pub scale: f32,
}

impl Heads {
    pub fn of(constants: &Constants<'_>) -> Heads {
        let (query, key, size) = (constants.size("H"), constants.size("KV"), constants.size("D"));
        Heads { query, key, size, scale: 1.0 / (size as f32).sqrt() }
    }

    /// The key head that a query head reads.
    pub fn key_of(&self, head: usize) -> usize {
        head / (self.query / self.key)
    }

    /// `count` rows of a query head, from row `first` on, of data [rows, H, D].
    pub fn queries<'a>(&self, data: &'a [f32], first: usize, count: usize, head: usize) -> Matrix<'a> {
        let stride = self.query * self.size;
        Matrix::new(&data[first * stride + head * self.size..], count, self.size, stride)
    }

    /// `count` rows of a key head, from row `first` on, of data [rows, KV, D].
    pub fn keys<'a>(&self, data: &'a [f32], first: usize, count: usize, head: usize) -> Matrix<'a> {
        let stride = self.key * self.size;
        Matrix::new(&data[first * stride + head * self.size..], count, self.size, stride)
    }
}

/// y = a bᵀ for a block, scaled.
pub(super) fn scores(y: &mut [f32], a: Matrix<'_>, b: Matrix<'_>, scale: f32) {
    product(y, b.rows, a, b.transposed(), scale, false, Threads::One);
}

/// Turns the scores of queries, the first of which sees `seen` keys and each later one a key more, into probabilities
/// exp(score - lse). Keys out of sight become zero.
pub(super) fn probabilities(scores: &mut [f32], keys: usize, seen: usize, lse: impl Iterator<Item = f32>) {
    for (i, (row, lse)) in scores.chunks_mut(keys).zip(lse).enumerate() {
        let (visible, hidden) = row.split_at_mut(seen + i);
        for score in visible {
            *score = exp(*score - lse);
        }
        hidden.fill(0.0);
    }
}

/// Turns probabilities into the gradient of the scores: p · (dp - delta) · scale.
pub(super) fn score_gradients(p: &mut [f32], dp: &[f32], keys: usize, scale: f32, delta: impl Iterator<Item = f32>) {
    for ((p, dp), delta) in p.chunks_mut(keys).zip(dp.chunks(keys)).zip(delta) {
        for (p, dp) in p.iter_mut().zip(dp) {
            *p *= (dp - delta) * scale;
        }
    }
}

/// Σ a b in eight sums, which the compiler turns into SIMD.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let (a_lanes, b_lanes) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a_lanes.remainder().iter().zip(b_lanes.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_lanes.zip(b_lanes) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + rest
}
