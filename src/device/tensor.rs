//! Tensors: contiguous, row-major, two-dimensional; f32, or f16 for frozen weights. One is either a slot of the pool,
//! shared in time with others, or a range of a buffer of its own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use half::f16;

use super::card::{Buffer, Device, Usage};
use crate::error::Result;

/// Activation memory of all plans of one model. A slot is free again when the last tensor in it is dropped, which
/// happens while plans are recorded; buffers are added, never resized, so the memory is the largest plan's, not the
/// sum.
#[derive(Clone, Default)]
pub struct Pool(Rc<RefCell<Slots>>);

#[derive(Default)]
struct Slots {
    sizes: Vec<u64>,
    buffers: Vec<Option<Rc<Buffer>>>,
    free: BTreeMap<u64, Vec<usize>>,
}

pub(crate) struct Slot {
    id: usize,
    bytes: u64,
    pool: Pool,
}

impl Slot {
    pub(crate) fn id(&self) -> usize {
        self.id
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.pool.0.borrow_mut().free.entry(self.bytes).or_default().push(self.id);
    }
}

#[derive(Clone)]
pub(crate) enum Place {
    Pooled(Rc<Slot>),
    Owned(Rc<Buffer>),
}

/// How numbers are stored. Kernels compute in f32 whatever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    F32,
    /// Two numbers in a u32: no optional feature of the adapter is needed.
    F16,
}

impl Format {
    fn bytes(self) -> u64 {
        match self {
            Format::F32 => 4,
            Format::F16 => 2,
        }
    }

    /// The feature of the kernels that read a weight.
    pub(crate) fn feature(self) -> Option<&'static str> {
        match self {
            Format::F32 => None,
            Format::F16 => Some("f16"),
        }
    }
}

#[derive(Clone)]
pub struct Tensor {
    pub rows: usize,
    pub cols: usize,
    /// Where it starts in its buffer, in bytes: a multiple of 256.
    pub offset: u64,
    pub format: Format,
    pub(crate) place: Place,
}

impl Pool {
    /// A tensor whose memory comes back to the pool when its last clone is dropped. Takes the smallest free slot of at
    /// most twice the size.
    pub fn tensor(&self, rows: usize, cols: usize) -> Tensor {
        let bytes = (rows * cols.next_multiple_of(4) * 4).max(16) as u64;
        let mut slots = self.0.borrow_mut();
        let fitting = slots.free.range(bytes..=bytes * 2).find(|(_, ids)| !ids.is_empty()).map(|(&size, _)| size);
        let (id, size) =
            match fitting.and_then(|size| slots.free.get_mut(&size).and_then(|ids| ids.pop()).map(|id| (id, size))) {
                Some(found) => found,
                None => {
                    slots.sizes.push(bytes);
                    slots.buffers.push(None);
                    (slots.sizes.len() - 1, bytes)
                }
            };
        Tensor {
            rows,
            cols,
            offset: 0,
            format: Format::F32,
            place: Place::Pooled(Rc::new(Slot { id, bytes: size, pool: self.clone() })),
        }
    }

    /// Gives every slot its buffer. Errors: `GpuLimit`.
    pub(crate) fn allocate(&self, device: &Device) -> Result<()> {
        let mut slots = self.0.borrow_mut();
        for id in 0..slots.sizes.len() {
            if slots.buffers[id].is_none() {
                slots.buffers[id] = Some(device.buffer("activation", slots.sizes[id], Usage::Storage)?);
            }
        }
        Ok(())
    }

    pub(crate) fn buffer(&self, id: usize) -> Option<Rc<Buffer>> {
        self.0.borrow().buffers.get(id).cloned().flatten()
    }

    pub fn slots(&self) -> usize {
        self.0.borrow().sizes.len()
    }

    pub fn bytes(&self) -> u64 {
        self.0.borrow().sizes.iter().sum()
    }
}

