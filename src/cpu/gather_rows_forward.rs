//! y[slot] = x[rows[slot]]: packs the labelled rows together.

use super::binding::all;
use super::parallel::each_row;
use super::{Constants, Run};

pub fn twin(constants: &Constants<'_>) -> Run {
    let cols = constants.size("C");
    Box::new(move |bound| {
        let [step, x, rows, y] = all(bound);
        let labelled = step.step().labelled as usize;
        let (x, rows) = (x.numbers(), rows.words());
        each_row(&mut y.numbers_mut()[..labelled * cols], cols, |slot, y| {
            y.copy_from_slice(&x[rows[slot] as usize * cols..][..cols]);
        });
    })
}
