//! `dropout`: the mask equals the reference's, number for number, forward and backward.

use std::rc::Rc;

use tabtune::device::{Device, Tensor, Usage};
use tabtune::ops::dropout;
use tabtune::plan::Step;

use super::{Bed, ROWS, sum};
use crate::check::{ONE_FORM, device};
use crate::reference::*;

fn site(device: &Rc<Device>, number: u32) -> Tensor {
    let buffer = device.buffer("site", 256, Usage::Uniform).expect("a buffer");
    device.write(&buffer, 0, bytemuck::cast_slice(&[2f32.to_bits(), number, 8, 0]));
    Tensor::in_buffer(buffer, 0, 1, 4)
}

fn masked(values: &[f64], factors: &[f64]) -> Vec<f64> {
    values.iter().zip(factors).map(|(x, factor)| x * factor).collect()
}

crate::device_tests! {
    /// One shader serves both shapes. Two sites read the same x, as q and k do, so the second adds to the gradient of
    /// the first.
    async fn dropout_equals_its_reference() {
        for shape in ONE_FORM {
            let device = device(shape).await;
            for c in [4, 12, 68] {
                for rows in ROWS {
                    let mut bed = Bed::new(&device, &format!("dropout of {c}"), rows);
                    bed.step = Step { step: 5, micro: 1, seed: 77, dropout: 0.3, ..bed.step };
                    let (x, x_values) = bed.var(c);
                    let of = |site| MaskOf { seed: 77, step: 5, micro: 1, site };
                    let factors = [3, 4].map(|site| dropout_factors(of(site), 0.3, x_values.len()));
                    let [y, z] = [3, 4].map(|number| dropout(&mut bed.rec, &x, &site(&device, number)));
                    let ((_, dy), (_, dz)) = (bed.seed(&y), bed.seed(&z));
                    bed.writes("y", &y.data, masked(&x_values, &factors[0]));
                    bed.writes("z", &z.data, masked(&x_values, &factors[1]));
                    bed.writes_grad("dx", &x, sum(&masked(&dy, &factors[0]), &masked(&dz, &factors[1])));
                    bed.check().await;
                }
            }
        }
    }

    /// They are counted by themselves, and from where the part of a micro-batch before this one ends.
    async fn dropout_of_labelled_rows_equals_its_reference() {
        for shape in ONE_FORM {
            let device = device(shape).await;
            for (c, labelled) in [4, 68].into_iter().flat_map(|c| [(c, 0), (c, 1), (c, 20), (c, 67)]) {
                let mut bed = Bed::new(&device, &format!("dropout of {c}, {labelled} labelled"), (70, 67));
                bed.step = Step { seed: 77, dropout: 0.3, first_row: 140, first_labelled: 9, ..bed.step };
                bed.step.labelled = labelled;
                let (x, x_values) = bed.var(c);
                let y = bed.rec.of_labelled(|rec| dropout(rec, &x, &site(&device, 3)));
                let (_, dy) = bed.seed(&y);
                let [first, end] = [9, 9 + labelled as usize].map(|row| row * c);
                let factors = dropout_factors(MaskOf { seed: 77, step: 1, micro: 0, site: 3 }, 0.3, end);
                let written = |values: &[f64]| masked(values, &factors[first..]);
                bed.writes("y", &y.data, written(&x_values));
                bed.writes_grad("dx", &x, written(&dy));
                bed.check().await;
            }
        }
    }

    /// Within four standard deviations, the fraction of zeros is p and masks of two steps, sites or seeds are
    /// independent.
    async fn dropout_masks_are_random() {
        let n = 1 << 16;
        let of = MaskOf { seed: 1, step: 2, micro: 0, site: 3 };
        let others =
            [MaskOf { seed: 2, ..of }, MaskOf { step: 3, ..of }, MaskOf { micro: 1, ..of }, MaskOf { site: 4, ..of }];
        let p = 0.25f32;
        let zeros = |of: MaskOf| dropout_factors(of, p, n).iter().map(|f| *f == 0.0).collect::<Vec<bool>>();
        let near = |what: &str, found: usize, p: f64| {
            let (mean, deviation) = (n as f64 * p, (n as f64 * p * (1.0 - p)).sqrt());
            assert!((found as f64 - mean).abs() < 4.0 * deviation, "{what}: {found} of {n}, expected {mean}");
        };
        let mask = zeros(of);
        near("zeros", mask.iter().filter(|z| **z).count(), 0.25);
        for other in others {
            let both = mask.iter().zip(zeros(other)).filter(|(a, b)| **a && *b).count();
            near(&format!("zeros shared with {other:?}"), both, 0.0625);
        }
        // Neighbours, and numbers 64 apart, which is a row of a small model.
        for lag in [1, 64] {
            let pairs = mask.iter().zip(&mask[lag..]).filter(|(a, b)| **a && **b).count();
            near(&format!("zeros {lag} apart"), pairs, 0.0625);
        }
    }
}
