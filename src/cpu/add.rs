//! y = a + b

use super::binding::all;
use super::parallel::each_row;
use super::{Constants, Run};

pub fn twin(constants: &Constants<'_>) -> Run {
    let cols = constants.size("C");
    Box::new(move |bound| {
        let [step, a, b, y] = all(bound);
        let numbers = step.step().rows as usize * cols;
        let (a, b) = (&a.numbers()[..numbers], &b.numbers()[..numbers]);
        each_row(&mut y.numbers_mut()[..numbers], cols, |row, y| {
            let at = row * cols;
            for ((y, a), b) in y.iter_mut().zip(&a[at..]).zip(&b[at..]) {
                *y = a + b;
            }
        });
    })
}
