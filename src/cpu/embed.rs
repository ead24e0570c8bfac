//! y[row] = SCALE · w[token[row]]: one row of the table per token.
//! A slab holds rows FIRST … FIRST + COUNT - 1 of the table.

use super::binding::all;
use super::parallel::each_row;
use super::weight::Format;
use super::{Constants, Run};

pub fn twin(constants: &Constants<'_>) -> Run {
    let (cols, first, count) = (constants.size("C"), constants.size_or_zero("FIRST"), constants.size("COUNT"));
    let scale = constants.number_or("SCALE", 1.0);
    let format = Format::of(constants);
    Box::new(move |bound| {
        let (before, w, after) = format.split(bound);
        let ([step, tokens], [y]) = (all(before), all(after));
        let rows = step.step().rows as usize;
        let tokens = &tokens.words()[..rows];
        each_row(&mut y.numbers_mut()[..rows * cols], cols, |row, y| {
            let token = tokens[row] as usize;
            if (first..first + count).contains(&token) {
                w.copy((token - first) * cols, y);
                if scale != 1.0 {
                    y.iter_mut().for_each(|y| *y *= scale);
                }
            }
        });
    })
}
