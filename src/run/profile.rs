//! What the device does with the plans of a run: how long a step takes, what part of the device's arithmetic that is,
//! and which kernels take the time. It needs no text, and changes nothing of the model, of an adapter or of a run.

use serde::Serialize;

use super::base::Base;
use super::control::{Clock, Control};
use super::exercise::Exercise;
use super::settings::Settings;
use super::team::{Helper, Team};
use crate::device::Shape;
use crate::error::Result;
use crate::ops::most_flops;
use crate::plan::{KernelTime, Profile, Timer};

/// Of each size of the register probe: it takes part of the seconds that somebody waits.
const MEASUREMENTS: usize = 2;

/// A step of full rows, all of whose tokens are labelled.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// How many share a step of a run. What is measured is the part of the one that leads, while the others rest.
    pub workers: usize,
    pub ms_per_step: f64,
    /// Of its products: two for every multiply-add.
    pub flops_per_step: f64,
    /// What a card does at most, with numbers that are in registers already. `None` on the CPU: what the probe's twin
    /// reaches there depends on the compiler, and the matrix products of `gemm` may be faster.
    pub most_flops_per_second: Option<f64>,
    /// What part of that a step reaches.
    pub share: Option<f64>,
    /// Whether the card itself says when a kernel began and ended. If not, the host waits for each, which counts.
    pub timestamps: bool,
    /// Of a step, each of whose dispatches runs in a pass of its own. Those that take longest come first.
    pub kernels: Vec<KernelTime>,
}

/// Measures the device with the plans of a run with these settings, in a few seconds or, where a step takes longer, in
/// two steps. `None` if `control` ended it. Errors: those of [`train`](super::train).
pub async fn profile(
    base: &Base,
    settings: &Settings,
    clock: &Clock,
    helpers: &[Box<dyn Helper>],
    control: &Control,
) -> Result<Option<Report>> {
    settings.check(&base.model.config)?;
    let settings = base.fit(settings).await?.settings;
    let team = Team::new(helpers, settings.batch, settings.seq_len);
    let own = Settings { batch: team.leaders_batch(), ..settings.clone() };
    let device = &base.model.device;
    let stop = || control.ends();
    let timer = Timer::of_passes(device);
    let most = match device.shape {
        Shape::Cpu => None,
        Shape::Tiled | Shape::Direct => match most_flops(device, timer, MEASUREMENTS, &stop).await? {
            Some(most) => Some(most.per_second),
            None => return Ok(None),
        },
    };
    let mut exercise = Exercise::new(&base.model, &own, control).await?;
    let Some(ms_per_step) = exercise.ms_per_step(&own, clock, control).await? else { return Ok(None) };
    let profile = Profile::measure(device, &exercise.plans(), own.seq_len, &stop).await?;
    let Some(profile) = profile else { return Ok(None) };
    let flops_per_step = exercise.flops();
    Ok(Some(Report {
        workers: team.workers(),
        ms_per_step,
        flops_per_step,
        most_flops_per_second: most,
        share: most.map(|most| flops_per_step / ms_per_step * 1e3 / most),
        timestamps: timer == Timer::Timestamps,
        kernels: profile.kernels(),
    }))
}
