//! `bias`: added in place, and the gradient passes through.

use tabtune::ops::bias;

use super::{Bed, ROWS};
use crate::check::{ONE_FORM, device};
use crate::reference::*;

crate::device_tests! {
    /// One shader serves both shapes.
    async fn bias_is_added_to_every_row() {
        for shape in ONE_FORM {
            let device = device(shape).await;
            for cols in [4, 68, 132] {
                for rows in ROWS {
                    let mut bed = Bed::new(&device, &format!("bias [{cols}]"), rows);
                    let (x, x_values) = bed.var(cols);
                    let (b, b_values) = bed.matrix(1, cols);
                    let y = bias(&mut bed.rec, x.clone(), &b);
                    let (_, dy) = bed.seed(&y);
                    bed.changes("y", &y.data, bias_forward(&x_values, &b_values));
                    bed.keeps_grad("dx", &x, dy);
                    bed.check().await;
                }
            }
        }
    }
}
