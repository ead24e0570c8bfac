//! y[row] += w[position of the row]: learned positions, added to the embedding.

use super::binding::all;
use super::parallel::each_row;
use super::{Constants, Run};

pub fn twin(constants: &Constants<'_>) -> Run {
    let cols = constants.size("C");
    Box::new(move |bound| {
        let [step, w, starts, y] = all(bound);
        let step = step.step();
        let (w, starts) = (w.numbers(), starts.words());
        each_row(&mut y.numbers_mut()[..step.rows as usize * cols], cols, |row, y| {
            let position = step.position as usize + row - starts[row] as usize;
            for (y, w) in y.iter_mut().zip(&w[position * cols..]) {
                *y += w;
            }
        });
    })
}
