//! y (+)= s · Σ of the parts that the splits of a product left, in their order. Every part has as many numbers as y.

use super::binding::{Slice, all};
use super::parallel::each_row;
use super::{Constants, Run};

/// Numbers that a thread takes at least.
const BLOCK: usize = 1024;

pub fn twin(constants: &Constants<'_>) -> Run {
    let accumulate = constants.flag("ACCUMULATE");
    let run = move |rows: usize, scale: f32, parts: &Slice<'_>, y: &mut Slice<'_>| {
        if rows == 0 || scale == 0.0 {
            return;
        }
        let (parts, y) = (parts.numbers(), y.numbers_mut());
        let count = y.len();
        each_row(y, BLOCK, |block, y| {
            for (i, y) in y.iter_mut().enumerate() {
                let sum: f32 = parts[block * BLOCK + i..].iter().step_by(count).sum();
                *y = scale * sum + if accumulate { *y } else { 0.0 };
            }
        });
    };
    match (constants.has("site"), constants.has("chunk")) {
        (true, _) => Box::new(move |bound| {
            let [step, parts, y, site] = all(bound);
            let step = step.step();
            run(step.rows as usize, site.site().scale * step.strength, parts, y);
        }),
        (_, true) => Box::new(move |bound| {
            let [step, parts, y, chunk] = all(bound);
            run(chunk.chunk().labelled(&step.step()), 1.0, parts, y);
        }),
        _ => Box::new(move |bound| {
            let [step, parts, y] = all(bound);
            run(step.step().rows as usize, 1.0, parts, y);
        }),
    }
}
