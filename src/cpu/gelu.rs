//! The tanh approximation of GELU, as `shaders/shared/gelu.wesl` has it.

use super::exp::exp;

/// 2 sqrt(2/π)
const SLOPE: f32 = 1.595_769;
const CUBIC: f32 = 0.044_715;

/// Beyond ±10 σ(2z) is 0 or 1 in f32, and x³ does not exceed the largest f32.
fn near(x: f32) -> f32 {
    x.clamp(-10.0, 10.0)
}

/// gelu(x) = x · sigma(x)
#[inline(always)]
pub(super) fn sigma(x: f32) -> f32 {
    let c = near(x);
    1.0 / (1.0 + exp(-SLOPE * (c + CUBIC * c * c * c)))
}

/// d gelu / dx, where s is sigma(x).
#[inline(always)]
pub(super) fn slope(x: f32, s: f32) -> f32 {
    let c = near(x);
    s + c * s * (1.0 - s) * SLOPE * (1.0 + 3.0 * CUBIC * c * c)
}
