//! y = x · rstd · (w + PLUS), rstd = 1 / sqrt(mean(x²) + EPS)

use super::binding::all;
use super::dot::dot;
use super::parallel::each_row_of_two;
use super::{Constants, Run};

pub fn twin(constants: &Constants<'_>) -> Run {
    let (cols, eps, parts) = (constants.size("C"), constants.number("EPS"), constants.size_or("PARTS", 1));
    let plus = constants.number_or("PLUS", 0.0);
    Box::new(move |bound| {
        let [step, x, w, y, rstd] = all(bound);
        let rows = step.step().rows as usize * parts;
        let (x, w) = (x.numbers(), &w.numbers()[..cols]);
        let y = (&mut y.numbers_mut()[..rows * cols], cols);
        each_row_of_two(y, (&mut rstd.numbers_mut()[..rows], 1), |row, y, rstd| {
            let x = &x[row * cols..][..cols];
            let r = 1.0 / (dot(x, x) / cols as f32 + eps).sqrt();
            for ((y, x), w) in y.iter_mut().zip(x).zip(w) {
                *y = x * r * (w + plus);
            }
            rstd[0] = r;
        });
    })
}
