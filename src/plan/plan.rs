//! The recorded list and its replay.

use std::collections::HashSet;
use std::fmt;
use std::rc::Rc;

use super::cost::Size;
use super::input::Input;
use crate::device::{Buffer, Device, KernelKey, Pool, Ready, Step};
use crate::error::{Error, Result};

/// Where a dispatch reads or writes.
#[derive(Clone)]
pub enum Operand {
    Slot { id: usize, offset: u64, bytes: u64 },
    Fixed { buffer: Rc<Buffer>, offset: u64, bytes: u64 },
}

/// A dispatch as recorded: it names a kernel and slots, not a pipeline and buffers.
#[derive(Clone)]
pub struct Dispatch {
    pub key: KernelKey,
    pub groups: [u32; 3],
    /// The size of the problem, under the names of the kernel table.
    pub extents: Vec<(&'static str, usize)>,
    pub operands: Vec<Operand>,
}

/// The progress of warming up, counted over all plans of a model, so that "12 of 34" is exact.
pub struct Progress<'a> {
    pub done: usize,
    pub total: usize,
    pub report: &'a mut dyn FnMut(usize, usize),
}

impl Progress<'_> {
    /// Progress that is not reported.
    pub fn silent() -> Progress<'static> {
        // A closure that captures nothing occupies no memory, so nothing leaks.
        Progress { done: 0, total: 0, report: Box::leak(Box::new(|_, _| {})) }
    }
}

/// A complete list of dispatches. Submitting it allocates, binds and compiles nothing.
pub struct Plan {
    pub(super) ready: Rc<[Ready]>,
    /// Of each dispatch, for measurements.
    pub(super) sizes: Vec<Size>,
    /// Positions between dispatches where a submission may end: the block boundaries.
    cuts: Vec<usize>,
    listing: String,
    pub input: Rc<Input>,
}

impl Plan {
    pub(super) async fn make(
        device: &Device,
        pool: &Pool,
        dispatches: &[Dispatch],
        cuts: Vec<usize>,
        input: Rc<Input>,
        progress: &mut Progress<'_>,
    ) -> Result<Plan> {
        check_groups(dispatches, device.max_groups)?;
        check_bindings(dispatches, device)?;
        let resolve = || dispatches.iter().map(|dispatch| resolve(device, pool, dispatch)).collect();
        // A card that refuses memory still hands out buffers, which nothing may use.
        let ready: Rc<[Ready]> = device.checked(resolve).await.inspect_err(|_| pool.forget_buffers())?;
        let sizes = dispatches.iter().map(Size::of).collect();
        let plan = Plan { ready, sizes, cuts, listing: listing(dispatches), input };
        plan.warm_up(device, progress).await?;
        Ok(plan)
    }

    /// Compiles the new pipelines and runs one work group of each with `Step.rows = 0`, because browsers may defer
    /// compiling to the first dispatch.
    async fn warm_up(&self, device: &Device, progress: &mut Progress<'_>) -> Result<()> {
        self.input.write_step(device, &Step::default());
        let mut seen = HashSet::new();
        let mut new: Vec<&Ready> = self.ready.iter().filter(|ready| !ready.is_compiled()).collect();
        new.retain(|ready| seen.insert(&ready.key));
        let start = || {
            let started = new.iter().filter_map(|&ready| Some((ready, device.start_compiling(ready)?)));
            Ok(started.collect::<Vec<_>>())
        };
        for (ready, mut compiling) in device.checked(start).await? {
            compiling.wait().await;
            device
                .checked(|| {
                    device.finish_compiling(ready, compiling);
                    Ok(())
                })
                .await?;
            device.finished().await?;
            progress.done += 1;
            (progress.report)(progress.done, progress.total.max(progress.done));
        }
        Ok(())
    }

    /// Submits the whole plan, cut at block boundaries into about `pieces` submissions.
    pub fn submit(&self, device: &Device, pieces: usize) {
        let every = (self.cuts.len() + 1).div_ceil(pieces.max(1));
        let mut from = 0;
        for cut in self.cuts.iter().skip(every - 1).step_by(every) {
            device.submit(&self.ready, from..*cut);
            from = *cut;
        }
        if from < self.ready.len() {
            device.submit(&self.ready, from..self.ready.len());
        }
    }

    pub fn dispatches(&self) -> usize {
        self.ready.len()
    }

    /// The kernel of each dispatch.
    pub fn kernels(&self) -> Vec<&KernelKey> {
        self.ready.iter().map(|ready| &ready.key).collect()
    }

    /// How many work groups each dispatch launches.
    pub fn groups(&self) -> Vec<u32> {
        self.ready.iter().map(|ready| ready.groups.iter().product()).collect()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.listing)
    }
}

/// Refuses what a device would refuse at the first dispatch. Errors: `GpuRefused`.
fn check_groups(dispatches: &[Dispatch], limit: u32) -> Result<()> {
    for dispatch in dispatches {
        let most = dispatch.groups.into_iter().max().unwrap_or(0);
        if most > limit {
            let kernel = dispatch.key.label();
            return Err(Error::GpuRefused {
                reason: format!("{kernel} needs {most} work groups in one dimension, but at most {limit} fit"),
            });
        }
    }
    Ok(())
}

/// Refuses what no binding holds: an activation with too many rows, or a cache. Errors: `GpuLimit`.
fn check_bindings(dispatches: &[Dispatch], device: &Device) -> Result<()> {
    for dispatch in dispatches {
        for operand in &dispatch.operands {
            let (needed, limit) = match operand {
                Operand::Slot { bytes, .. } => (*bytes, device.max_activation),
                // Tests pretend something about one of the two limits.
                Operand::Fixed { bytes, .. } => (*bytes, device.max_binding.max(device.max_activation)),
            };
            if needed > limit {
                let what = format!("an operand of `{}`", dispatch.key.label());
                return Err(Error::GpuLimit { what, needed, limit });
            }
        }
    }
    Ok(())
}

impl Operand {
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Operand::Slot { bytes, .. } | Operand::Fixed { bytes, .. } => *bytes,
        }
    }
}

fn resolve(device: &Device, pool: &Pool, dispatch: &Dispatch) -> Result<Ready> {
    let range = |operand: &Operand| match operand {
        Operand::Slot { id, offset, bytes } => Ok((pool.allocated(device, *id)?, *offset, *bytes)),
        Operand::Fixed { buffer, offset, bytes } => Ok((buffer.clone(), *offset, *bytes)),
    };
    let ranges: Vec<(Rc<Buffer>, u64, u64)> = dispatch.operands.iter().map(range).collect::<Result<_>>()?;
    device.resolve(&dispatch.key, dispatch.groups, &ranges)
}

/// One line per dispatch: kernel, constants, groups, slots.
fn listing(dispatches: &[Dispatch]) -> String {
    let line = |dispatch: &Dispatch| {
        let constants: Vec<String> =
            dispatch.key.constants.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let operands: Vec<String> = dispatch
            .operands
            .iter()
            .map(|operand| match operand {
                Operand::Slot { id, offset: 0, .. } => format!("#{id}"),
                Operand::Slot { id, offset, .. } => format!("#{id}+{offset}"),
                Operand::Fixed { offset: 0, .. } => "·".to_string(),
                Operand::Fixed { offset, .. } => format!("·+{offset}"),
            })
            .collect();
        format!("{} [{}] {:?} ({})\n", dispatch.key.label(), constants.join(" "), dispatch.groups, operands.join(" "))
    };
    dispatches.iter().map(line).collect()
}
