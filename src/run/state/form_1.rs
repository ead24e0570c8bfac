//! The first form of a run state stored p, m, v and the best adapter in one piece each, in the layout of the device's
//! buffers at that time. Only this file still knows that layout: the matrices follow each other in the order of the
//! model, each begins at a multiple of 64 numbers, and ranks are padded with zeros to a multiple of four.

const ALIGNMENT: usize = 64;
const RANK_MULTIPLE: usize = 4;

/// Reads one matrix after the other.
pub(super) struct Reader<'a> {
    flat: &'a [f32],
    at: usize,
}

impl Reader<'_> {
    pub fn new(flat: &[f32]) -> Reader<'_> {
        Reader { flat, at: 0 }
    }

    /// The next matrix without its padding, or `None` if the numbers end first. PEFT's names identify A [R, in], whose
    /// rows are padded, and B [out, R], whose columns are padded. Any other matrix belongs to a model and has no
    /// padding.
    pub fn next(&mut self, name: &str, [rows, cols]: [usize; 2]) -> Option<Vec<f32>> {
        let padded = |n: usize, which: &str| match name.ends_with(which) {
            true => n.next_multiple_of(RANK_MULTIPLE),
            false => n,
        };
        let (all_rows, stride) = (padded(rows, ".lora_A.weight"), padded(cols, ".lora_B.weight"));
        let start = self.at.next_multiple_of(ALIGNMENT);
        self.at = start + all_rows * stride;
        let matrix = self.flat.get(start..self.at)?;
        Some(matrix.chunks(stride).take(rows).flat_map(|row| &row[..cols]).copied().collect())
    }

    /// How many numbers there should be, once every matrix has been read.
    pub fn expected(&self) -> usize {
        self.at.next_multiple_of(ALIGNMENT)
    }
}
