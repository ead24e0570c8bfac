//! Copies of the flat buffers, made through buffers that are allocated before the first step.

use std::rc::Rc;

use crate::adapter::Params;
use crate::device::{Buffer, Device, Tensor, Usage};
use crate::error::Result;

pub(super) struct Snapshots {
    candidate: Tensor,
    staging: Rc<Buffer>,
    bytes: u64,
}

impl Snapshots {
    pub fn new(device: &Device, params: &Params) -> Result<Snapshots> {
        let bytes = params.length as u64 * 4;
        Ok(Snapshots {
            candidate: Tensor::owned(device, "candidate", 1, params.length)?,
            staging: device.buffer("adapter staging", bytes, Usage::Staging)?,
            bytes,
        })
    }

    /// Copies the parameters in their state after everything submitted so far.
    pub fn take(&self, device: &Device, params: &Params) {
        device.copy(&params.p, 0, &self.candidate.buffer(), 0, self.bytes);
    }

    /// The last copy taken.
    pub async fn read(&self, device: &Device) -> Result<Vec<f32>> {
        self.read_from(device, &self.candidate).await
    }

    /// The numbers of a flat tensor, which is as long as the parameters.
    pub async fn read_from(&self, device: &Device, flat: &Tensor) -> Result<Vec<f32>> {
        let ticket = device.start_read(&flat.buffer(), 0, &self.staging, self.bytes);
        Ok(bytemuck::pod_collect_to_vec(&device.finish_read(ticket).await?))
    }
}
