//! Which rows a step takes, as a pure function of (seed, step), and the form in which the GPU gets them.

use super::dataset::Row;
use crate::random::SplitMix64;

/// The order of the data. An epoch is each row once; its last batch may be smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batches {
    /// How many rows there are.
    pub rows: usize,
    /// How many of them a step takes.
    pub batch: usize,
    pub seed: u64,
    /// File order if not.
    pub shuffle: bool,
}

impl Batches {
    /// The rows of a step, counted from 0.
    pub fn indices(&self, step: u32) -> Vec<usize> {
        let steps = self.steps_per_epoch();
        if steps == 0 {
            return Vec::new();
        }
        let first = (step % steps) as usize * self.batch;
        let order = if self.shuffle { permutation(self.rows, self.seed, step / steps) } else { (0..self.rows).collect() };
        order.into_iter().skip(first).take(self.batch).collect()
    }

    pub fn steps_per_epoch(&self) -> u32 {
        if self.batch == 0 { 0 } else { self.rows.div_ceil(self.batch) as u32 }
    }
}

/// The order of `rows` rows in an epoch: Fisher-Yates from the last place down, place i changing with place
/// floor(random·(i+1) / 2⁶⁴), on SplitMix64 begun at (the first number of SplitMix64 begun at `seed`) xor `epoch`.
fn permutation(rows: usize, seed: u64, epoch: u32) -> Vec<usize> {
    let mut random = SplitMix64(SplitMix64(seed).next_u64() ^ u64::from(epoch));
    let mut order: Vec<usize> = (0..rows).collect();
    for place in (1..rows).rev() {
        let other = (u128::from(random.next_u64()) * (place as u128 + 1)) >> 64;
        order.swap(place, other as usize);
    }
    order
}

/// What one micro-batch of B rows of T tokens sends to the GPU. Token t of row b stands at b·T + t, its "place".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MicroBatch {
    /// [B·T] the inputs.
    pub tokens: Vec<u32>,
    /// [B·T] the id to predict at each place, 0 where there is no target.
    pub targets: Vec<u32>,
    /// [B·T] the places with a target in order, then zeros.
    pub rows: Vec<u32>,
    /// [B·T] the inverse: where in `rows` a place stands, [`NO_SLOT`](Self::NO_SLOT) if it has no target.
    pub slot_of_row: Vec<u32>,
    /// How many places have a target.
    pub labelled: u32,
    /// How many inputs are tokens rather than padding.
    pub real_tokens: u32,
}

impl MicroBatch {
    pub const NO_SLOT: u32 = u32::MAX;

    /// At most `batch` rows of T = `seq_len`; rows missing at the end are filled with rows that have no target.
    pub fn assemble(rows: &[&Row], batch: usize, seq_len: usize) -> MicroBatch {
        let places = batch * seq_len;
        let mut micro = MicroBatch {
            tokens: vec![0; places],
            targets: vec![0; places],
            rows: vec![0; places],
            slot_of_row: vec![Self::NO_SLOT; places],
            labelled: 0,
            real_tokens: 0,
        };
        for (b, row) in rows.iter().take(batch).enumerate() {
            for t in 0..seq_len.min(row.targets.len()) {
                let place = b * seq_len + t;
                micro.tokens[place] = row.ids[t];
                if row.targets[t] {
                    micro.targets[place] = row.ids[t + 1];
                    micro.rows[micro.labelled as usize] = place as u32;
                    micro.slot_of_row[place] = micro.labelled;
                    micro.labelled += 1;
                }
            }
            micro.real_tokens += row.tokens as u32;
        }
        micro
    }
}