impl Tensor {
    /// A tensor in a buffer of its own: what the host reads or writes, and what outlives a plan.
    pub fn owned(device: &Device, label: &str, rows: usize, cols: usize) -> Result<Tensor> {
        let bytes = (rows * cols.next_multiple_of(4) * 4) as u64;
        Ok(Tensor::in_buffer(device.buffer(label, bytes, Usage::Storage)?, 0, rows, cols))
    }

    pub fn in_buffer(buffer: Rc<Buffer>, offset: u64, rows: usize, cols: usize) -> Tensor {
        Tensor { rows, cols, offset, format: Format::F32, place: Place::Owned(buffer) }
    }

    /// A frozen matrix in a buffer of its own; `cols` is a multiple of 4.
    pub fn stored(device: &Device, label: &str, rows: usize, cols: usize, format: Format) -> Result<Tensor> {
        let buffer = device.buffer(label, (rows * cols) as u64 * format.bytes(), Usage::Storage)?;
        Ok(Tensor { format, ..Tensor::in_buffer(buffer, 0, rows, cols) })
    }

    /// Rows `first…` of the tensor, `rows` of them; the start must fall on a multiple of 256 bytes.
    pub fn slice(&self, first: usize, rows: usize) -> Tensor {
        let offset = self.offset + (first * self.cols.next_multiple_of(4)) as u64 * self.format.bytes();
        debug_assert!(offset.is_multiple_of(256));
        Tensor { rows, offset, ..self.clone() }
    }

    /// Bytes, with columns rounded up to a multiple of four.
    pub fn bytes(&self) -> u64 {
        (self.rows * self.cols.next_multiple_of(4)) as u64 * self.format.bytes()
    }

    /// Nobody else holds this memory, so it may be written in place.
    pub(crate) fn is_sole_owner(&self, own_clones: usize) -> bool {
        match &self.place {
            Place::Pooled(slot) => Rc::strong_count(slot) <= own_clones,
            Place::Owned(_) => true,
        }
    }

    pub(crate) fn buffer(&self) -> Option<Rc<Buffer>> {
        match &self.place {
            Place::Pooled(slot) => slot.pool.buffer(slot.id),
            Place::Owned(buffer) => Some(buffer.clone()),
        }
    }

    /// The numbers, row by row. Pooled tensors hold what the last plan left there: for tests.
    pub async fn download(&self, device: &Device) -> Result<Vec<f32>> {
        let Some(buffer) = self.buffer() else { return Ok(Vec::new()) };
        let bytes = device.read(&buffer, self.offset, self.bytes()).await?;
        let padded: Vec<f32> = match self.format {
            Format::F32 => bytemuck::pod_collect_to_vec(&bytes),
            Format::F16 => bytemuck::pod_collect_to_vec::<u8, u16>(&bytes)
                .into_iter()
                .map(|bits| f16::from_bits(bits).to_f32())
                .collect(),
        };
        let stride = self.cols.next_multiple_of(4);
        Ok(padded.chunks(stride).flat_map(|row| row.iter().take(self.cols).copied()).collect())
    }

    /// Fills the tensor; `values` has rows x cols numbers, cols a multiple of 4.
    pub fn upload(&self, device: &Device, values: &[f32]) {
        self.upload_at(device, 0, values);
    }

    /// Fills numbers `first…` of the tensor; in f16 they are rounded to the nearest, and an even number of them starts
    /// at an even place.
    pub fn upload_at(&self, device: &Device, first: usize, values: &[f32]) {
        let Some(buffer) = self.buffer() else { return };
        let at = self.offset + first as u64 * self.format.bytes();
        match self.format {
            Format::F32 => device.write(&buffer, at, bytemuck::cast_slice(values)),
            Format::F16 => {
                let halves: Vec<u16> = values.iter().map(|&x| f16::from_f32(x).to_bits()).collect();
                device.write(&buffer, at, bytemuck::cast_slice(&halves));
            }
        }
    }
}
