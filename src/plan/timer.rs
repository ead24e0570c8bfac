//! How long a plan takes, measured as well as the device allows.

use super::plan::Plan;
use crate::device::{Device, Shape, Step, cpu_seconds, exact_now};
use crate::error::Result;

/// In seconds.
const LONG_ENOUGH: f64 = 0.05;
/// Browsers round what a card says to a tenth of a millisecond, so one measurement may be nothing, and only the mean of
/// several that take so long together is right. Where they all are nothing, the card's clock does not run.
const LONG_ON_CARD: f64 = 0.005;
const MOST_ON_CARD: usize = 1000;

/// What time is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    /// The card says when each dispatch began and ended.
    Timestamps,
    /// The CPU time of this process, all threads: on a software driver that is what a kernel costs, whatever else the
    /// machine does.
    CpuTime,
    /// The time that more work takes beyond less of it.
    Wall,
}

impl Timer {
    /// Where a driver computes in software under Linux, CPU time.
    pub fn of(device: &Device) -> Timer {
        let by_cpu = device.software && device.shape != Shape::Cpu && cpu_seconds().is_some();
        if by_cpu { Timer::CpuTime } else { Timer::of_passes(device) }
    }

    /// The timer of a profile, which times dispatches one by one.
    pub fn of_passes(device: &Device) -> Timer {
        if device.has_timestamps() { Timer::Timestamps } else { Timer::Wall }
    }

    /// Seconds of a plan with so many rows: the best of several measurements or, by timestamps, the mean.
    pub async fn seconds(self, device: &Device, plan: &Plan, rows: usize, measurements: usize) -> Result<f64> {
        let rows = rows as u32;
        plan.input.write_step(device, &Step { rows, labelled: rows, strength: 1.0, ..Step::default() });
        if self == Timer::Timestamps {
            // A card that was idle is slow at first.
            plan.profile(device, 1).await?;
            let (mut sum, mut runs) = (0.0, 0);
            while runs < measurements || sum < LONG_ON_CARD && runs < MOST_ON_CARD {
                let dispatches = plan.profile(device, 1).await?;
                sum += dispatches.iter().map(|dispatch| dispatch.span.ms()).sum::<f64>() / 1e3;
                runs += 1;
            }
            if sum > 0.0 {
                return Ok(sum / runs as f64);
            }
        }
        // Linux counts CPU time in ticks, and a wait takes a while even if nothing was to be done.
        let mut runs = 1;
        while self.run(device, plan, runs).await? < LONG_ENOUGH {
            runs *= 2;
        }
        // The best of each, because what disturbs one measurement must not make a difference small.
        let (mut less, mut more) = (f64::INFINITY, f64::INFINITY);
        for _ in 0..measurements {
            less = less.min(self.run(device, plan, runs).await?);
            more = more.min(self.run(device, plan, 2 * runs).await?);
        }
        Ok((more - less).max(1e-9) / f64::from(runs))
    }

    /// Seconds of a plan that is run so often.
    async fn run(self, device: &Device, plan: &Plan, runs: u32) -> Result<f64> {
        let (start, cpu) = (exact_now(), cpu_seconds());
        for _ in 0..runs {
            plan.submit(device, 1);
        }
        device.finished().await?;
        let wall = (exact_now() - start) / 1000.0;
        let used = cpu.zip(cpu_seconds()).map(|(before, after)| after - before);
        Ok(used.filter(|_| self == Timer::CpuTime).unwrap_or(wall))
    }
}
