//! `learned_positions`: rows of sequences that begin at zero, and of one that goes on.

use tabtune::ops::learned_positions;

use super::Bed;
use crate::check::{ONE_FORM, device};
use crate::reference::*;

crate::device_tests! {
    /// One shader serves both shapes. (sequences, tokens of each, rows that the plan has room for, first position)
    async fn learned_positions_are_added_to_the_row_of_each_token() {
        for shape in ONE_FORM {
            let device = device(shape).await;
            for c in [4, 68] {
                for (batch, time, room, position) in [(1, 7, 7, 0), (3, 5, 20, 0), (1, 1, 1, 9), (1, 4, 6, 3)] {
                    let rows = batch * time;
                    let name = format!("learned_positions [{c}] of {batch} x {time} from {position}");
                    let mut bed = Bed::new(&device, &name, (room, rows));
                    bed.step.batch = batch as u32;
                    bed.step.time = time as u32;
                    bed.step.position = position as u32;
                    let (y, y_values) = bed.var(c);
                    let (table, table_values) = bed.matrix(16, c);
                    let y = learned_positions(&mut bed.rec, y, &table);
                    let places: Vec<usize> = (0..rows).map(|row| position + row % time).collect();
                    bed.changes("y", &y.data, learned_positions_forward(&y_values, &table_values, &places, c));
                    bed.check().await;
                }
            }
        }
    }
}
