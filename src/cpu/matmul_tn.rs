//! g[P,Q] += s · aᵀ b over the rows of the micro-batch, with P columns of a, b[M,Q]: the gradient of a trained matrix
//! or of a slab of it.

use super::binding::{Slice, all};
use super::product::{Matrix, Threads, product};
use super::{Constants, Run};

pub fn twin(constants: &Constants<'_>) -> Run {
    let (p, q) = (constants.size("P"), constants.size("Q"));
    let (stride, first) = (constants.size_or("A_STRIDE", p), constants.size_or_zero("A_OFFSET"));
    let run = move |rows: usize, scale: f32, a: &Slice<'_>, b: &Slice<'_>, g: &mut Slice<'_>| {
        let a = Matrix::new(&a.numbers()[first..], rows, p, stride).transposed();
        let b = Matrix::new(b.numbers(), rows, q, q);
        if rows > 0 {
            product(g.numbers_mut(), q, a, b, scale, true, Threads::All);
        }
    };
    if constants.has("site") {
        Box::new(move |bound| {
            let [step, a, b, g, site] = all(bound);
            let step = step.step();
            run(step.rows as usize, site.site().scale * step.strength, a, b, g);
        })
    } else {
        Box::new(move |bound| {
            let [step, a, b, g] = all(bound);
            run(step.step().rows as usize, 1.0, a, b, g);
        })
    }
}
