//! Running (maximum, Σ exp(z - maximum), z of the label) of each labelled row over the slabs of the vocabulary:
//! log p = z of the label - maximum - log Σ. The label is kept too, as a number, for whoever reads the logits next.

use super::binding::all;
use super::exp::{exp, sum_exp};
use super::parallel::each_task;
use super::{Constants, Run};

const LOW: f32 = -1e30;

pub fn twin(constants: &Constants<'_>) -> Run {
    let (width, first) = (constants.size("V"), constants.size_or_zero("FIRST"));
    let stride = width.next_multiple_of(4);
    Box::new(move |bound| {
        let [step, z, rows, labels, stats, chunk] = all(bound);
        let chunk = chunk.chunk();
        let count = chunk.labelled(&step.step());
        let (z, rows, labels) = (z.numbers(), rows.words(), labels.words());
        let slots = chunk.first as usize..chunk.first as usize + count;
        let tops = each_task(count, |row| {
            let z = &z[row * stride..][..width];
            let top = z.iter().copied().fold(LOW, f32::max);
            (top, sum_exp(z, top))
        });
        let stats = &mut stats.numbers_mut()[slots.start * 4..slots.end * 4];
        for (((slot, stats), (top, total)), z) in
            slots.zip(stats.chunks_exact_mut(4)).zip(tops).zip(z.chunks_exact(stride))
        {
            if first == 0 {
                stats.copy_from_slice(&[LOW, 0.0, 0.0, 0.0]);
            }
            let label = labels[rows[slot] as usize] as usize;
            if (first..first + width).contains(&label) {
                stats[2] = z[label - first];
            }
            let both = stats[0].max(top);
            stats[1] = stats[1] * exp(stats[0] - both) + total * exp(top - both);
            (stats[0], stats[3]) = (both, label as f32);
        }
    })
}
