//! How the numbers of a frozen matrix are stored: what a kernel binds, how many bytes it takes, and how rows are cut
//! and uploaded.

use half::f16;

use super::blocks::{block_bytes, quantise};
use super::buffer::Usage;
use super::device::Device;
use super::tensor::Tensor;
pub use crate::cpu::Format;
use crate::cpu::Weight;
use crate::error::{Error, Result};

/// The largest number of f16.
const LARGEST_F16: f32 = 65504.0;

impl Format {
    /// The largest number that the format holds.
    pub fn largest(self) -> f32 {
        match self {
            Format::F32 => f32::MAX,
            Format::F16 => LARGEST_F16,
            Format::Int8 => LARGEST_F16 * 127.0,
            Format::Int4 => LARGEST_F16 * 8.0,
        }
    }

    /// The bytes of so many numbers, without scales.
    fn bytes(self, numbers: usize) -> u64 {
        (numbers as u64) * (self.bits() as u64) / 8
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
    /// What a kernel binds, in the order of its bindings: a tensor of words, and one of scales if the format has them.
    operands: Vec<Tensor>,
}

impl Stored {
    /// Allocates a matrix [rows, cols]. `cols` must be a multiple of 4, and of the format's groups.
    pub fn new(device: &Device, label: &str, rows: usize, cols: usize, format: Format) -> Result<Stored> {
        let group = format.group();
        let whole = group.max(4);
        assert!(cols.is_multiple_of(whole), "`{label}` has {cols} columns, which is not a multiple of {whole}");
        // One dense row of four-byte words: kernels do their own row and column arithmetic.
        let dense = |bytes: u64| {
            let words = bytes.div_ceil(4);
            let buffer = device.buffer(label, words * 4, Usage::Storage)?;
            Ok(Tensor::in_buffer(buffer, 0, 1, words as usize))
        };
        let mut operands = vec![dense(format.bytes(rows * cols))?];
        if group > 1 {
            operands.push(dense(scale_bytes(format, rows * cols))?);
        }
        Ok(Stored { rows, cols, format, operands })
    }

    /// Allocates matrices of so many rows, one after the other in the same buffers, so that a kernel can take them as
    /// one. `None` if one of them would begin where nothing can be bound.
    pub fn stack(
        device: &Device,
        label: &str,
        rows: &[usize],
        cols: usize,
        format: Format,
    ) -> Result<Option<Vec<Stored>>> {
        let numbers = rows.iter().map(|rows| rows * cols);
        let firsts = numbers.clone().scan(0, |end, count| Some(std::mem::replace(end, *end + count)));
        let places = firsts.zip(numbers);
        // Where the numbers of each operand begin.
        let begins = |first: usize| [format.bytes(first), scale_bytes(format, first)];
        if places.clone().any(|(first, _)| begins(first).iter().any(|begin| !begin.is_multiple_of(256))) {
            return Ok(None);
        }
        let whole = Stored::new(device, label, rows.iter().sum(), cols, format)?;
        let part = |(first, count): (usize, usize)| {
            let sizes = [format.bytes(count), scale_bytes(format, count)];
            let operands = whole.operands.iter().zip(begins(first)).zip(sizes).map(|((operand, begin), bytes)| {
                Tensor::in_buffer(operand.buffer(), begin, 1, bytes.div_ceil(4) as usize)
            });
            Stored { rows: count / cols, cols, format, operands: operands.collect() }
        };
        Ok(Some(places.map(part).collect()))
    }

    /// All rows of matrices that `stack` has allocated. `None` if others stand between them.
    pub fn joined(parts: &[Stored]) -> Option<Stored> {
        let Stored { cols, format, operands, .. } = parts.first()?;
        if parts.iter().any(|part| (part.cols, part.format) != (*cols, *format)) {
            return None;
        }
        let joined = |i: usize| Tensor::joined(&parts.iter().map(|part| &part.operands[i]).collect::<Vec<_>>());
        let operands = (0..operands.len()).map(joined).collect::<Option<_>>()?;
        Some(Stored { rows: parts.iter().map(|part| part.rows).sum(), cols: *cols, format: *format, operands })
    }

    /// Wraps a tensor, whose numbers are already f32.
    pub fn f32(tensor: Tensor) -> Stored {
        assert!(tensor.cols.is_multiple_of(4), "a matrix has {} columns, which is not a multiple of 4", tensor.cols);
        Stored { rows: tensor.rows, cols: tensor.cols, format: Format::F32, operands: vec![tensor] }
    }

    pub fn operands(&self) -> &[Tensor] {
        &self.operands
    }

    pub fn bytes(&self) -> u64 {
        self.operands.iter().map(Tensor::bytes).sum()
    }

    /// Fills the rows from `first` on, which is a multiple of four. Numbers are rounded to the nearest that the format
    /// holds.
    pub fn upload(&self, device: &Device, first: usize, values: &[f32]) {
        let at = self.format.bytes(first * self.cols);
        match self.format {
            Format::F32 => self.operands[0].write(device, at, bytemuck::cast_slice(values)),
            Format::F16 => {
                let halves: Vec<u16> = values.iter().map(|&x| f16::from_f32(x).to_bits()).collect();
                self.operands[0].write(device, at, bytemuck::cast_slice(&halves));
            }
            Format::Int8 | Format::Int4 => self.upload_blocks(device, first, &quantise(self.format, values)),
        }
    }

    /// Fills the rows from `first` on, which is a multiple of four, from the blocks of ggml that the format is named
    /// after.
    pub fn upload_blocks(&self, device: &Device, first: usize, blocks: &[u8]) {
        let [words, scales] = self.operands.as_slice() else { unreachable!("{:?} has no blocks", self.format) };
        let count = blocks.len() / block_bytes(self.format);
        let (mut numbers, mut halves) = (Vec::with_capacity(blocks.len()), Vec::with_capacity(count * 2 + 2));
        for (half, number) in blocks.chunks_exact(block_bytes(self.format)).map(|block| block.split_at(2)) {
            halves.extend(half);
            numbers.extend(number);
        }
        // Only the last rows of a matrix can end within a word.
        halves.resize(halves.len().next_multiple_of(4), 0);
        let at = first * self.cols;
        words.write(device, self.format.bytes(at), &numbers);
        scales.write(device, scale_bytes(self.format, at), &halves);
    }

    /// The numbers, row by row.
    pub async fn download(&self, device: &Device) -> Result<Vec<f32>> {
        let mut operands = Vec::with_capacity(2);
        for operand in &self.operands {
            operands.push(bytemuck::pod_collect_to_vec::<u8, u32>(&operand.read(device).await?));
        }
        let scales = operands.get(1).map_or(&[][..], Vec::as_slice);
        let mut values = vec![0.0; self.rows * self.cols];
        Weight { format: self.format, words: &operands[0], scales }.copy(0, &mut values);
        Ok(values)
    }
}

/// The bytes of the scales of so many numbers, if the format has them.
fn scale_bytes(format: Format, numbers: usize) -> u64 {
    if format.group() > 1 { (numbers / format.group() * 2) as u64 } else { 0 }
}
