//! With g = (w + PLUS) dy and x̂ = x · rstd:  dx (+)= rstd · (g - x̂ · mean(g x̂)).
//! w is frozen, so there is no sum over rows.

use super::binding::all;
use super::parallel::each_row;
use super::{Constants, Run};

pub fn twin(constants: &Constants<'_>) -> Run {
    let (cols, parts) = (constants.size("C"), constants.size_or("PARTS", 1));
    let (plus, accumulate) = (constants.number_or("PLUS", 0.0), constants.flag("ACCUMULATE"));
    Box::new(move |bound| {
        let [step, dy, x, w, rstd, dx] = all(bound);
        let rows = step.step().rows as usize * parts;
        let (dy, x, w, rstd) = (dy.numbers(), x.numbers(), &w.numbers()[..cols], rstd.numbers());
        each_row(&mut dx.numbers_mut()[..rows * cols], cols, |row, dx| {
            let (dy, x, r) = (&dy[row * cols..][..cols], &x[row * cols..][..cols], rstd[row]);
            let mut sums = [0.0f32; 8];
            for ((dy, x), w) in dy.chunks(8).zip(x.chunks(8)).zip(w.chunks(8)) {
                for (sum, ((dy, x), w)) in sums.iter_mut().zip(dy.iter().zip(x).zip(w)) {
                    *sum += (w + plus) * dy * x;
                }
            }
            let mean = sums.iter().sum::<f32>() / cols as f32;
            for ((dx, dy), (x, w)) in dx.iter_mut().zip(dy).zip(x.iter().zip(w)) {
                let d = r * ((w + plus) * dy - x * (r * r * mean));
                *dx = if accumulate { *dx + d } else { d };
            }
        });
    })
}
