//! Rows of the embedding table. It is frozen and nothing lies below it, so there is no backward pass.

use super::groups_of_64;
use super::project::Weight;
use crate::plan::{Recorder, Var};

/// Records y [rows, C] = table[tokens], for the tokens of the plan's input.
pub fn embed(rec: &mut Recorder, table: &Weight, rows: usize) -> Var {
    let y = rec.tensor(rows, table.cols);
    let tokens = rec.input.tokens.clone();
    for slab in table.slabs.iter() {
        let mut constants = vec![("C", table.cols as u32), ("COUNT", slab.tensor.rows as u32)];
        if slab.first > 0 {
            constants.push(("FIRST", slab.first as u32));
        }
        let features: Vec<&str> = slab.tensor.format.feature().into_iter().collect();
        rec.dispatch("embed", &features, constants, groups_of_64(rows * table.cols / 4), &[&tokens, &slab.tensor, &y]);
    }
    Var::frozen(y)
}
