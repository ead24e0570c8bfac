//! A tensor of a file that is being written.

use super::dtype::Dtype;

/// A tensor as the head of a file has it.
#[derive(Clone)]
pub struct Written {
    pub name: String,
    /// The rows first.
    pub shape: Vec<usize>,
    pub dtype: Dtype,
}

impl Written {
    /// How many bytes its numbers have.
    pub fn bytes(&self) -> u64 {
        let numbers = self.shape.iter().fold(1_u64, |product, n| product.saturating_mul(*n as u64));
        let (block, bytes) = self.dtype.block();
        numbers.div_ceil(block).saturating_mul(bytes)
    }
}
