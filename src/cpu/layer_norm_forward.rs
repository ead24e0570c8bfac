//! y = x̂ · w + b, x̂ = (x - mean(x)) · rstd, rstd = 1 / sqrt(mean((x - mean(x))²) + EPS)

use super::binding::all;
use super::parallel::each_row_of_two;
use super::{Constants, Run};

pub fn twin(constants: &Constants<'_>) -> Run {
    let (cols, eps) = (constants.size("C"), constants.number("EPS"));
    Box::new(move |bound| {
        let [step, x, w, b, y, stats] = all(bound);
        let rows = step.step().rows as usize;
        let (x, w, b) = (x.numbers(), &w.numbers()[..cols], &b.numbers()[..cols]);
        let y = (&mut y.numbers_mut()[..rows * cols], cols);
        each_row_of_two(y, (&mut stats.numbers_mut()[..2 * rows], 2), |row, y, stats| {
            let x = &x[row * cols..][..cols];
            let mean = x.iter().sum::<f32>() / cols as f32;
            let squares: f32 = x.iter().map(|x| (x - mean) * (x - mean)).sum();
            let r = 1.0 / (squares / cols as f32 + eps).sqrt();
            for ((y, x), (w, b)) in y.iter_mut().zip(x).zip(w.iter().zip(b)) {
                *y = (x - mean) * r * w + b;
            }
            stats.copy_from_slice(&[mean, r]);
        });
    })
}
