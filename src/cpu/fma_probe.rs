//! Eight chains x <- x · r + c in registers, 16 x LOOPS multiply-adds per number of y: what the
//! processor can multiply and add without touching memory.

use super::binding::all;
use super::parallel::each_row;
use super::{Constants, Run};

/// Numbers that one row of the loop advances side by side: a few registers of the widest SIMD.
const LANES: usize = 64;

pub fn twin(constants: &Constants<'_>) -> Run {
    let loops = constants.size("LOOPS");
    Box::new(move |bound| {
        let [y] = all(bound);
        each_row(y.numbers_mut(), LANES, |row, y| {
            let r = 0.999 + row as f32 * 1e-9;
            let mut x = [0.1f32; LANES];
            for _ in 0..loops * 16 {
                for x in &mut x {
                    *x = *x * r + 0.001;
                }
            }
            y.copy_from_slice(&x[..y.len()]);
        });
    })
}
