//! `split`: the parts of a fused matrix, and the gradients of the parts side by side.

use tabtune::ops::split;

use super::{Bed, ROWS};
use crate::check::{ONE_FORM, device};
use crate::reference::*;

crate::device_tests! {
    /// One shader serves both shapes. q is wider than k and v where heads share keys.
    async fn split_parts_are_the_columns_in_order() {
        for shape in ONE_FORM {
            let device = device(shape).await;
            for widths in [[4, 4, 4], [68, 12, 12], [32, 96, 4]] {
                for rows in ROWS {
                    let mut bed = Bed::new(&device, &format!("split {widths:?}"), rows);
                    let cols = widths.iter().sum();
                    let (x, x_values) = bed.var(cols);
                    let parts = split(&mut bed.rec, x.clone(), widths);
                    let mut dx = vec![0.0; rows.1 * cols];
                    let mut first = 0;
                    for (part, width) in parts.iter().zip(widths) {
                        bed.writes("a part", &part.data, split_forward(&x_values, cols, first, width));
                        let (_, dy) = bed.seed(part);
                        for (row, dy) in dy.chunks(width).enumerate() {
                            dx[row * cols + first..][..width].copy_from_slice(dy);
                        }
                        first += width;
                    }
                    bed.writes_grad("dx", &x, dx);
                    bed.check().await;
                }
            }
        }
    }
}
