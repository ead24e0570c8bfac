//! h = gelu(x), or gated: h = gelu(x) · u

use super::binding::all;
use super::gelu::sigma;
use super::parallel::each_row;
use super::{Constants, Run};

pub fn twin(constants: &Constants<'_>) -> Run {
    let width = constants.size("F");
    if constants.has("gated") {
        return Box::new(move |bound| {
            let [step, x, u, h] = all(bound);
            let numbers = step.step().rows as usize * width;
            let (x, u) = (&x.numbers()[..numbers], &u.numbers()[..numbers]);
            each_row(&mut h.numbers_mut()[..numbers], width, |row, h| {
                let at = row * width;
                for ((h, x), u) in h.iter_mut().zip(&x[at..]).zip(&u[at..]) {
                    *h = x * sigma(*x) * u;
                }
            });
        });
    }
    Box::new(move |bound| {
        let [step, x, h] = all(bound);
        let numbers = step.step().rows as usize * width;
        let x = &x.numbers()[..numbers];
        each_row(&mut h.numbers_mut()[..numbers], width, |row, h| {
            for (h, x) in h.iter_mut().zip(&x[row * width..]) {
                *h = x * sigma(*x);
            }
        });
    })
}
