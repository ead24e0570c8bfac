//! cache[position + row] = x[row]: appends new keys and values to the old ones.

use super::binding::all;
use super::{Constants, Run};

pub fn twin(constants: &Constants<'_>) -> Run {
    let cols = constants.size("C");
    Box::new(move |bound| {
        let [step, k, v, k_cache, v_cache] = all(bound);
        let step = step.step();
        let (at, numbers) = (step.position as usize * cols, step.rows as usize * cols);
        k_cache.numbers_mut()[at..at + numbers].copy_from_slice(&k.numbers()[..numbers]);
        v_cache.numbers_mut()[at..at + numbers].copy_from_slice(&v.numbers()[..numbers]);
    })
}
