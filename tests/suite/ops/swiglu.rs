//! `swiglu`.

use tabtune::device::Shape;
use tabtune::ops::swiglu;

use super::{Bed, ROWS, times};
use crate::check::{ONE_FORM, device};
use crate::reference::*;

crate::device_tests! {
    /// One shader serves both shapes. Gates reach ±8, and in some columns ±100, where exp(-gate) exceeds the largest
    /// f32.
    async fn swiglu_equals_its_reference() {
        for shape in ONE_FORM {
            let device = device(shape).await;
            for f in [4, 12, 68] {
                for rows in ROWS {
                    let mut bed = Bed::new(&device, &format!("swiglu of {f}"), rows);
                    let mut g_values = times(8.0, &bed.noise(rows.1 * f));
                    g_values[0] = -100.0;
                    g_values[1] = 100.0;
                    let gate = bed.var_of(f, &g_values);
                    let (up, u_values) = bed.var(f);
                    let h = swiglu(&mut bed.rec, &gate, &up);
                    let (_, dh) = bed.seed(&h);
                    let (dg, du) = swiglu_backward(&dh, &g_values, &u_values);
                    bed.writes("h", &h.data, swiglu_forward(&g_values, &u_values));
                    bed.writes_grad("dgate", &gate, dg);
                    bed.writes_grad("dup", &up, du);
                    bed.check().await;
                }
            }
        }
    }

    /// 65,600 work groups, more than one dimension holds: the MLP of Llama-1B at 2,050 rows. Natively only, because a
    /// browser's software device would need a minute.
    async fn swiglu_of_many_rows_equals_its_reference() {
        if cfg!(target_arch = "wasm32") {
            return;
        }
        let device = device(Shape::Direct).await;
        let (rows, f) = (2_050, 8_192);
        let mut bed = Bed::new(&device, "swiglu of 16.8 million numbers", (rows, rows));
        let ((gate, g_values), (up, u_values)) = (bed.var(f), bed.var(f));
        let h = swiglu(&mut bed.rec, &gate, &up);
        let (_, dh) = bed.seed(&h);
        let (dg, du) = swiglu_backward(&dh, &g_values, &u_values);
        bed.writes("h", &h.data, swiglu_forward(&g_values, &u_values));
        bed.writes_grad("dgate", &gate, dg);
        bed.writes_grad("dup", &up, du);
        bed.check().await;
    }
}
