//! norm = sqrt(Σ partials), factor = min(1, clip / (norm + 1e-6)) like torch.nn.utils.clip_grad_norm_.
//! Publishes {Σ loss, labels, norm, flags} and resets the totals. A loss or norm that is not finite sets the flag for
//! good.

use super::binding::all;
use super::{Constants, Run};

pub fn twin(constants: &Constants<'_>) -> Run {
    let count = constants.size("PARTIALS");
    Box::new(move |bound| {
        let [step, partials, totals, state, result] = all(bound);
        let step = step.step();
        if step.rows == 0 {
            return;
        }
        let squares: f32 = partials.numbers()[..count].iter().sum();
        let norm = squares.sqrt();
        let totals = totals.numbers_mut();
        let state = state.numbers_mut();
        if !squares.is_finite() || !totals[0].is_finite() {
            state[1] = f32::from_bits(1);
        }
        state[0] = if step.clip > 0.0 { (step.clip / (norm + 1e-6)).min(1.0) } else { 1.0 };
        let broken = state[1].to_bits() as f32;
        result.numbers_mut()[..4].copy_from_slice(&[totals[0], totals[1], norm, broken]);
        totals[..2].fill(0.0);
    })
}
