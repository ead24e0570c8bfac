//! `gelu` and `geglu`.

use tabtune::ops::{geglu, gelu};

use super::{Bed, ROWS, times};
use crate::check::{ONE_FORM, device};
use crate::reference::*;

/// Where x³ and the exponential would exceed the largest f32, on both sides.
const FAR: [f64; 4] = [-12.0, 12.0, -1e20, 1e20];

/// Numbers up to ±6, where the function bends. With `far`, the last row ends with numbers far out; their products are
/// so large that the others are compared without them.
fn inputs(bed: &mut Bed, n: usize, far: bool) -> Vec<f64> {
    let mut x: Vec<f64> = times(6.0, &bed.noise(n)).iter().map(|x| f64::from(*x as f32)).collect();
    if far {
        x[n - 4..].copy_from_slice(&FAR.map(|x| f64::from(x as f32)));
    }
    x
}

crate::device_tests! {
    /// One shader serves both shapes.
    async fn gelu_equals_its_reference() {
        for shape in ONE_FORM {
            let device = device(shape).await;
            for f in [4, 12, 68] {
                for (rows, far) in ROWS.into_iter().flat_map(|rows| [(rows, false), (rows, true)]) {
                    let mut bed = Bed::new(&device, &format!("gelu of {f}, far: {far}"), rows);
                    let x_values = inputs(&mut bed, rows.1 * f, far);
                    let x = bed.var_of(f, &x_values);
                    let h = gelu(&mut bed.rec, &x);
                    let (_, dh) = bed.seed(&h);
                    bed.writes("h", &h.data, gelu_forward(&x_values));
                    bed.writes_grad("dx", &x, gelu_backward(&dh, &x_values));
                    bed.check().await;
                }
            }
        }
    }

    async fn geglu_equals_its_reference() {
        for shape in ONE_FORM {
            let device = device(shape).await;
            for f in [4, 12, 68] {
                for (rows, far) in ROWS.into_iter().flat_map(|rows| [(rows, false), (rows, true)]) {
                    let mut bed = Bed::new(&device, &format!("geglu of {f}, far: {far}"), rows);
                    let g_values = inputs(&mut bed, rows.1 * f, far);
                    let gate = bed.var_of(f, &g_values);
                    let (up, u_values) = bed.var(f);
                    let h = geglu(&mut bed.rec, &gate, &up);
                    let (_, dh) = bed.seed(&h);
                    let (dg, du) = geglu_backward(&dh, &g_values, &u_values);
                    bed.writes("h", &h.data, geglu_forward(&g_values, &u_values));
                    bed.writes_grad("dgate", &gate, dg);
                    bed.writes_grad("dup", &up, du);
                    bed.check().await;
                }
            }
        }
    }
}
