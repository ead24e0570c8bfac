//! e^x without a call into the C library, so that the compiler turns loops over it into SIMD.

/// Below it e^x stays at 9e-27. Beside the largest term of a softmax, which is 1, that changes nothing, but products of
/// smaller numbers would leave the normal range of f32, where some processors compute a hundred times as slowly.
const LOWEST: f32 = -60.0;

/// e^x, at most three units in the last place off. Below [`LOWEST`] and above 88 it stays as it is there; NaN stays
/// NaN.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    /// Adding 1.5 · 2^23 rounds to an integer, which is then in the low bits.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts; the first has few enough bits that its product with an integer is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(LOWEST, 88.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = x - n * LN_2_HIGH - n * LN_2_LOW;
    // The series of e^r; |r| is at most ln 2 / 2, so the first term left out is below 2^-27.
    let series = 1.0 / 720.0 + r * (1.0 / 5040.0);
    let series = 1.0 / 24.0 + r * (1.0 / 120.0 + r * series);
    let series = 1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6.0 + r * series)));
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(0x3f80_0000));
    series * power
}

/// Σ e^(x - `shift`)
pub(super) fn sum_exp(values: &[f32], shift: f32) -> f32 {
    let mut sums = [0.0f32; 8];
    let lanes = values.chunks_exact(8);
    let rest: f32 = lanes.remainder().iter().map(|x| exp(x - shift)).sum();
    for eight in lanes {
        for (x, sum) in eight.iter().zip(&mut sums) {
            *sum += exp(x - shift);
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// Replaces every x by e^(x - `shift`) and returns their sum.
pub(super) fn exp_all(values: &mut [f32], shift: f32) -> f32 {
    let mut sums = [0.0f32; 8];
    let mut lanes = values.chunks_exact_mut(8);
    for eight in &mut lanes {
        for (x, sum) in eight.iter_mut().zip(&mut sums) {
            *x = exp(*x - shift);
            *sum += *x;
        }
    }
    let mut rest = 0.0;
    for x in lanes.into_remainder() {
        *x = exp(*x - shift);
        rest += *x;
    }
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn is_within_three_units_in_the_last_place() {
        for i in -60_000..88_000 {
            let x = i as f32 / 1000.0;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 3.0 * f64::from(f32::EPSILON), "exp({x}) is off by {error:e}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(-1e30) < 1e-26 && exp(1e30).is_finite());
    }
}
