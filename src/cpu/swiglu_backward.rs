//! With s = 1 / (1 + exp(-g)):  du = dh · g s,  dg = dh · u · s (1 + g (1 - s))

use super::binding::all;
use super::exp::exp;
use super::parallel::each_row_of_two;
use super::{Constants, Run};

pub fn twin(constants: &Constants<'_>) -> Run {
    let width = constants.size("F");
    Box::new(move |bound| {
        let [step, dh, g, u, dg, du] = all(bound);
        let numbers = step.step().rows as usize * width;
        let (dh, g, u) = (&dh.numbers()[..numbers], &g.numbers()[..numbers], &u.numbers()[..numbers]);
        let dg = (&mut dg.numbers_mut()[..numbers], width);
        let du = (&mut du.numbers_mut()[..numbers], width);
        each_row_of_two(dg, du, |row, dg, du| {
            let at = row * width;
            let inputs = dh[at..].iter().zip(&g[at..]).zip(&u[at..]);
            for ((dg, du), ((dh, g), u)) in dg.iter_mut().zip(du).zip(inputs) {
                let s = 1.0 / (1.0 + exp(-g));
                *du = dh * g * s;
                *dg = dh * u * s * (1.0 + g * (1.0 - s));
            }
        });
    })
}
