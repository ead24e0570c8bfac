//! Rotates (x_i, x_{i+D/2}) by the angle position · theta^(-2i/D); INVERSE rotates back, which is the backward pass.

use super::binding::all;
use super::parallel::each_row_of_two;
use super::{Constants, Run};

pub fn twin(constants: &Constants<'_>) -> Run {
    let (heads, key_heads, size) = (constants.size("H"), constants.size("KV"), constants.size("D"));
    let half = size / 2;
    let sign = if constants.flag("INVERSE") { -1.0 } else { 1.0 };
    Box::new(move |bound| {
        let [step, cosine, sine, starts, q, k] = all(bound);
        let step = step.step();
        let rows = step.rows as usize;
        let (cosine, sine, starts) = (cosine.numbers(), sine.numbers(), starts.words());
        let q = (&mut q.numbers_mut()[..rows * heads * size], heads * size);
        let k = (&mut k.numbers_mut()[..rows * key_heads * size], key_heads * size);
        each_row_of_two(q, k, |row, q, k| {
            let at = (step.position as usize + row - starts[row] as usize) * half;
            let (cosine, sine) = (&cosine[at..at + half], &sine[at..at + half]);
            for head in q.chunks_mut(size).chain(k.chunks_mut(size)) {
                let (low, high) = head.split_at_mut(half);
                for ((x, y), (c, s)) in low.iter_mut().zip(high).zip(cosine.iter().zip(sine)) {
                    let s = sign * s;
                    (*x, *y) = (*x * c - *y * s, *y * c + *x * s);
                }
            }
        });
    })
}
