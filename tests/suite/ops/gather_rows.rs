//! `gather_rows` packs the labelled rows together, and gives every original row its gradient or zero.

use tabtune::ops::gather_rows;

use super::{Bed, ROWS};
use crate::check::{ONE_FORM, device};
use crate::reference::*;

/// Which rows have a label.
#[derive(Clone, Copy, Debug)]
pub enum Labels {
    All,
    Nothing,
    Third,
    Last,
}

pub const LABELS: [Labels; 4] = [Labels::All, Labels::Nothing, Labels::Third, Labels::Last];

/// Random labels below `v`, written to the bed's lists. Rows without a label have one in the list too, which must not
/// count.
pub fn label(bed: &mut Bed, labels: Labels, v: usize) -> Vec<Option<usize>> {
    let rows = bed.rows();
    let ids: Vec<usize> = (0..rows).map(|_| bed.below(v)).collect();
    let carries = |row: usize| match labels {
        Labels::All => true,
        Labels::Nothing => false,
        Labels::Third => row % 3 == 1,
        Labels::Last => row + 1 == rows,
    };
    let labels: Vec<Option<usize>> = ids.iter().enumerate().map(|(row, &id)| carries(row).then_some(id)).collect();
    let list: Vec<u32> = (0..rows as u32).filter(|&row| carries(row as usize)).collect();
    let mut slot_of_row = vec![u32::MAX; rows];
    for (slot, &row) in list.iter().enumerate() {
        slot_of_row[row as usize] = slot as u32;
    }
    bed.step.labelled = list.len() as u32;
    bed.lists = [Vec::new(), ids.iter().map(|&id| id as u32).collect(), list, slot_of_row];
    labels
}

crate::device_tests! {
    /// One shader serves both shapes.
    async fn gather_rows_equals_its_reference() {
        for shape in ONE_FORM {
            let device = device(shape).await;
            for c in [4, 12, 68] {
                for rows in ROWS {
                    for labels in LABELS {
                        let mut bed = Bed::new(&device, &format!("gather_rows of {c}, {labels:?} labelled"), rows);
                        label(&mut bed, labels, 1);
                        let list: Vec<usize> = bed.lists[2].iter().map(|&row| row as usize).collect();
                        let (x, x_values) = bed.var(c);
                        let y = gather_rows(&mut bed.rec, &x, rows.0);
                        let (_, dy) = bed.seed(&y);
                        bed.writes("y", &y.data, gather_rows_forward(&x_values, &list, c));
                        bed.writes_grad("dx", &x, gather_rows_backward(&dy, &list, rows.1, c));
                        bed.check().await;
                    }
                }
            }
        }
    }
}
