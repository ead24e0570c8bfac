//! `learned_positions`: rows of sequences that begin at zero, and of one that goes on.

use tabtune::ops::learned_positions;

use super::Bed;
use crate::check::{ONE_FORM, device};
use crate::reference::*;

crate::device_tests! {
    /// One shader serves both shapes. (lengths of the sequences, rows that the plan has room for, first position)
    async fn learned_positions_are_added_to_the_row_of_each_token() {
        for shape in ONE_FORM {
            let device = device(shape).await;
            for c in [4, 68] {
                let cases: [(&[usize], usize, usize); 5] =
                    [(&[7], 7, 0), (&[5; 3], 20, 0), (&[2, 1, 9, 3], 15, 0), (&[1], 1, 9), (&[4], 6, 3)];
                for (lengths, room, position) in cases {
                    let name = format!("learned_positions [{c}] of {lengths:?} from {position}");
                    let mut bed = Bed::new(&device, &name, (room, lengths.iter().sum()));
                    bed.cut(lengths);
                    bed.step.position = position as u32;
                    let (y, y_values) = bed.var(c);
                    let (table, table_values) = bed.matrix(16, c);
                    let y = learned_positions(&mut bed.rec, y, &table);
                    let places: Vec<usize> = bed.places().iter().map(|place| position + place).collect();
                    bed.changes("y", &y.data, learned_positions_forward(&y_values, &table_values, &places, c));
                    bed.check().await;
                }
            }
        }
    }
}
