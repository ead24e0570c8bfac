//! partials[i] = Σ g² over the quads i, i + PARTIALS, i + 2 PARTIALS, …

use super::binding::all;
use super::{Constants, Run};

pub fn twin(constants: &Constants<'_>) -> Run {
    let (quads, count) = (constants.size("QUADS"), constants.size("PARTIALS"));
    Box::new(move |bound| {
        let [step, g, partials] = all(bound);
        if step.step().rows == 0 {
            return;
        }
        let partials = &mut partials.numbers_mut()[..count];
        partials.fill(0.0);
        for part in g.numbers()[..quads * 4].chunks(count * 4) {
            for (sum, quad) in partials.iter_mut().zip(part.chunks_exact(4)) {
                *sum += quad.iter().map(|g| g * g).sum::<f32>();
            }
        }
    })
}
