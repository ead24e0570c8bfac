//! The most that the device does: multiply-adds in registers, and bytes copied from memory to memory.

use std::rc::Rc;

use tabtune::device::{Device, Pool, Tensor};
use tabtune::error::Result;
use tabtune::plan::{Input, Plan, Progress, Recorder};

use super::clock::Clock;

const LOOPS: usize = 2048;
/// Of the register probe. The most is far more than any card holds at one time.
const FEWEST_INVOCATIONS: usize = 1 << 12;
const MOST_INVOCATIONS: usize = 1 << 22;
/// What twice the invocations must gain to count as a gain, and how often it may fail to come.
const GAIN: f64 = 1.01;
const FLAT: usize = 2;
/// In seconds: what takes so long keeps a device busy.
const LONG: f64 = 0.5;
/// Of what is copied, so that no cache holds it.
const CARD_BYTES: u64 = 256 << 20;
const SOFTWARE_BYTES: u64 = 64 << 20;

#[derive(Debug, Clone, Copy)]
pub struct Probes {
    /// In 1e9 a second: two for each multiply-add.
    pub flops: f64,
    /// The invocations that reach it.
    pub invocations: usize,
    /// In 1e9 a second, read and written together.
    pub bytes: f64,
}

impl Probes {
    pub async fn measure(device: &Rc<Device>, clock: Clock) -> Result<Probes> {
        let (flops, invocations) = registers(device, clock).await?;
        Ok(Probes { flops, invocations, bytes: memory(device, clock).await? })
    }
}

/// The rate of more and more invocations, until more of them gain nothing: a card is large, and few leave most of it
/// idle.
async fn registers(device: &Rc<Device>, clock: Clock) -> Result<(f64, usize)> {
    let (mut best, mut at, mut flat) = (0.0, 0, 0);
    let mut count = FEWEST_INVOCATIONS;
    while count <= MOST_INVOCATIONS && flat < FLAT {
        let y = Tensor::owned(device, "registers", count, 4)?;
        let extents = [("invocations", count)];
        let plan = record(device, "fma_probe", vec![("LOOPS", LOOPS.into())], &extents, &[&y]).await?;
        let seconds = clock.seconds(device, &plan, 1).await?;
        let rate = plan.costs(1).iter().filter_map(|cost| cost.flops).sum::<f64>() / seconds / 1e9;
        flat = if rate > best * GAIN { 0 } else { flat + 1 };
        if rate > best {
            (best, at) = (rate, count);
        }
        if seconds > LONG {
            break;
        }
        count *= 2;
    }
    Ok((best, at))
}

async fn memory(device: &Rc<Device>, clock: Clock) -> Result<f64> {
    let most = if device.software { SOFTWARE_BYTES } else { CARD_BYTES };
    let quads = (most.min(device.max_binding) / 16) as usize;
    let tensor = || Tensor::owned(device, "memory", 1, quads * 4);
    let (x, y) = device.checked(|| Ok((tensor()?, tensor()?))).await?;
    let plan = record(device, "copy_probe", vec![("QUADS", quads.into())], &[("quads", quads)], &[&x, &y]).await?;
    let seconds = clock.seconds(device, &plan, 1).await?;
    Ok(plan.costs(1).iter().filter_map(|cost| cost.bytes).sum::<f64>() / seconds / 1e9)
}

async fn record(
    device: &Rc<Device>,
    kernel: &'static str,
    constants: tabtune::device::Constants,
    extents: &[(&'static str, usize)],
    operands: &[&Tensor],
) -> Result<Plan> {
    let mut rec = Recorder::new(device, &Pool::default(), &Input::new(device, 16)?, false);
    rec.dispatch(kernel, &[], constants, extents, operands);
    rec.finish(&mut Progress::silent()).await
}
