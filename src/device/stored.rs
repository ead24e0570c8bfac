//! How the numbers of a frozen matrix are stored: what a kernel binds, how many bytes it takes, and how rows are cut
//! and uploaded. No other file knows the bytes per number.

use half::f16;

use super::buffer::Usage;
use super::device::Device;
use super::tensor::Tensor;
use crate::error::{Error, Result};

/// The storage format. Kernels compute in f32 in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    F32,
    /// Two numbers per u32, which needs no optional feature of the device.
    F16,
}

impl Format {
    fn bytes(self) -> u64 {
        match self {
            Format::F32 => 4,
            Format::F16 => 2,
        }
    }

    /// How many rows of `cols` numbers fit into one binding. Numbers count as f32, so that a matrix is cut at the same
    /// rows in every format. Errors: `GpuLimit` if fewer than four rows fit.
    pub fn rows_per_binding(device: &Device, label: &str, cols: usize) -> Result<usize> {
        let (bytes, limit) = (cols as u64 * 4, device.max_binding);
        let most = (limit / bytes.max(1)) as usize;
        match most >= 4 {
            true => Ok(most),
            false => Err(Error::GpuLimit { what: format!("four rows of `{label}`"), needed: bytes * 4, limit }),
        }
    }
}

/// Rows of a frozen matrix on the device.
#[derive(Clone)]
pub struct Stored {
    pub rows: usize,
    pub cols: usize,
    pub format: Format,
    /// What a kernel binds, in the order of its bindings: one tensor of words for f32 and f16.
    operands: Vec<Tensor>,
}

impl Stored {
    /// Allocates a matrix [rows, cols]. `cols` must be a multiple of 4.
    pub fn new(device: &Device, label: &str, rows: usize, cols: usize, format: Format) -> Result<Stored> {
        assert!(cols.is_multiple_of(4), "`{label}` has {cols} columns, which is not a multiple of 4");
        let buffer = device.buffer(label, (rows * cols) as u64 * format.bytes(), Usage::Storage)?;
        // One dense row of four-byte words: kernels do their own row and column arithmetic.
        let words = (rows * cols) * format.bytes() as usize / 4;
        Ok(Stored { rows, cols, format, operands: vec![Tensor::in_buffer(buffer, 0, 1, words)] })
    }

    /// Wraps a tensor, whose numbers are already f32.
    pub fn f32(tensor: Tensor) -> Stored {
        assert!(tensor.cols.is_multiple_of(4), "a matrix has {} columns, which is not a multiple of 4", tensor.cols);
        Stored { rows: tensor.rows, cols: tensor.cols, format: Format::F32, operands: vec![tensor] }
    }

    pub fn operands(&self) -> &[Tensor] {
        &self.operands
    }

    /// The kernel feature that reads this format.
    pub fn feature(&self) -> Option<&'static str> {
        match self.format {
            Format::F32 => None,
            Format::F16 => Some("f16"),
        }
    }

    pub fn bytes(&self) -> u64 {
        self.operands.iter().map(Tensor::bytes).sum()
    }

    /// Fills the rows from `first` on. For f16 the numbers are rounded to the nearest.
    pub fn upload(&self, device: &Device, first: usize, values: &[f32]) {
        let [words] = self.operands.as_slice() else { unreachable!("{:?} has one operand", self.format) };
        let at = (first * self.cols) as u64 * self.format.bytes();
        match self.format {
            Format::F32 => words.write(device, at, bytemuck::cast_slice(values)),
            Format::F16 => {
                let halves: Vec<u16> = values.iter().map(|&x| f16::from_f32(x).to_bits()).collect();
                words.write(device, at, bytemuck::cast_slice(&halves));
            }
        }
    }

    /// The numbers, row by row.
    pub async fn download(&self, device: &Device) -> Result<Vec<f32>> {
        let [words] = self.operands.as_slice() else { unreachable!("{:?} has one operand", self.format) };
        let bytes = words.read(device).await?;
        let bytes = &bytes[..self.rows * self.cols * self.format.bytes() as usize];
        Ok(match self.format {
            Format::F32 => bytemuck::pod_collect_to_vec(bytes),
            Format::F16 => {
                let halves = bytemuck::pod_collect_to_vec::<u8, u16>(bytes);
                halves.into_iter().map(|bits| f16::from_bits(bits).to_f32()).collect()
            }
        })
    }
}
