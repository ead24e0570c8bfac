//! x[row] = y[slot_of_row[row]], or zero for a row without a slot.

use super::binding::all;
use super::parallel::each_row;
use super::{Constants, Run};

const NO_SLOT: u32 = u32::MAX;

pub fn twin(constants: &Constants<'_>) -> Run {
    let cols = constants.size("C");
    Box::new(move |bound| {
        let [step, y, slot_of_row, x] = all(bound);
        let rows = step.step().rows as usize;
        let (y, slot_of_row) = (y.numbers(), slot_of_row.words());
        each_row(&mut x.numbers_mut()[..rows * cols], cols, |row, x| match slot_of_row[row] {
            NO_SLOT => x.fill(0.0),
            slot => x.copy_from_slice(&y[slot as usize * cols..][..cols]),
        });
    })
}
