//! Tensors: contiguous, row-major, two-dimensional, f32. A tensor is either a slot of the pool, which other tensors use
//! at other times, or a range of a buffer that outlives plans.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::buffer::{Buffer, Usage};
use super::device::Device;
use crate::error::Result;

/// Activation memory shared by all plans of one model. A slot is free again when its last tensor is dropped, which
/// happens while plans are recorded. Buffers are added, never resized, so the memory needed is that of the largest
/// plan, not the sum.
#[derive(Clone, Default)]
pub struct Pool(Rc<RefCell<Slots>>);

#[derive(Default)]
struct Slots {
    sizes: Vec<u64>,
    buffers: Vec<Option<Rc<Buffer>>>,
    free: BTreeMap<u64, Vec<usize>>,
    /// The slots before this one are given up: no new tensor takes them.
    given_up: usize,
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
        let mut slots = self.pool.0.borrow_mut();
        if self.id >= slots.given_up {
            slots.free.entry(self.bytes).or_default().push(self.id);
        }
    }
}

#[derive(Clone)]
pub(crate) enum Place {
    Pooled(Rc<Slot>),
    Owned(Rc<Buffer>),
}

#[derive(Clone)]
pub struct Tensor {
    pub rows: usize,
    pub cols: usize,
    /// Where it starts in its buffer, in bytes: a multiple of 256.
    pub offset: u64,
    pub(crate) place: Place,
}

impl Pool {
    /// A tensor whose memory returns to the pool when its last clone is dropped. It takes the smallest free slot of at
    /// most twice its size.
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
        Tensor { rows, cols, offset: 0, place: Place::Pooled(Rc::new(Slot { id, bytes: size, pool: self.clone() })) }
    }

    /// The buffer of a slot, which is made for the first plan that is finished. Errors: `GpuLimit`, `OutOfMemory`.
    pub(crate) fn allocated(&self, device: &Device, id: usize) -> Result<Rc<Buffer>> {
        let slots = &mut *self.0.borrow_mut();
        match &slots.buffers[id] {
            Some(buffer) => Ok(buffer.clone()),
            None => {
                let buffer = device.buffer("activation", slots.sizes[id], Usage::Storage)?;
                Ok(slots.buffers[id].insert(buffer).clone())
            }
        }
    }

    /// Starts again with no memory. That of the plans so far is freed with them.
    pub fn give_up(&self) {
        let slots = &mut *self.0.borrow_mut();
        slots.given_up = slots.sizes.len();
        slots.buffers.fill(None);
        slots.free.clear();
    }

    /// Later plans get new buffers; those of the plans so far stay theirs.
    pub(crate) fn forget_buffers(&self) {
        self.0.borrow_mut().buffers.fill(None);
    }

    pub(crate) fn buffer(&self, id: usize) -> Rc<Buffer> {
        let buffer = self.0.borrow().buffers[id].clone();
        buffer.unwrap_or_else(|| panic!("slot {id} of the pool has no memory: no plan that uses it is finished"))
    }

    pub fn slots(&self) -> usize {
        let slots = self.0.borrow();
        slots.sizes.len() - slots.given_up
    }

    pub fn bytes(&self) -> u64 {
        let slots = self.0.borrow();
        slots.sizes[slots.given_up..].iter().sum()
    }
}

impl Tensor {
    /// A tensor in a buffer of its own, for what the host reads or writes and what outlives a plan.
    pub fn owned(device: &Device, label: &str, rows: usize, cols: usize) -> Result<Tensor> {
        let bytes = (rows * cols.next_multiple_of(4) * 4) as u64;
        Ok(Tensor::in_buffer(device.buffer(label, bytes, Usage::Storage)?, 0, rows, cols))
    }

    pub fn in_buffer(buffer: Rc<Buffer>, offset: u64, rows: usize, cols: usize) -> Tensor {
        Tensor { rows, cols, offset, place: Place::Owned(buffer) }
    }

