//! The most that the device does, beside which everything else is printed.

use std::rc::Rc;

use tabtune::device::Device;
use tabtune::error::{Error, Result};
use tabtune::ops::{MostFlops, most_bytes, most_flops};
use tabtune::plan::Timer;

/// In 1e9 a second.
#[derive(Debug, Clone, Copy)]
pub struct Probes {
    /// Two for each multiply-add.
    pub flops: f64,
    /// The invocations that reach it.
    pub invocations: usize,
    /// Read and written together.
    pub bytes: f64,
}

impl Probes {
    pub async fn measure(device: &Rc<Device>, timer: Timer) -> Result<Probes> {
        let measurements = super::measurements(device);
        let never = || Error::Internal { what: "a probe that nobody stopped was given up".to_string() };
        let most = most_flops(device, timer, measurements, &|| false).await?;
        let MostFlops { per_second, invocations } = most.ok_or_else(never)?;
        let bytes = most_bytes(device, timer, measurements).await?;
        Ok(Probes { flops: per_second / 1e9, invocations, bytes: bytes / 1e9 })
    }
}
