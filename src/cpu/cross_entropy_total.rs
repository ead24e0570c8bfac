//! totals (+)= {Σ over labelled rows of -log p, labelled rows}

use super::binding::all;
use super::{Constants, Run};

pub fn twin(constants: &Constants<'_>) -> Run {
    let accumulate = constants.flag("ACCUMULATE");
    Box::new(move |bound| {
        let [step, stats, totals] = all(bound);
        let step = step.step();
        if step.rows == 0 {
            return;
        }
        let stats = &stats.numbers()[..step.labelled as usize * 4];
        let sum: f32 = stats.chunks_exact(4).map(|stats| stats[0] + stats[1].ln() - stats[2]).sum();
        let totals = totals.numbers_mut();
        let before = if accumulate { [totals[0], totals[1]] } else { [0.0; 2] };
        (totals[0], totals[1]) = (before[0] + sum, before[1] + step.labelled as f32);
    })
}
