//! What the platform offers: natively there is a clock, no event loop to wait for, and wgpu says whether there is a
//! card.

use std::sync::LazyLock;
use std::time::Instant;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Milliseconds since some fixed moment.
pub(super) fn now() -> f64 {
    START.elapsed().as_secs_f64() * 1000.0
}

/// Natively a wish is set from another thread, which needs no turn.
pub(super) async fn let_others_run() {}

/// Whether wgpu can be asked for a card.
pub(super) fn has_webgpu() -> bool {
    true
}
