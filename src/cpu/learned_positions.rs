//! y[row] += w[position of the row]: learned positions, added to the embedding.

use super::binding::all;
use super::parallel::each_row;
use super::{Constants, Run};

pub fn twin(constants: &Constants<'_>) -> Run {
    let cols = constants.size("C");
    Box::new(move |bound| {
        let [step, w, y] = all(bound);
        let step = step.step();
        let (first, time) = (step.position as usize, step.time as usize);
        let w = w.numbers();
        each_row(&mut y.numbers_mut()[..step.rows as usize * cols], cols, |row, y| {
            let position = first + row % time;
            for (y, w) in y.iter_mut().zip(&w[position * cols..]) {
                *y += w;
            }
        });
    })
}
