//! y = x, as much of it as no cache holds: how fast the processor reads and writes memory.

use super::binding::all;
use super::parallel::each_row;
use super::{Constants, Run};

/// Numbers that a thread copies at a time.
const PIECE: usize = 4096;

pub fn twin(constants: &Constants<'_>) -> Run {
    let numbers = constants.size("QUADS") * 4;
    Box::new(move |bound| {
        let [x, y] = all(bound);
        let x = &x.numbers()[..numbers];
        each_row(&mut y.numbers_mut()[..numbers], PIECE, |row, y| {
            y.copy_from_slice(&x[row * PIECE..][..y.len()]);
        });
    })
}
