//! With g = w dy and x̂ = (x - mean) · rstd:  dx (+)= rstd · (g - mean(g) - x̂ · mean(g x̂)).
//! w and b are frozen, so there is no sum over rows.

use super::binding::all;
use super::parallel::each_row;
use super::{Constants, Run};

pub fn twin(constants: &Constants<'_>) -> Run {
    let cols = constants.size("C");
    let accumulate = constants.flag("ACCUMULATE");
    Box::new(move |bound| {
        let [step, dy, x, w, stats, dx] = all(bound);
        let rows = step.step().rows as usize;
        let (dy, x, w, stats) = (dy.numbers(), x.numbers(), &w.numbers()[..cols], stats.numbers());
        each_row(&mut dx.numbers_mut()[..rows * cols], cols, |row, dx| {
            let (dy, x) = (&dy[row * cols..][..cols], &x[row * cols..][..cols]);
            let (mean, r) = (stats[2 * row], stats[2 * row + 1]);
            let (mut sum, mut product) = (0.0f32, 0.0f32);
            for ((dy, x), w) in dy.iter().zip(x).zip(w) {
                sum += w * dy;
                product += w * dy * (x - mean) * r;
            }
            let (sum, product) = (sum / cols as f32, product / cols as f32);
            for ((dx, dy), (x, w)) in dx.iter_mut().zip(dy).zip(x.iter().zip(w)) {
                let d = r * (w * dy - sum - (x - mean) * r * product);
                *dx = if accumulate { *dx + d } else { d };
            }
        });
    })
}
