//! Rows of the embedding table. The table is frozen and nothing lies below it, so there is no backward pass.

use std::iter;

use super::weight::Weight;
use crate::device::Tensor;
use crate::plan::{Recorder, Var};

/// Records y [rows, C] = scale · table[tokens], for the tokens of the plan's input.
pub fn embed(rec: &mut Recorder, table: &Weight, rows: usize, scale: f32) -> Var {
    let y = rec.tensor(rows, table.cols);
    let tokens = rec.input.tokens.clone();
    for slab in table.slabs.iter() {
        let mut constants = vec![("C", table.cols.into()), ("COUNT", slab.stored.rows.into())];
        if slab.first > 0 {
            constants.push(("FIRST", slab.first.into()));
        }
        if scale != 1.0 {
            constants.push(("SCALE", scale.into()));
        }
        let features: Vec<&str> = slab.stored.format.feature().into_iter().collect();
        let stored = slab.stored.operands();
        let operands: Vec<&Tensor> = iter::once(&tokens).chain(stored).chain(iter::once(&y)).collect();
        rec.dispatch("embed", &features, constants, &[("quads", rows * table.cols / 4)], &operands);
    }
    Var::frozen(y)
}
