//! m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g²,
//! p = p (1 - lr wd) - lr m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)
//! (Loshchilov and Hutter 2019, like torch.optim.AdamW). Also zeroes g, which nothing else does.

use super::binding::all;
use super::{Constants, Run};

const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.999;
const EPSILON: f32 = 1e-8;

pub fn twin(constants: &Constants<'_>) -> Run {
    let numbers = constants.size("QUADS") * 4;
    Box::new(move |bound| {
        let [step, state, p, g, m, v] = all(bound);
        let step = step.step();
        if step.rows == 0 {
            return;
        }
        let (factor, broken) = (state.numbers()[0], state.words()[1] != 0);
        let g = &mut g.numbers_mut()[..numbers];
        if !broken {
            let keep = 1.0 - step.learning_rate * step.weight_decay;
            let moments = m.numbers_mut().iter_mut().zip(v.numbers_mut());
            for ((p, g), (m, v)) in p.numbers_mut().iter_mut().zip(g.iter()).zip(moments) {
                let grad = g * factor;
                *m = BETA_1 * *m + (1.0 - BETA_1) * grad;
                *v = BETA_2 * *v + (1.0 - BETA_2) * grad * grad;
                *p = *p * keep - step.learning_rate * (*m / step.bias_1) / (v.sqrt() / step.bias_2 + EPSILON);
            }
        }
        g.fill(0.0);
    })
}
