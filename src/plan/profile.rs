//! What the dispatches of plans take and do, one by one: for measurements. A step is not run like this.

use std::collections::BTreeMap;

use serde::Serialize;

use super::cost::Cost;
use super::plan::Plan;
use crate::device::{Device, KernelKey, Span, exact_now};
use crate::error::{Error, Result};

/// A profile is the mean of so many runs of its plans, or of those that begin in the first seconds.
const RUNS: usize = 20;
/// In milliseconds.
const LONG: f64 = 1_500.0;

/// A dispatch that was measured.
#[derive(Debug, Clone)]
pub struct Timed {
    pub key: KernelKey,
    pub groups: [u32; 3],
    pub cost: Cost,
    pub span: Span,
}

/// What a step takes and does.
#[derive(Debug, Clone, Default)]
pub struct Profile {
    /// Those that take longest come first.
    pub rows: Vec<Row>,
    /// From the first dispatch of a plan to its last, in milliseconds.
    pub span: f64,
}

/// Dispatches that differ only in what is bound.
#[derive(Debug, Clone)]
pub struct Row {
    pub key: KernelKey,
    pub groups: [u32; 3],
    pub calls: usize,
    pub ms: f64,
    pub flops: Option<f64>,
    pub bytes: Option<f64>,
}

/// What the calls of a kernel in a step take, whatever their constants.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KernelTime {
    pub kernel: &'static str,
    pub calls: usize,
    pub ms: f64,
    /// Of what all kernels take.
    pub share: f64,
}

impl Plan {
    /// What each dispatch computes and moves, with the plan's rows in sequences of `seq_len`, all of them labelled.
    pub fn costs(&self, seq_len: usize) -> Vec<Cost> {
        self.ready.iter().zip(&self.sizes).map(|(ready, size)| Cost::of(&ready.key, size, seq_len)).collect()
    }

    /// Runs the plan once with its input as it is, a pass for each dispatch. Errors: `DeviceLost`.
    pub async fn profile(&self, device: &Device, seq_len: usize) -> Result<Vec<Timed>> {
        let never = || Error::Internal { what: "a profile that nobody stopped was given up".to_string() };
        self.profile_unless(device, seq_len, &|| false).await?.ok_or_else(never)
    }

    /// Like [`profile`](Self::profile), or `None` if `stop` said so.
    pub async fn profile_unless(
        &self,
        device: &Device,
        seq_len: usize,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<Timed>>> {
        let Some(spans) = device.profile_unless(&self.ready, stop).await? else { return Ok(None) };
        let measured = self.ready.iter().zip(self.costs(seq_len)).zip(spans);
        let timed = measured.map(|((ready, cost), span)| {
            let (key, groups) = (ready.key.clone(), ready.groups);
            Timed { key, groups, cost, span }
        });
        Ok(Some(timed.collect()))
    }

    /// Milliseconds in which the host encodes the whole plan, which is not submitted. `None` where nothing is encoded.
    pub fn time_to_encode(&self, device: &Device) -> Option<f64> {
        device.time_to_encode(&self.ready)
    }
}

impl Profile {
    /// Runs the plans of a step as their inputs are; each comes with how often a step runs it. What cards and browsers
    /// say about time is rounded, so the mean of several runs is more exact than any of them. `None` if `stop` said so.
    /// Errors: `DeviceLost`.
    pub async fn measure(
        device: &Device,
        plans: &[(&Plan, usize)],
        seq_len: usize,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<Profile>> {
        let (mut rows, mut span, mut runs) = (BTreeMap::new(), 0.0, 0);
        let begin = exact_now();
        while runs == 0 || runs < RUNS && exact_now() - begin < LONG {
            for (plan, times) in plans {
                let Some(dispatches) = plan.profile_unless(device, seq_len, stop).await? else { return Ok(None) };
                if let (Some(first), Some(last)) = (dispatches.first(), dispatches.last()) {
                    span += *times as f64 * (last.span.end - first.span.begin);
                }
                for dispatch in dispatches {
                    add(&mut rows, dispatch, *times);
                }
            }
            runs += 1;
            if stop() {
                return Ok(None);
            }
        }
        let runs_as = runs as f64;
        let mean = |row: Row| Row {
            calls: row.calls / runs,
            ms: row.ms / runs_as,
            flops: row.flops.map(|sum| sum / runs_as),
            bytes: row.bytes.map(|sum| sum / runs_as),
            ..row
        };
        let mut rows: Vec<Row> = rows.into_values().map(mean).collect();
        rows.sort_by(|a, b| b.ms.total_cmp(&a.ms));
        Ok(Some(Profile { rows, span: span / runs_as }))
    }

    /// Milliseconds that the dispatches take together.
    pub fn sum(&self) -> f64 {
        self.rows.iter().map(|row| row.ms).sum()
    }

    /// Every kernel once, those that take longest first.
    pub fn kernels(&self) -> Vec<KernelTime> {
        let mut kernels: Vec<KernelTime> = Vec::new();
        for Row { key, calls, ms, .. } in &self.rows {
            match kernels.iter_mut().find(|known| known.kernel == key.kernel) {
                Some(known) => (known.calls, known.ms) = (known.calls + calls, known.ms + ms),
                None => kernels.push(KernelTime { kernel: key.kernel, calls: *calls, ms: *ms, share: 0.0 }),
            }
        }
        let sum = self.sum();
        for kernel in &mut kernels {
            kernel.share = if sum > 0.0 { kernel.ms / sum } else { 0.0 };
        }
        kernels.sort_by(|a, b| b.ms.total_cmp(&a.ms));
        kernels
    }
}

fn add(rows: &mut BTreeMap<(KernelKey, [u32; 3]), Row>, dispatch: Timed, times: usize) {
    let Timed { key, groups, cost, span } = dispatch;
    let row = rows.entry((key.clone(), groups)).or_insert_with(|| {
        let none = |known: Option<f64>| known.map(|_| 0.0);
        Row { key, groups, calls: 0, ms: 0.0, flops: none(cost.flops), bytes: none(cost.bytes) }
    });
    let add = |sum: Option<f64>, more: Option<f64>| sum.zip(more).map(|(sum, more)| sum + times as f64 * more);
    row.calls += times;
    row.ms += times as f64 * span.ms();
    row.flops = add(row.flops, cost.flops);
    row.bytes = add(row.bytes, cost.bytes);
}
