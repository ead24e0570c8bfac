//! Copies of the flat buffers, made through buffers that are allocated before the first step.

use std::rc::Rc;

use crate::adapter::Params;
use crate::device::{Buffer, Device, Segments};
use crate::error::{Error, Result};

pub(super) struct Snapshots {
    candidate: Segments,
    staging: Rc<Buffer>,
}

impl Snapshots {
    pub fn new(device: &Device, params: &Params) -> Result<Snapshots> {
        let candidate = Segments::new(device, "candidate", &params.p.lengths())?;
        let staging = candidate.staging(device, "adapter staging")?;
        Ok(Snapshots { candidate, staging })
    }

    /// Copies the parameters in their state after everything submitted so far.
    pub fn take(&self, device: &Device, params: &Params) {
        params.p.copy_to(device, &self.candidate);
    }

    /// The last copy taken.
    pub async fn read(&self, device: &Device) -> Result<Vec<f32>> {
        self.read_from(device, &self.candidate).await
    }

    /// The numbers of a flat buffer, which is as long as the parameters.
    pub async fn read_from(&self, device: &Device, flat: &Segments) -> Result<Vec<f32>> {
        flat.read(device, &self.staging, &|| false).await?.ok_or_else(not_stopped)
    }
}

fn not_stopped() -> Error {
    Error::Internal { what: "a read was given up, but nobody asked for that".to_string() }
}
