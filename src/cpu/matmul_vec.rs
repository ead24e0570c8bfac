//! y[N] (+)= s · w[N,K] · a[K]: one row, for decoding. The numbers of y up to the next multiple of 4 become zero.

use super::binding::{Slice, all};
use super::dot::dot;
use super::parallel::each_task;
use super::weight::{Format, Weight};
use super::{Constants, Run};

/// How many rows of w one task multiplies.
const ROWS: usize = 128;

pub fn twin(constants: &Constants<'_>) -> Run {
    let (rows, depth) = (constants.size("N"), constants.size("K"));
    let (offset, accumulate) = (constants.size_or_zero("Y_OFFSET"), constants.flag("ACCUMULATE"));
    let format = Format::of(constants);
    let run = move |scale: f32, a: &Slice<'_>, w: Weight<'_>, y: &mut Slice<'_>| {
        let a = &a.numbers()[..depth];
        let parts = each_task(rows.div_ceil(ROWS), |task| {
            let first = task * ROWS;
            let count = ROWS.min(rows - first);
            let mut dots = Vec::with_capacity(count);
            w.rows(first, count, depth, |row| dots.push(dot(row, a)));
            dots
        });
        let y = &mut y.numbers_mut()[offset..];
        for (y, dot) in y.iter_mut().zip(parts.into_iter().flatten()) {
            *y = if accumulate { *y + scale * dot } else { scale * dot };
        }
        if !accumulate {
            y[rows..rows.next_multiple_of(4)].fill(0.0);
        }
    };
    if constants.has("site") {
        Box::new(move |bound| {
            let (before, w, after) = format.split(bound);
            let ([step, a], [y, site]) = (all(before), all(after));
            let step = step.step();
            let scale = site.site().scale * step.strength;
            // Strength zero leaves y as it is, whatever the adapter holds.
            if step.rows > 0 && (scale != 0.0 || !accumulate) {
                run(scale, a, w, y);
            }
        })
    } else {
        Box::new(move |bound| {
            let (before, w, after) = format.split(bound);
            let ([step, a], [y]) = (all(before), all(after));
            if step.step().rows > 0 {
                run(1.0, a, w, y);
            }
        })
    }
}
