//! `embed`: rows of a table in one slab and in several.

use tabtune::ops::embed;

use super::{Bed, FORMATS, ROWS, times};
use crate::check::{ONE_FORM, device};
use crate::reference::*;

crate::device_tests! {
    /// One shader serves both shapes. The last slab has fewer rows than the others. The tokens include the first and
    /// last of each slab.
    async fn embed_reads_the_slab_that_holds_a_token() {
        for shape in ONE_FORM {
            let device = device(shape).await;
            for (v, c, slab) in [(5, 4, 64), (69, 12, 32), (69, 68, 64)] {
                let scales = [1.0, 1.0, 0.75, 6.0];
                for ((rows, scale), format) in ROWS.into_iter().zip(scales).zip(FORMATS.into_iter().cycle()) {
                    let mut bed = Bed::new(&device, &format!("embed [{v} in slabs of {slab}, {c}] {format:?}"), rows);
                    bed.format = format;
                    let c = bed.width(c);
                    let (table, values) = bed.weight(v, c, slab);
                    let mut tokens: Vec<u32> = (0..rows.1).map(|_| bed.below(v) as u32).collect();
                    for (token, edge) in tokens.iter_mut().rev().zip([v - 1, 0, slab.min(v - 1), (slab - 1).min(v - 1)])
                    {
                        *token = edge as u32;
                    }
                    let y = embed(&mut bed.rec, &table, rows.0, scale as f32);
                    assert!(y.grad.is_none(), "the table is frozen");
                    bed.writes("y", &y.data, times(scale, &embed_forward(&tokens, &values, c)));
                    bed.lists[0] = tokens;
                    bed.check().await;
                }
            }
        }
    }
}
