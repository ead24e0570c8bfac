//! What the attention twins share: where a head's rows are, and blocks of probabilities. A block is a few queries of
//! one head beside every key that they see, so that the products run through `gemm` and no T x T matrix exists.

use std::ops::Range;

use super::Constants;
use super::binding::Slice;
use super::exp::exp;
use super::product::{Matrix, Threads, product};
use super::step::Step;

/// Queries per block.
pub(super) const BLOCK: usize = 64;

#[derive(Clone, Copy)]
pub(super) struct Heads {
    pub query: usize,
    pub key: usize,
    pub size: usize,
    pub scale: f32,
    /// How many keys a query sees, its own included.
    window: usize,
}

/// One head of one sequence: `count` rows from row `start` on.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub start: usize,
    pub count: usize,
    pub head: usize,
}

impl Part {
    /// The parts of a micro-batch, in order of rows. `starts` says for each row at which row its sequence begins.
    pub fn all(step: &Step, starts: &Slice<'_>, heads: usize) -> Vec<Part> {
        let sequences = starts.words()[..step.rows as usize].chunk_by(|a, b| a == b);
        let parts = |of: &[u32]| {
            let (start, count) = (of[0] as usize, of.len());
            (0..heads).map(move |head| Part { start, count, head })
        };
        sequences.flat_map(parts).collect()
    }

    /// Copies the part's rows of `width` numbers into data [rows, heads, width].
    pub fn put(&self, heads: usize, width: usize, from: &[f32], to: &mut [f32]) {
        for (i, row) in from.chunks(width).enumerate() {
            let at = ((self.start + i) * heads + self.head) * width;
            to[at..at + width].copy_from_slice(row);
        }
    }
}

impl Heads {
    pub fn of(constants: &Constants<'_>) -> Heads {
        let (query, key, size) = (constants.size("H"), constants.size("KV"), constants.size("D"));
        let window = constants.size_or("WINDOW", usize::MAX);
        Heads { query, key, size, scale: constants.number_or("FACTOR", 1.0) / (size as f32).sqrt(), window }
    }

    /// The keys that any of `count` queries sees, the first of which is at a position.
    pub fn keys_of(&self, position: usize, count: usize) -> Range<usize> {
        position + 1 - self.window.min(position + 1)..position + count
    }

    /// Which of those keys each query sees.
    pub fn seen(&self, position: usize, count: usize) -> impl Iterator<Item = Range<usize>> {
        let (heads, first) = (*self, self.keys_of(position, count).start);
        (position..position + count).map(move |position| {
            let keys = heads.keys_of(position, 1);
            keys.start - first..keys.end - first
        })
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

/// Turns the scores of queries into probabilities exp(score - lse). `seen` says which of the `keys` each query sees;
/// the others become zero.
pub(super) fn probabilities(
    scores: &mut [f32],
    keys: usize,
    seen: impl Iterator<Item = Range<usize>>,
    lse: impl Iterator<Item = f32>,
) {
    for ((row, seen), lse) in scores.chunks_mut(keys).zip(seen).zip(lse) {
        for score in visible(row, seen) {
            *score = exp(*score - lse);
        }
    }
}

/// The part of a row that its query sees; the rest becomes zero.
pub(super) fn visible(row: &mut [f32], seen: Range<usize>) -> &mut [f32] {
    row[..seen.start].fill(0.0);
    row[seen.end..].fill(0.0);
    &mut row[seen]
}

/// Turns probabilities into the gradient of the scores: p · (dp - delta) · scale.
pub(super) fn score_gradients(p: &mut [f32], dp: &[f32], keys: usize, scale: f32, delta: impl Iterator<Item = f32>) {
    for ((p, dp), delta) in p.chunks_mut(keys).zip(dp.chunks(keys)).zip(delta) {
        for (p, dp) in p.iter_mut().zip(dp) {
            *p *= (dp - delta) * scale;
        }
    }
}
