//! The matrix product in every form, beside the multiply-adds in registers.

use std::rc::Rc;

use tabtune::device::{Device, Pool, Stored, Tensor};
use tabtune::error::Result;
use tabtune::ops::{Matrix, Slab, Weight, project};
use tabtune::plan::{Input, Progress, Recorder, Timer, Var};

use super::probes::Probes;
use crate::terminal::print;

pub async fn products(device: &Rc<Device>, probes: &Probes, timer: Timer) -> Result<()> {
    for (m, n, k) in [(256, 256, 256), (256, 688, 256), (512, 576, 576)] {
        for (form, back) in [("x Wᵀ", false), ("dy W", true)] {
            let rate = 2.0 * (m * n * k) as f64 / seconds(device, (m, n, k), back, timer).await? / 1e9;
            say!(
                "  matmul {m:4} x {n:4} x {k:4}  {form:5}     {rate:8.1} GFLOP/s  {:5.1} % of the probe",
                100.0 * rate / probes.flops
            );
        }
    }
    Ok(())
}

async fn seconds(device: &Rc<Device>, (m, n, k): (usize, usize, usize), back: bool, timer: Timer) -> Result<f64> {
    let measurements = super::measurements(device);
    let pool = Pool::default();
    let mut progress = Progress::silent();
    let input = Input::new(device, m)?;
    let numbers = |count: usize| (0..count).map(|i| ((i * 7919) % 1000) as f32 * 1e-3 - 0.5).collect::<Vec<f32>>();
    let tensor = |label, rows, cols| {
        let tensor = Tensor::owned(device, label, rows, cols)?;
        tensor.upload(device, &numbers(rows * cols));
        Ok(tensor)
    };
    let w =
        Weight { rows: n, cols: k, slabs: Rc::new(vec![Slab { first: 0, stored: Stored::f32(tensor("w", n, k)?) }]) };
    let x = Var::new(tensor("x", m, k)?, back);
    let mut rec = Recorder::new(device, &pool, &input, back);
    let y = project(&mut rec, None, &x, Matrix::Frozen(&w), None);
    if let Some(grad) = &y.grad {
        *grad.borrow_mut() = Some(tensor("dy", m, n)?);
    }
    let plan = rec.finish(&mut progress).await?;
    let both = timer.seconds(device, &plan, m, measurements).await?;
    if !back {
        return Ok(both);
    }
    // The plan holds forward and backward: the forward alone is taken off.
    let mut rec = Recorder::new(device, &pool, &input, false);
    project(&mut rec, None, &Var::frozen(x.data), Matrix::Frozen(&w), None);
    let forward = rec.finish(&mut progress).await?;
    Ok((both - timer.seconds(device, &forward, m, measurements).await?).max(1e-9))
}
