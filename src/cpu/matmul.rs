//! y[M,N] (+)= s · a[M,K] · wᵀ with w[N,K], or with `nn`: a[M,K] · w with w[K,N]. K is padded to a multiple of 4 in
//! `a`, with zeros where `nn` has no rows of w (past W_ROWS). The columns of y up to the next multiple of 4 become
//! zero.

use super::binding::{Slice, all};
use super::product::{Matrix, Threads, product};
use super::step::Step;
use super::weight::{Format, Weight};
use super::{Constants, Run};

pub fn twin(constants: &Constants<'_>) -> Run {
    let shape = Shape {
        columns: constants.size("N"),
        depth: constants.size("K"),
        w_rows: constants.size("W_ROWS"),
        a_stride: constants.size("A_STRIDE"),
        a_offset: constants.size_or_zero("A_OFFSET"),
        y_stride: constants.size("Y_STRIDE"),
        y_offset: constants.size_or_zero("Y_OFFSET"),
        accumulate: constants.flag("ACCUMULATE"),
        transposed: constants.has("nn"),
    };
    let format = Format::of(constants);
    match (constants.has("site"), constants.has("chunk")) {
        (true, _) => Box::new(move |bound| {
            let (before, w, after) = format.split(bound);
            let ([step, a], [y, site]) = (all(before), all(after));
            let step = step.step();
            shape.run(step.rows as usize, site.site().scale * step.strength, a, w, y);
        }),
        (_, true) => Box::new(move |bound| {
            let (before, w, after) = format.split(bound);
            let ([step, a], [y, chunk]) = (all(before), all(after));
            let step: Step = step.step();
            shape.run(chunk.chunk().labelled(&step), 1.0, a, w, y);
        }),
        _ => Box::new(move |bound| {
            let (before, w, after) = format.split(bound);
            let ([step, a], [y]) = (all(before), all(after));
            shape.run(step.step().rows as usize, 1.0, a, w, y);
        }),
    }
}

#[derive(Clone, Copy)]
struct Shape {
    columns: usize,
    depth: usize,
    w_rows: usize,
    a_stride: usize,
    a_offset: usize,
    y_stride: usize,
    y_offset: usize,
    accumulate: bool,
    transposed: bool,
}

impl Shape {
    fn run(&self, rows: usize, scale: f32, a: &Slice<'_>, w: Weight<'_>, y: &mut Slice<'_>) {
        let a = a.numbers();
        let y = &mut y.numbers_mut()[self.y_offset..];
        // Strength zero leaves y as it is, whatever the adapter holds.
        if rows == 0 || scale == 0.0 && self.accumulate {
            return;
        }
        let a = |first: usize, count: usize| Matrix::new(&a[self.a_offset + first..], rows, count, self.a_stride);
        if self.transposed {
            let mut accumulate = self.accumulate;
            w.panels(self.w_rows.min(self.depth), self.columns, |first, count, panel| {
                let w = Matrix::new(panel, count, self.columns, self.columns);
                product(y, self.y_stride, a(first, count), w, scale, accumulate, Threads::All);
                accumulate = true;
            });
        } else {
            w.panels(self.columns, self.depth, |first, count, panel| {
                let w = Matrix::new(panel, count, self.depth, self.depth).transposed();
                product(&mut y[first..], self.y_stride, a(0, self.depth), w, scale, self.accumulate, Threads::All);
            });
        }
        if !self.accumulate && !self.columns.is_multiple_of(4) {
            for row in y.chunks_mut(self.y_stride).take(rows) {
                row[self.columns..self.columns.next_multiple_of(4)].fill(0.0);
            }
        }
    }
}
