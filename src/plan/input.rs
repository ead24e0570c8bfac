//! What the host writes before a submission: one buffer that holds the `Step` uniform and the micro-batch, so that a
//! submission costs one write.

use std::rc::Rc;

use crate::device::{Buffer, Device, Step, Tensor, Usage};
use crate::error::Result;

/// Bytes reserved for `Step`: the alignment that every device accepts.
const STEP_BYTES: u64 = 256;

/// What a plan learns about its rows besides the `Step` uniform. A list that a plan does not read is left empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lists<'a> {
    /// Token ids [rows].
    pub tokens: &'a [u32],
    /// The id to predict in each row [rows].
    pub labels: &'a [u32],
    /// The labelled rows in order [labelled].
    pub rows: &'a [u32],
    /// The row at which the sequence of each row begins [rows]. Left empty: all rows are one sequence.
    pub starts: &'a [u32],
    /// Position of each row among the labelled ones, or 0xffffffff [rows].
    pub slot_of_row: &'a [u32],
}

/// The buffer and the tensors in it that kernels read, one for each of the [`Lists`].
pub struct Input {
    pub(crate) buffer: Rc<Buffer>,
    pub tokens: Tensor,
    pub labels: Tensor,
    pub rows: Tensor,
    pub starts: Tensor,
    pub slot_of_row: Tensor,
    /// The most numbers that a list holds, and the bytes from one list to the next.
    room: usize,
    stride: u64,
}

impl Input {
    /// Allocates room for micro-batches of at most `rows` rows.
    pub fn new(device: &Device, rows: usize) -> Result<Rc<Input>> {
        let stride = (rows as u64 * 4).next_multiple_of(256);
        let buffer = device.buffer("input", STEP_BYTES + 5 * stride, Usage::Uniform)?;
        let part = |i: u64| Tensor::in_buffer(buffer.clone(), STEP_BYTES + i * stride, 1, rows);
        Ok(Rc::new(Input {
            tokens: part(0),
            labels: part(1),
            rows: part(2),
            starts: part(3),
            slot_of_row: part(4),
            buffer: buffer.clone(),
            room: rows,
            stride,
        }))
    }

    /// Writes only the uniform.
    pub fn write_step(&self, device: &Device, step: &Step) {
        device.write(&self.buffer, 0, bytemuck::bytes_of(step));
    }

    /// Writes the uniform and the lists at once.
    pub fn write(&self, device: &Device, step: &Step, lists: &Lists) {
        let mut bytes = vec![0u8; (STEP_BYTES + 4 * self.stride) as usize + lists.slot_of_row.len() * 4];
        bytes[..size_of::<Step>()].copy_from_slice(bytemuck::bytes_of(step));
        let named = [
            ("tokens", lists.tokens),
            ("labels", lists.labels),
            ("rows", lists.rows),
            ("starts", lists.starts),
            ("slot_of_row", lists.slot_of_row),
        ];
        for (i, (name, list)) in named.into_iter().enumerate() {
            assert!(
                list.len() <= self.room,
                "`{name}` has {} numbers, but the input has room for {}",
                list.len(),
                self.room
            );
            let from = (STEP_BYTES + i as u64 * self.stride) as usize;
            let list: &[u8] = bytemuck::cast_slice(list);
            bytes[from..from + list.len()].copy_from_slice(list);
        }
        device.write(&self.buffer, 0, &bytes);
    }
}
