//! `rms_norm`.

use tabtune::ops::{RmsNorm, rms_norm};

use super::{Bed, ROWS};
use crate::check::{SHAPES, device};
use crate::reference::*;

/// A power of two, so that f32 and f64 hold the same number, and so large that a kernel that ignores it fails.
const EPS: f64 = 0.125;

crate::device_tests! {
    /// 260 numbers are one quad more than the 64 lanes of a work group. A row of several parts is a row of heads.
    /// Some gains are stored less 1.
    async fn rms_norm_equals_its_reference() {
        for shape in SHAPES {
            let device = device(shape).await;
            for (c, parts) in [(4, 1), (12, 1), (68, 1), (260, 1), (4, 3), (12, 2), (68, 5)] {
                for (rows, plus) in ROWS.into_iter().zip([0.0, 1.0, 0.0, 1.0]) {
                    let mut bed = Bed::new(&device, &format!("rms_norm of {parts} x {c} plus {plus}"), rows);
                    let (x, x_values) = bed.var(parts * c);
                    let (w, w_values) = bed.matrix(1, c);
                    let y = rms_norm(&mut bed.rec, &x, RmsNorm { weight: &w, plus: plus as f32, eps: EPS as f32 });
                    let w_values: Vec<f64> = w_values.iter().map(|w| w + plus).collect();
                    let (_, dy) = bed.seed(&y);
                    bed.writes("y", &y.data, rms_norm_forward(&x_values, &w_values, EPS).0);
                    bed.writes_grad("dx", &x, rms_norm_backward(&dy, &x_values, &w_values, EPS));
                    bed.check().await;
                }
            }
        }
    }
}
