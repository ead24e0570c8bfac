//! dx = dh · gelu'(x), or gated: dx = dh · u · gelu'(x), du = dh · gelu(x)

use super::binding::all;
use super::gelu::{sigma, slope};
use super::parallel::{each_row, each_row_of_two};
use super::{Constants, Run};

pub fn twin(constants: &Constants<'_>) -> Run {
    let width = constants.size("F");
    if constants.has("gated") {
        return Box::new(move |bound| {
            let [step, dh, x, u, dx, du] = all(bound);
            let numbers = step.step().rows as usize * width;
            let (dh, x, u) = (&dh.numbers()[..numbers], &x.numbers()[..numbers], &u.numbers()[..numbers]);
            let dx = (&mut dx.numbers_mut()[..numbers], width);
            let du = (&mut du.numbers_mut()[..numbers], width);
            each_row_of_two(dx, du, |row, dx, du| {
                let at = row * width;
                let inputs = dh[at..].iter().zip(&x[at..]).zip(&u[at..]);
                for ((dx, du), ((dh, x), u)) in dx.iter_mut().zip(du).zip(inputs) {
                    let s = sigma(*x);
                    *dx = dh * slope(*x, s) * u;
                    *du = dh * x * s;
                }
            });
        });
    }
    Box::new(move |bound| {
        let [step, dh, x, dx] = all(bound);
        let numbers = step.step().rows as usize * width;
        let (dh, x) = (&dh.numbers()[..numbers], &x.numbers()[..numbers]);
        each_row(&mut dx.numbers_mut()[..numbers], width, |row, dx| {
            let at = row * width;
            for (dx, (dh, x)) in dx.iter_mut().zip(dh[at..].iter().zip(&x[at..])) {
                *dx = dh * slope(*x, sigma(*x));
            }
        });
    })
}
