//! The table of a step: every kernel, with the constants and work groups that it is launched with.

use std::fmt;

use tabtune::plan::{Profile, Row};

use super::probes::Probes;

pub struct Table {
    pub profile: Profile,
    pub probes: Probes,
}

/// A number in so many columns, or a dash where none is known.
fn or_dash(value: Option<f64>, width: usize) -> String {
    let digits = if value.is_some_and(|value| value < 10.0) { 2 } else { 1 };
    value.map_or_else(|| format!("{:>width$}", "-"), |value| format!("{value:width$.digits$}"))
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Table { profile, probes } = self;
        let sum = profile.sum();
        writeln!(
            f,
            "       ms   share  calls    GFLOP/s  % of probe     GB/s  % of memory  groups, kernel, constants"
        )?;
        for row in &profile.rows {
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
                or_dash(share(flops, probes.flops), 11),
                or_dash(bytes, 8),
                or_dash(share(bytes, probes.bytes), 12),
                key.label(),
                constants.join(" ")
            )?;
        }
        let calls: usize = profile.rows.iter().map(|row| row.calls).sum();
        let idle = profile.span - sum;
        write!(f, "  sum {sum:.3} ms of {calls} dispatches, span {:.3} ms, ", profile.span)?;
        // A card may begin a dispatch before one that it does not depend on has ended.
        if idle < 0.0 { write!(f, "of which some overlap") } else { write!(f, "idle {idle:.3} ms") }
    }
}
