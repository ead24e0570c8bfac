//! The operands of a product: frozen weights, in slabs that fit a binding, and trained matrices.

use std::rc::Rc;

use crate::device::{Device, Stored, Tensor};
use crate::error::Result;

/// A frozen matrix [rows, cols], cut into slabs of rows that fit the device's largest binding.
#[derive(Clone)]
pub struct Weight {
    pub rows: usize,
    pub cols: usize,
    pub slabs: Rc<Vec<Slab>>,
}

/// The rows of a weight from `first` on.
#[derive(Clone)]
pub struct Slab {
    pub first: usize,
    pub stored: Stored,
}

/// Rows of a trained matrix: a range of the flat buffers of parameters and gradients. Columns are padded with zeros to
/// a multiple of four.
#[derive(Clone)]
pub struct Param {
    pub value: Tensor,
    pub grad: Tensor,
}

/// The operand W of `project`. The type says that a frozen one has no gradient.
#[derive(Clone, Copy)]
pub enum Matrix<'a> {
    Frozen(&'a Weight),
    /// In slabs of rows, one after the other.
    Trained(&'a [Param]),
}

impl Weight {
    /// Bytes on the device.
    pub fn bytes(&self) -> u64 {
        self.slabs.iter().map(|slab| slab.stored.bytes()).sum()
    }

    /// Bytes of the largest buffer.
    pub fn largest_operand(&self) -> u64 {
        let operands = self.slabs.iter().flat_map(|slab| slab.stored.operands());
        operands.map(|operand| operand.bytes()).max().unwrap_or(0)
    }

    /// The numbers, row by row.
    pub async fn download(&self, device: &Device) -> Result<Vec<f32>> {
        let mut values = Vec::with_capacity(self.rows * self.cols);
        for slab in self.slabs.iter() {
            values.extend(slab.stored.download(device).await?);
        }
        Ok(values)
    }
}

impl Matrix<'_> {
    /// Rows of the whole matrix.
    pub fn rows(&self) -> usize {
        match self {
            Matrix::Frozen(weight) => weight.rows,
            Matrix::Trained(slabs) => slabs.iter().map(|param| param.value.rows).sum(),
        }
    }

    /// The slabs that kernels read.
    pub fn slabs(&self) -> Rc<Vec<Slab>> {
        match self {
            Matrix::Frozen(weight) => weight.slabs.clone(),
            Matrix::Trained(slabs) => Rc::new(
                with_first(slabs)
                    .map(|(first, param)| Slab { first, stored: Stored::f32(param.value.clone()) })
                    .collect(),
            ),
        }
    }
}

/// The slabs of a trained matrix, each with its first row.
pub(super) fn with_first(slabs: &[Param]) -> impl Iterator<Item = (usize, &Param)> {
    slabs.iter().scan(0, |end, param| {
        let first = *end;
        *end += param.value.rows;
        Some((first, param))
    })
}
