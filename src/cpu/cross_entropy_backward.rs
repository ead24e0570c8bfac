//! dz = (softmax(z) - [label]) / labels of the whole batch, in place. Padding columns become zero.

use super::binding::all;
use super::exp::exp;
use super::parallel::each_row;
use super::{Constants, Run};

pub fn twin(constants: &Constants<'_>) -> Run {
    let (width, first) = (constants.size("V"), constants.size_or_zero("FIRST"));
    let stride = width.next_multiple_of(4);
    Box::new(move |bound| {
        let [step, stats, z, chunk] = all(bound);
        let (step, chunk) = (step.step(), chunk.chunk());
        let stats = stats.numbers();
        let count = chunk.labelled(&step);
        each_row(&mut z.numbers_mut()[..count * stride], stride, |row, z| {
            let slot = chunk.first as usize + row;
            let (top, total) = (stats[slot * 4], stats[slot * 4 + 1]);
            let (z, padding) = z.split_at_mut(width);
            for z in z.iter_mut() {
                *z = exp(*z - top) / total * step.inv_labels;
            }
            let label = stats[slot * 4 + 3] as usize;
            if (first..first + width).contains(&label) {
                z[label - first] -= step.inv_labels;
            }
            padding.fill(0.0);
        });
    })
}
