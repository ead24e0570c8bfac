//! y += b, row by row

use super::binding::all;
use super::parallel::each_row;
use super::{Constants, Run};

pub fn twin(constants: &Constants<'_>) -> Run {
    let cols = constants.size("C");
    Box::new(move |bound| {
        let [step, b, y] = all(bound);
        let numbers = step.step().rows as usize * cols;
        let b = &b.numbers()[..cols];
        each_row(&mut y.numbers_mut()[..numbers], cols, |_, y| {
            for (y, b) in y.iter_mut().zip(b) {
                *y += b;
            }
        });
    })
}
