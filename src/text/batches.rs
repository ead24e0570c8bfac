//! Which rows a step takes, as a pure function of (seed, step), and the form in which the device receives them.

use super::rows::Row;
use crate::random::SplitMix64;

/// The order of the data. An epoch uses each row once; its last batch may be smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batches {
    pub rows: usize,
    /// Rows per step.
    pub batch: usize,
    pub seed: u64,
    /// If false, rows stay in file order.
    pub shuffle: bool,
}

impl Batches {
    /// The indices of the rows that `step` takes; steps count from 0.
    pub fn indices(&self, step: u32) -> Vec<usize> {
        let steps = self.steps_per_epoch();
        let (Some(epoch), Some(at)) = (step.checked_div(steps), step.checked_rem(steps)) else { return Vec::new() };
        let first = self.batch.saturating_mul(at as usize);
        let order = if self.shuffle { permutation(self.rows, self.seed, epoch) } else { (0..self.rows).collect() };
        order.into_iter().skip(first).take(self.batch).collect()
    }

    pub fn steps_per_epoch(&self) -> u32 {
        if self.batch == 0 { 0 } else { self.rows.div_ceil(self.batch) as u32 }
    }
}

/// The order of `rows` rows in an epoch: a Fisher-Yates shuffle from the last index down to 1 that swaps index i with
/// floor(random·(i+1) / 2⁶⁴). The random numbers come from SplitMix64, seeded with `epoch` xor the first number of
/// SplitMix64 seeded with `seed`.
fn permutation(rows: usize, seed: u64, epoch: u32) -> Vec<usize> {
    let mut random = SplitMix64(SplitMix64(seed).next_u64() ^ u64::from(epoch));
    let mut order: Vec<usize> = (0..rows).collect();
    for i in (1..rows).rev() {
        // The product of two u64 fits in a u128.
        let other = u128::from(random.next_u64()).wrapping_mul((i as u128).wrapping_add(1)) >> 64;
        order.swap(i, other as usize);
    }
    order
}

/// What one micro-batch of B rows of T tokens sends to the device. Token t of row b has position b·T + t. A row holds
/// one sequence, or several one after the other that do not see each other.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MicroBatch {
    /// B.
    pub batch: usize,
    /// T.
    pub seq_len: usize,
    /// [B·T] input ids.
    pub tokens: Vec<u32>,
    /// [B·T] the id to predict at each position, 0 where there is no label.
    pub labels: Vec<u32>,
    /// [B·T] the positions that have a label, in order, then zeros.
    pub rows: Vec<u32>,
    /// [B·T] the position at which the sequence of each position begins.
    pub starts: Vec<u32>,
    /// [B·T] the inverse of `rows`: the index of each position in it, [`NO_SLOT`](Self::NO_SLOT) if it has no label.
    pub slot_of_row: Vec<u32>,
    /// Number of positions that have a label.
    pub labelled: u32,
    /// Number of inputs that are tokens, not padding.
    pub real_tokens: u32,
    /// If it is a part of a larger micro-batch: how many positions that has before it, and how many with a label.
    pub first_row: u32,
    pub first_labelled: u32,
}

impl MicroBatch {
    pub const NO_SLOT: u32 = u32::MAX;

    /// At most `batch` rows of T = `seq_len`, none of them shared.
    ///
    /// # Panics
    ///
    /// As [`MicroBatch::packed`].
    pub fn assemble(rows: &[&Row], batch: usize, seq_len: usize) -> MicroBatch {
        MicroBatch::packed(&rows.chunks(1).collect::<Vec<_>>(), batch, seq_len)
    }

    /// At most `batch` rows of T = `seq_len`, each shared by a group. Each of a group takes the positions that it needs
    /// and the last one what is left. Missing rows at the end are filled with rows that have no label.
    ///
    /// # Panics
    ///
    /// With more groups, with one that does not fit into a row, and with a row that was laid out for another T: what
    /// does not fit would not be trained on.
    pub fn packed(groups: &[&[&Row]], batch: usize, seq_len: usize) -> MicroBatch {
        assert!(groups.len() <= batch, "{} rows for a micro-batch of {batch}", groups.len());
        let mut micro = MicroBatch {
            batch,
            seq_len,
            tokens: vec![],
            labels: vec![],
            rows: vec![],
            starts: vec![],
            slot_of_row: vec![],
            labelled: 0,
            real_tokens: 0,
            first_row: 0,
            first_labelled: 0,
        };
        for group in groups {
            let mut left = seq_len;
            for (row, after) in group.iter().zip((0..group.len()).rev()) {
                let taken = if after == 0 { left } else { row.positions() };
                assert!(row.positions() <= left, "a group of {} that does not fit into a row", group.len());
                left = left.saturating_sub(taken);
                micro.push_sequence(row, taken, seq_len);
            }
        }
        micro.labelled = micro.rows.len() as u32;
        let positions = batch.saturating_mul(seq_len);
        for start in (micro.starts.len()..positions).step_by(seq_len.max(1)) {
            micro.starts.resize(start.saturating_add(seq_len), start as u32);
        }
        for list in [&mut micro.tokens, &mut micro.labels, &mut micro.rows] {
            list.resize(positions, 0);
        }
        micro.slot_of_row.resize(positions, Self::NO_SLOT);
        micro
    }

    /// Makes it the part that comes after `before` in a larger micro-batch.
    pub fn follow(&mut self, before: &MicroBatch) {
        self.first_row = before.first_row.saturating_add(before.tokens.len() as u32);
        self.first_labelled = before.first_labelled.saturating_add(before.labelled);
    }

    /// Appends the first `taken` positions of a row as a sequence.
    fn push_sequence(&mut self, row: &Row, taken: usize, seq_len: usize) {
        let length = row.labels.len();
        assert_eq!((row.ids.len(), length), (seq_len.saturating_add(1), seq_len), "a row of another length");
        let labels = row.ids.iter().skip(1).zip(&row.labels).map(|(next, trained)| trained.then_some(*next));
        let start = self.tokens.len();
        for (id, label) in row.ids.iter().copied().zip(labels).take(taken) {
            self.push(id, label);
        }
        self.starts.resize(self.tokens.len(), start as u32);
        self.real_tokens = self.real_tokens.saturating_add(row.tokens.min(taken) as u32);
    }

    /// Appends one position.
    fn push(&mut self, id: u32, label: Option<u32>) {
        self.slot_of_row.push(label.map_or(Self::NO_SLOT, |_| self.rows.len() as u32));
        self.rows.extend(label.map(|_| self.tokens.len() as u32));
        self.labels.push(label.unwrap_or(0));
        self.tokens.push(id);
    }
}
