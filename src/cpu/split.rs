//! y[row, Y_FIRST + c] = x[row, X_FIRST + c] for c < C: columns of one matrix become columns of another.

use super::binding::all;
use super::parallel::each_row;
use super::{Constants, Run};

pub fn twin(constants: &Constants<'_>) -> Run {
    let count = constants.size("C");
    let (x_columns, x_first) = (constants.size("X_COLUMNS"), constants.size_or_zero("X_FIRST"));
    let (y_columns, y_first) = (constants.size("Y_COLUMNS"), constants.size_or_zero("Y_FIRST"));
    Box::new(move |bound| {
        let [step, x, y] = all(bound);
        let rows = step.step().rows as usize;
        let x = x.numbers();
        each_row(&mut y.numbers_mut()[..rows * y_columns], y_columns, |row, y| {
            y[y_first..][..count].copy_from_slice(&x[row * x_columns + x_first..][..count]);
        });
    })
}
