//! `layer_norm`.

use tabtune::ops::layer_norm;

use super::{Bed, ROWS};
use crate::check::{SHAPES, device};
use crate::reference::*;

/// A power of two, so that f32 and f64 hold the same number, and so large that a kernel that ignores it fails.
const EPS: f64 = 0.125;
/// A mean of every row, far from zero: the variance is lost if it is subtracted after squaring.
const MEAN: f64 = 64.0;

crate::device_tests! {
    /// 260 numbers are one quad more than the 64 lanes of a work group.
    async fn layer_norm_equals_its_reference() {
        for shape in SHAPES {
            let device = device(shape).await;
            for c in [4, 12, 68, 260] {
                for rows in ROWS {
                    let mut bed = Bed::new(&device, &format!("layer_norm of {c}"), rows);
                    let x_values: Vec<f64> =
                        bed.noise(rows.1 * c).iter().map(|x| f64::from((MEAN + 4.0 * x) as f32)).collect();
                    let x = bed.var_of(c, &x_values);
                    let (w, w_values) = bed.matrix(1, c);
                    let (b, b_values) = bed.matrix(1, c);
                    let y = layer_norm(&mut bed.rec, &x, &w, &b, EPS as f32);
                    let (_, dy) = bed.seed(&y);
                    bed.writes("y", &y.data, layer_norm_forward(&x_values, &w_values, &b_values, EPS));
                    bed.writes_grad("dx", &x, layer_norm_backward(&dy, &x_values, &w_values, EPS));
                    bed.check().await;
                }
            }
        }
    }
}