    /// The `rows` rows from `first` on. The first must begin at a multiple of 256 bytes.
    pub fn slice(&self, first: usize, rows: usize) -> Tensor {
        assert!(first + rows <= self.rows, "rows {first}..{} of a tensor of {} rows", first + rows, self.rows);
        let offset = self.offset + (first * self.cols.next_multiple_of(4)) as u64 * 4;
        assert!(offset.is_multiple_of(256), "row {first} begins at byte {offset}, which cannot be bound");
        Tensor { rows, offset, ..self.clone() }
    }

    /// The numbers from where the first of these tensors begins to where the last ends, in one row. `None` unless all
    /// are in one buffer that outlives plans, and none begins before the first.
    pub(crate) fn spanning(tensors: &[&Tensor]) -> Option<Tensor> {
        let first = tensors.first()?;
        let Place::Owned(buffer) = &first.place else { return None };
        let mut end = first.offset;
        for tensor in tensors {
            match &tensor.place {
                Place::Owned(other) if Rc::ptr_eq(other, buffer) && tensor.offset >= first.offset => {}
                _ => return None,
            }
            end = end.max(tensor.offset + tensor.bytes());
        }
        Some(Tensor::in_buffer(buffer.clone(), first.offset, 1, ((end - first.offset) / 4) as usize))
    }

    /// The numbers of tensors in one row. `None` unless each but the first begins where the one before it ends.
    pub(super) fn joined(tensors: &[&Tensor]) -> Option<Tensor> {
        let whole = Tensor::spanning(tensors)?;
        let ends = tensors.iter().map(|tensor| tensor.offset + tensor.bytes());
        tensors[1..].iter().zip(ends).all(|(tensor, end)| tensor.offset == end).then_some(whole)
    }

    /// The size in bytes, with columns rounded up to a multiple of four.
    pub fn bytes(&self) -> u64 {
        (self.rows * self.cols.next_multiple_of(4)) as u64 * 4
    }

    /// Whether nothing else holds this memory, so that it may be written in place.
    pub(crate) fn is_sole_owner(&self, own_clones: usize) -> bool {
        match &self.place {
            Place::Pooled(slot) => Rc::strong_count(slot) <= own_clones,
            Place::Owned(_) => true,
        }
    }

    /// The buffer. Panics for a pooled tensor whose plan is not finished, because it has no memory yet.
    pub fn buffer(&self) -> Rc<Buffer> {
        match &self.place {
            Place::Pooled(slot) => slot.pool.buffer(slot.id),
            Place::Owned(buffer) => buffer.clone(),
        }
    }

    /// Reads the bytes, padding included. A pooled tensor holds what the last plan left there, which only tests want.
    pub(super) async fn read(&self, device: &Device) -> Result<Vec<u8>> {
        device.read(&self.buffer(), self.offset, self.bytes()).await
    }

    /// Writes `bytes` from byte `at` of the tensor on.
    pub(super) fn write(&self, device: &Device, at: u64, bytes: &[u8]) {
        let end = at + bytes.len() as u64;
        assert!(end <= self.bytes(), "{end} bytes are written to a tensor of {} x {}", self.rows, self.cols);
        device.write(&self.buffer(), self.offset + at, bytes);
    }

    /// The numbers, row by row, without padding.
    pub async fn download(&self, device: &Device) -> Result<Vec<f32>> {
        let padded: Vec<f32> = bytemuck::pod_collect_to_vec(&self.read(device).await?);
        let stride = self.cols.next_multiple_of(4);
        Ok(padded.chunks(stride).flat_map(|row| row.iter().take(self.cols).copied()).collect())
    }

    /// Fills the tensor with rows x cols numbers, where cols is a multiple of 4.
    pub fn upload(&self, device: &Device, values: &[f32]) {
        self.write(device, 0, bytemuck::cast_slice(values));
    }
}
