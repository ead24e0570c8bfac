//! What the host writes before a submission: one buffer that holds the `Step` uniform and the micro-batch, so that a
//! submission costs one write.

use std::rc::Rc;

use bytemuck::{Pod, Zeroable};

use crate::device::{Buffer, Device, Tensor, Usage};
use crate::error::Result;

/// The uniform of `shaders/shared/step.wesl`, field by field.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Pod, Zeroable)]
pub struct Step {
    pub rows: u32,
    pub labelled: u32,
    pub batch: u32,
    pub time: u32,
    pub position: u32,
    pub step: u32,
    pub micro: u32,
    pub seed: u32,
    pub inv_labels: f32,
    pub strength: f32,
    pub learning_rate: f32,
    pub weight_decay: f32,
    pub clip: f32,
    pub bias_1: f32,
    pub bias_2: f32,
    pub dropout: f32,
}

/// Bytes kept for `Step`: the alignment that every adapter accepts.
const STEP_BYTES: u64 = 256;

pub struct Input {
    pub(crate) buffer: Rc<Buffer>,
    /// Token ids [rows].
    pub tokens: Tensor,
    /// Target ids by row [rows].
    pub labels: Tensor,
    /// The labelled rows in order [labelled].
    pub rows: Tensor,
    /// Position of a row among the labelled ones, 0xffffffff for none [rows].
    pub slot_of_row: Tensor,
    stride: u64,
}

impl Input {
    /// Room for micro-batches of at most `rows` rows.
    pub fn new(device: &Device, rows: usize) -> Result<Rc<Input>> {
        let stride = (rows as u64 * 4).next_multiple_of(256);
        let buffer = device.buffer("input", STEP_BYTES + 4 * stride, Usage::Uniform)?;
        let part = |i: u64| Tensor::in_buffer(buffer.clone(), STEP_BYTES + i * stride, 1, rows);
        Ok(Rc::new(Input {
            tokens: part(0),
            labels: part(1),
            rows: part(2),
            slot_of_row: part(3),
            buffer: buffer.clone(),
            stride,
        }))
    }

    /// Writes the uniform alone.
    pub fn write_step(&self, device: &Device, step: &Step) {
        device.write(&self.buffer, 0, bytemuck::bytes_of(step));
    }

    /// Writes the uniform and the four lists in one go.
    pub fn write(&self, device: &Device, step: &Step, lists: [&[u32]; 4]) {
        let mut bytes = vec![0u8; (STEP_BYTES + 3 * self.stride) as usize + lists[3].len() * 4];
        bytes[..size_of::<Step>()].copy_from_slice(bytemuck::bytes_of(step));
        for (i, list) in lists.iter().enumerate() {
            let from = (STEP_BYTES + i as u64 * self.stride) as usize;
            let list: &[u8] = bytemuck::cast_slice(list);
            let length = list.len().min(self.stride as usize);
            bytes[from..from + length].copy_from_slice(&list[..length]);
        }
        device.write(&self.buffer, 0, &bytes);
    }
}
