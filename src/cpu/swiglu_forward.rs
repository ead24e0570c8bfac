//! h = silu(g) · u, silu(g) = g / (1 + exp(-g))

use super::binding::all;
use super::exp::exp;
use super::parallel::each_row;
use super::{Constants, Run};

pub fn twin(constants: &Constants<'_>) -> Run {
    let width = constants.size("F");
    Box::new(move |bound| {
        let [step, g, u, h] = all(bound);
        let numbers = step.step().rows as usize * width;
        let (g, u) = (&g.numbers()[..numbers], &u.numbers()[..numbers]);
        each_row(&mut h.numbers_mut()[..numbers], width, |row, h| {
            let at = row * width;
            for ((h, g), u) in h.iter_mut().zip(&g[at..]).zip(&u[at..]) {
                *h = g / (1.0 + exp(-g)) * u;
            }
        });
    })
}
