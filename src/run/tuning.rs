//! How the products of a run are computed on a card: as was measured there, or as the run did that it continues.

use super::control::Control;
use super::learner::Learner;
use super::settings::Settings;
use super::start::Start;
use super::training::Job;
use crate::device::{Pool, Tensor, TunedProduct, exact_now};
use crate::error::Result;
use crate::model::Transformer;
use crate::plan::autotune;
use crate::train::Trainer;
use crate::warning::Warning;

/// What a run waits for measurements, in milliseconds.
const MOST_MS: f64 = 1000.0;

/// Tunes the device for the steps of a run, and returns how. The steps of a run that goes on must stay the same bit for
/// bit, so nothing is measured for it. Errors: `DeviceLost`.
pub(super) async fn tune(
    job: &Job<'_>,
    learner: &Learner,
    start: &Start<'_>,
) -> Result<(Vec<TunedProduct>, Option<Warning>)> {
    let device = &job.base.model.device;
    if let Start::Resume(state) = start {
        let (known, unknown): (Vec<_>, Vec<_>) = state.tuned().into_iter().partition(TunedProduct::is_known);
        device.tune(known.clone());
        return Ok((known, unknown.first().map(no_such_tile)));
    }
    Ok((measure(&learner.attach(&job.base.model), job.settings, job.control).await?, None))
}

/// Tunes the device for the steps of a model with its adapter, unless `control` ends it, and returns how. Errors:
/// `DeviceLost`.
pub(super) async fn measure(model: &Transformer, settings: &Settings, control: &Control) -> Result<Vec<TunedProduct>> {
    let device = &model.device;
    if !settings.autotune || device.software {
        device.tune(Vec::new());
        return Ok(Vec::new());
    }
    // What is measured takes no more memory than the run, and gives it back. Where the model still has that of an
    // earlier run, there may be none for it, and nothing is measured.
    let mut model = model.clone();
    model.pool = Pool::default();
    let totals = device.checked(|| Tensor::owned(device, "totals", 1, 2)).await?;
    let record = || Trainer::record_micro(&model, settings.trainer(settings.batch), &totals);
    autotune(device, &record, &exact_now, MOST_MS, &|| control.ends()).await
}

fn no_such_tile(product: &TunedProduct) -> Warning {
    let TunedProduct { tile, splits, .. } = product;
    let message = format!(
        "the run was computed with the tile {tile} in {splits} splits, which this version of tabtune does not have: \
         its steps may differ in the last bits from what they would have been"
    );
    Warning { code: "other_tiles", message }
}
