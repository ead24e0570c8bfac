//! What the host writes before a submission: one buffer that holds the `Step` uniforms and the micro-batch, so that a
//! submission costs one write.

use std::rc::Rc;

use crate::device::{Buffer, Device, Step, Tensor, Usage};
use crate::error::Result;

/// Bytes reserved for a `Step`: the alignment that every device accepts.
const STEP_BYTES: u64 = 256;
/// Where the lists begin: after the `Step` of all rows and that of the labelled ones.
const LISTS: u64 = 2 * STEP_BYTES;

/// What a plan learns about its rows besides the `Step` uniforms. A list that a plan does not read is left empty.
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
    buffer: Rc<Buffer>,
    /// The uniform of kernels that compute all rows.
    pub step: Tensor,
    /// The uniform of kernels that compute the labelled rows, packed together: they are all the rows it has.
    pub step_of_labelled: Tensor,
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
        let buffer = device.buffer("input", LISTS + 5 * stride, Usage::Uniform)?;
        let step = |i: u64| Tensor::in_buffer(buffer.clone(), i * STEP_BYTES, 1, STEP_BYTES as usize / 4);
        let part = |i: u64| Tensor::in_buffer(buffer.clone(), LISTS + i * stride, 1, rows);
        Ok(Rc::new(Input {
            step: step(0),
            step_of_labelled: step(1),
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

    /// The most rows of a micro-batch.
    pub fn room(&self) -> usize {
        self.room
    }

    /// Writes only the uniforms.
    pub fn write_step(&self, device: &Device, step: &Step) {
        device.write(&self.buffer, 0, &uniforms(step));
    }

    /// Writes the uniforms and the lists at once.
    pub fn write(&self, device: &Device, step: &Step, lists: &Lists) {
        let mut bytes = vec![0u8; (LISTS + 4 * self.stride) as usize + lists.slot_of_row.len() * 4];
        bytes[..LISTS as usize].copy_from_slice(&uniforms(step));
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
            let from = (LISTS + i as u64 * self.stride) as usize;
            let list: &[u8] = bytemuck::cast_slice(list);
            bytes[from..from + list.len()].copy_from_slice(list);
        }
        device.write(&self.buffer, 0, &bytes);
    }
}

/// The bytes of both uniforms.
fn uniforms(step: &Step) -> [u8; LISTS as usize] {
    let of_labelled = Step { rows: step.labelled, first_row: step.first_labelled, ..*step };
    let mut bytes = [0; LISTS as usize];
    for (step, room) in [step, &of_labelled].into_iter().zip(bytes.chunks_mut(STEP_BYTES as usize)) {
        room[..size_of::<Step>()].copy_from_slice(bytemuck::bytes_of(step));
    }
    bytes
}
