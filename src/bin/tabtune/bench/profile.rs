//! The table of a step: every kernel, with the constants and work groups that it is launched with.

use std::collections::BTreeMap;
use std::fmt;

use tabtune::device::{Device, KernelKey};
use tabtune::error::Result;
use tabtune::plan::{Plan, Timed};

use super::probes::Probes;

/// The profile with the shortest sum of so many is shown, unless one takes long.
const RUNS: usize = 3;
/// In milliseconds.
const LONG: f64 = 5_000.0;

pub struct Profile {
    rows: Vec<Row>,
    /// From the first dispatch of a plan to its last, in milliseconds.
    span: f64,
    probes: Probes,
}

/// Dispatches that differ only in what is bound.
struct Row {
    key: KernelKey,
    groups: [u32; 3],
    calls: usize,
    ms: f64,
    flops: Option<f64>,
    bytes: Option<f64>,
}

impl Profile {
    /// Runs the plans as their inputs are.
    pub async fn measure(device: &Device, plans: &[&Plan], seq_len: usize, probes: Probes) -> Result<Profile> {
        let mut best: Option<Profile> = None;
        for _ in 0..RUNS {
            let mut profile = Profile { rows: Vec::new(), span: 0.0, probes };
            let mut rows = BTreeMap::new();
            for plan in plans {
                let dispatches = plan.profile(device, seq_len).await?;
                if let (Some(first), Some(last)) = (dispatches.first(), dispatches.last()) {
                    profile.span += last.span.end - first.span.begin;
                }
                for dispatch in dispatches {
                    add(&mut rows, dispatch);
                }
            }
            profile.rows = rows.into_values().collect();
            profile.rows.sort_by(|a, b| b.ms.total_cmp(&a.ms));
            let is_long = profile.span > LONG;
            if best.as_ref().is_none_or(|best| profile.sum() < best.sum()) {
                best = Some(profile);
            }
            if is_long {
                break;
            }
        }
        Ok(best.unwrap_or(Profile { rows: Vec::new(), span: 0.0, probes }))
    }

    fn sum(&self) -> f64 {
        self.rows.iter().map(|row| row.ms).sum()
    }
}

fn add(rows: &mut BTreeMap<(KernelKey, [u32; 3]), Row>, dispatch: Timed) {
    let Timed { key, groups, cost, span } = dispatch;
    let row = rows.entry((key.clone(), groups)).or_insert_with(|| {
        let none = |known: Option<f64>| known.map(|_| 0.0);
        Row { key, groups, calls: 0, ms: 0.0, flops: none(cost.flops), bytes: none(cost.bytes) }
    });
    row.calls += 1;
    row.ms += span.ms();
    row.flops = row.flops.zip(cost.flops).map(|(sum, more)| sum + more);
    row.bytes = row.bytes.zip(cost.bytes).map(|(sum, more)| sum + more);
}

/// A number in so many columns, or a dash where none is known.
fn or_dash(value: Option<f64>, width: usize) -> String {
    let digits = if value.is_some_and(|value| value < 10.0) { 2 } else { 1 };
    value.map_or_else(|| format!("{:>width$}", "-"), |value| format!("{value:width$.digits$}"))
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let sum = self.sum();
        writeln!(
            f,
            "       ms   share  calls    GFLOP/s  % of probe     GB/s  % of memory  groups, kernel, constants"
        )?;
        for row in &self.rows {
            let Row { key, groups: [x, y, z], calls, ms, flops, bytes } = row;
            let rate = |amount: &Option<f64>| amount.map(|amount| amount / ms.max(1e-9) / 1e6);
            let (flops, bytes) = (rate(flops), rate(bytes));
            let share = |rate: Option<f64>, most: f64| rate.map(|rate| 100.0 * rate / most);
            let constants: Vec<String> = key.constants.iter().map(|(name, value)| format!("{name}={value}")).collect();
            writeln!(
                f,
                "{ms:9.3} {:5.1} % {calls:6} {} {} {} {}  {x}x{y}x{z} {} {}",
                100.0 * ms / sum,
                or_dash(flops, 10),
                or_dash(share(flops, self.probes.flops), 11),
                or_dash(bytes, 8),
                or_dash(share(bytes, self.probes.bytes), 12),
                key.label(),
                constants.join(" ")
            )?;
        }
        let calls: usize = self.rows.iter().map(|row| row.calls).sum();
        let idle = self.span - sum;
        write!(f, "  sum {sum:.3} ms of {calls} dispatches, span {:.3} ms, ", self.span)?;
        // A card may begin a dispatch before one that it does not depend on has ended.
        if idle < 0.0 { write!(f, "of which some overlap") } else { write!(f, "idle {idle:.3} ms") }
    }
}
