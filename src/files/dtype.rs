//! The formats of a tensor's numbers in a file, and the way from and to them.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use std::fmt;

use super::blocks::{self, Blocks};

/// A number format that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    F32,
    F16,
    BF16,
    /// Quantised; only GGUF files have them.
    Blocks(Blocks),
}

impl Dtype {
    /// How many numbers can only be read together, and how many bytes they have.
    pub fn block(self) -> (u64, u64) {
        match self {
            Dtype::F32 => (1, 4),
            Dtype::F16 | Dtype::BF16 => (1, 2),
            Dtype::Blocks(blocks) => blocks.size(),
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Dtype::Blocks(blocks) => write!(f, "{blocks:?}"),
            other => write!(f, "{other:?}"),
        }
    }
}

/// Appends the numbers in `bytes` (little-endian, a whole number of them or of blocks) to `out`.
pub fn to_f32(dtype: Dtype, bytes: &[u8], out: &mut Vec<f32>) {
    match dtype {
        Dtype::F32 => out.extend(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b))),
        Dtype::F16 => out.extend(bytes.as_chunks().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f32())),
        Dtype::BF16 => out.extend(bytes.as_chunks().0.iter().map(|b| half::bf16::from_le_bytes(*b).to_f32())),
        Dtype::Blocks(blocks) => blocks.to_f32(bytes, out),
    }
}

/// Appends `numbers` in the format `dtype`, each rounded to nearest (ties to even), or whole blocks of them in Q8_0.
/// Returns false if one of them is not finite in that format.
pub fn encode(dtype: Dtype, numbers: &[f64], out: &mut Vec<u8>) -> bool {
    if dtype == Dtype::Blocks(Blocks::Q8_0) {
        return blocks::to_q8_0(numbers, out);
    }
    let mut finite = true;
    for &x in numbers {
        match dtype {
            Dtype::F32 => {
                let rounded = x as f32;
                finite &= rounded.is_finite();
                out.extend(rounded.to_le_bytes());
            }
            Dtype::F16 => {
                let rounded = half::f16::from_f32(to_odd(x));
                finite &= rounded.is_finite();
                out.extend(rounded.to_le_bytes());
            }
            Dtype::BF16 => {
                let rounded = half::bf16::from_f32(to_odd(x));
                finite &= rounded.is_finite();
                out.extend(rounded.to_le_bytes());
            }
            Dtype::Blocks(blocks) => unreachable!("nothing is written as {blocks:?}"),
        }
    }
    finite
}

/// Of the two f32 beside a number that is none, the one whose last bit is 1: rounded to fewer bits, it gives what the
/// number itself gives (Boldo and Melquiond 2008, "Emulation of FMA and correctly rounded sums: proved algorithms using
/// rounding to odd"). Processors that convert to f16 start from the nearest f32, so they round twice.
fn to_odd(x: f64) -> f32 {
    let nearest = x as f32;
    if f64::from(nearest) == x {
        return nearest;
    }
    let below = if f64::from(nearest).abs() > x.abs() { 1 } else { 0 };
    f32::from_bits(nearest.to_bits().saturating_sub(below) | 1)
}
