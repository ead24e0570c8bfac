//! What the platform offers: natively there is a clock, no event loop to wait for, and wgpu says whether there is a
//! card.

use std::sync::LazyLock;
use std::time::Instant;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Milliseconds since some fixed moment.
pub(super) fn now() -> f64 {
    START.elapsed().as_secs_f64() * 1000.0
}

/// The same, as exactly as the platform tells.
pub fn exact_now() -> f64 {
    now()
}

/// CPU seconds that this process has used, all threads. `None` where the system does not say.
pub fn cpu_seconds() -> Option<f64> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?;
    let nanoseconds = |task: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse::<f64>().ok()
    };
    Some(tasks.filter_map(|task| nanoseconds(task.ok()?)).sum::<f64>() / 1e9)
}

/// Natively a wish is set from another thread, which needs no turn.
pub(super) async fn let_others_run() {}

/// Whether wgpu can be asked for a card.
pub(super) fn has_webgpu() -> bool {
    true
}
