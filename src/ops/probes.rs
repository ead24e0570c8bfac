//! The most that the device does: multiply-adds in registers, and bytes copied from memory to memory.

use std::rc::Rc;

use crate::device::{Constants, Device, Pool, Tensor};
use crate::error::Result;
use crate::plan::{Input, Plan, Progress, Recorder, Timer};

/// Of multiply-adds in an invocation. On a card they take long beside what a browser rounds time to.
const CARD_LOOPS: usize = 1 << 14;
const SOFTWARE_LOOPS: usize = 1 << 11;
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

/// The multiply-adds that a device does in registers.
#[derive(Debug, Clone, Copy)]
pub struct MostFlops {
    /// Two for each multiply-add.
    pub per_second: f64,
    /// The invocations that reach it.
    pub invocations: usize,
}

/// The rate of more and more invocations, until more of them gain nothing: a card is large, and few leave most of it
/// idle. Each is measured so often. `None` if `stop` said so.
pub async fn most_flops(
    device: &Rc<Device>,
    timer: Timer,
    measurements: usize,
    stop: &dyn Fn() -> bool,
) -> Result<Option<MostFlops>> {
    let (mut best, mut flat) = (MostFlops { per_second: 0.0, invocations: 0 }, 0);
    let loops = if device.software { SOFTWARE_LOOPS } else { CARD_LOOPS };
    let mut invocations = FEWEST_INVOCATIONS;
    while invocations <= MOST_INVOCATIONS && flat < FLAT {
        let y = device.checked(|| Tensor::owned(device, "registers", invocations, 4)).await?;
        let extents = [("invocations", invocations)];
        let plan = record(device, "fma_probe", vec![("LOOPS", loops.into())], &extents, &[&y]).await?;
        let seconds = timer.seconds(device, &plan, 1, measurements).await?;
        if stop() {
            return Ok(None);
        }
        let per_second = plan.costs(1).iter().filter_map(|cost| cost.flops).sum::<f64>() / seconds;
        flat = if per_second > best.per_second * GAIN { 0 } else { flat + 1 };
        if per_second > best.per_second {
            best = MostFlops { per_second, invocations };
        }
        if seconds > LONG {
            break;
        }
        invocations *= 2;
    }
    Ok(Some(best))
}

/// Bytes that are read and written in a second, together.
pub async fn most_bytes(device: &Rc<Device>, timer: Timer, measurements: usize) -> Result<f64> {
    let most = if device.software { SOFTWARE_BYTES } else { CARD_BYTES };
    let quads = (most.min(device.max_binding) / 16) as usize;
    let tensor = || Tensor::owned(device, "memory", 1, quads * 4);
    let (x, y) = device.checked(|| Ok((tensor()?, tensor()?))).await?;
    let plan = record(device, "copy_probe", vec![("QUADS", quads.into())], &[("quads", quads)], &[&x, &y]).await?;
    let seconds = timer.seconds(device, &plan, 1, measurements).await?;
    Ok(plan.costs(1).iter().filter_map(|cost| cost.bytes).sum::<f64>() / seconds)
}

async fn record(
    device: &Rc<Device>,
    kernel: &'static str,
    constants: Constants,
    extents: &[(&'static str, usize)],
    operands: &[&Tensor],
) -> Result<Plan> {
    let mut rec = Recorder::new(device, &Pool::default(), &Input::new(device, 16)?, false);
    rec.dispatch(kernel, &[], constants, extents, operands);
    rec.finish(&mut Progress::silent()).await
}
