//! One long row of numbers in as many buffers as the device's bindings ask for.

use std::rc::Rc;

use super::buffer::{Buffer, Usage};
use super::device::Device;
use super::tensor::Tensor;
use crate::error::Result;

/// Buffers that hold the numbers one after the other, for what the host reads and writes as one piece.
#[derive(Clone)]
pub struct Segments(pub Vec<Tensor>);

impl Segments {
    /// Zeros, in buffers of so many numbers, which are multiples of four. Errors: `GpuLimit`.
    pub fn new(device: &Device, label: &str, lengths: &[usize]) -> Result<Segments> {
        lengths.iter().map(|length| Tensor::owned(device, label, 1, *length)).collect::<Result<_>>().map(Segments)
    }

    pub fn lengths(&self) -> Vec<usize> {
        self.0.iter().map(|tensor| tensor.cols).collect()
    }

    /// How many numbers there are.
    pub fn length(&self) -> usize {
        self.lengths().iter().sum()
    }

    pub fn bytes(&self) -> u64 {
        self.0.iter().map(Tensor::bytes).sum()
    }

    /// Replaces every number.
    pub fn upload(&self, device: &Device, values: &[f32]) {
        assert_eq!(values.len(), self.length(), "how many numbers there is room for");
        let mut rest = values;
        for tensor in &self.0 {
            let (own, others) = rest.split_at(tensor.cols);
            tensor.upload(device, own);
            rest = others;
        }
    }

    /// Copies every number to others of the same lengths.
    pub fn copy_to(&self, device: &Device, others: &Segments) {
        for (from, to) in self.0.iter().zip(&others.0) {
            device.copy(&from.buffer(), from.offset, &to.buffer(), to.offset, from.bytes());
        }
    }

    /// A buffer through which `read` takes one segment after the other.
    pub fn staging(&self, device: &Device, label: &str) -> Result<Rc<Buffer>> {
        let longest = self.0.iter().map(Tensor::bytes).max().unwrap_or(0);
        device.buffer(label, longest, Usage::Staging)
    }

    /// The numbers, or `None` if the CPU gave up because `stop` said so.
    pub async fn read(
        &self,
        device: &Device,
        staging: &Rc<Buffer>,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<f32>>> {
        let mut numbers = Vec::with_capacity(self.length());
        for tensor in &self.0 {
            let ticket = device.start_read(&tensor.buffer(), tensor.offset, staging, tensor.bytes());
            let Some(bytes) = device.finish_read_unless(ticket, stop).await? else { return Ok(None) };
            numbers.extend_from_slice(&bytemuck::pod_collect_to_vec::<u8, f32>(&bytes));
        }
        Ok(Some(numbers))
    }

    /// The numbers, through buffers of their own.
    pub async fn download(&self, device: &Device) -> Result<Vec<f32>> {
        let mut numbers = Vec::with_capacity(self.length());
        for tensor in &self.0 {
            numbers.extend(tensor.download(device).await?);
        }
        Ok(numbers)
    }
}
