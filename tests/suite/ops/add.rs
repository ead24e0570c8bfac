//! `add`, and the gradients that it shares instead of copying.

use tabtune::ops::{Matrix, RmsNorm, add, project, rms_norm};

use super::{Bed, ROWS, sum, times};
use crate::check::{ONE_FORM, SHAPES, device};
use crate::reference::*;

crate::device_tests! {
    /// One shader serves both shapes.
    async fn add_equals_its_reference() {
        for shape in ONE_FORM {
            let device = device(shape).await;
            for c in [4, 12, 68] {
                for rows in ROWS {
                    let mut bed = Bed::new(&device, &format!("add of {c}"), rows);
                    let ((x, x_values), (y, y_values)) = (bed.var(c), bed.var(c));
                    let z = add(&mut bed.rec, &x, &y);
                    let (dz, values) = bed.seed(&z);
                    bed.writes("z", &z.data, add_forward(&x_values, &y_values));
                    let (dx, dy) = add_backward(&values);
                    bed.changes("dz", &dz, values);
                    // Both gradients are dz itself, so nothing is written.
                    bed.keeps_grad("dx", &x, dx);
                    bed.keeps_grad("dy", &y, dy);
                    bed.check().await;
                }
            }
        }
    }

    /// v = (x + y) + x: when the second gradient of x arrives, the first is shared with dv and dz, so the sum needs new
    /// memory.
    async fn add_twice_doubles_one_gradient_and_keeps_the_other() {
        for shape in ONE_FORM {
            let device = device(shape).await;
            for rows in ROWS {
                let mut bed = Bed::new(&device, "add twice", rows);
                let ((x, x_values), (y, y_values)) = (bed.var(12), bed.var(12));
                let z = add(&mut bed.rec, &x, &y);
                let v = add(&mut bed.rec, &z, &x);
                let (dv, values) = bed.seed(&v);
                bed.writes("v", &v.data, sum(&times(2.0, &x_values), &y_values));
                bed.writes_grad("dx", &x, times(2.0, &values));
                bed.keeps_grad("dy", &y, values.clone());
                bed.changes("dv", &dv, values);
                bed.check().await;
            }
        }
    }

    /// v = x + rms_norm(x) Wᵀ, as in a block: dx is dv until the norm adds to it in place, after the branch has read
    /// it.
    async fn add_of_a_branch_adds_in_place() {
        for shape in SHAPES {
            let device = device(shape).await;
            for rows in ROWS {
                let mut bed = Bed::new(&device, "a residual branch", rows);
                let (x, x_values) = bed.var(12);
                let (gain, gain_values) = bed.matrix(1, 12);
                let (w, w_values) = bed.weight(12, 12, 64);
                let v = {
                    let n = rms_norm(&mut bed.rec, &x, RmsNorm { weight: &gain, plus: 0.0, eps: 0.125 });
                    let branch = project(&mut bed.rec, None, &n, Matrix::Frozen(&w), None);
                    add(&mut bed.rec, &x, &branch)
                };
                let (n_values, _) = rms_norm_forward(&x_values, &gain_values, 0.125);
                let (dv, values) = bed.seed(&v);
                bed.writes("v", &v.data, sum(&x_values, &matmul(&n_values, &w_values, rows.1, 12, 12)));
                let dn = matmul_nn(&values, &w_values, rows.1, 12, 12);
                bed.changes("dx", &dv, sum(&values, &rms_norm_backward(&dn, &x_values, &gain_values, 0.125)));
                bed.check().await;
            }
        }
    }
}
