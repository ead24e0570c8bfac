//! Measures how fast a run will be before it starts.

use super::base::Base;
use super::control::Clock;
use super::settings::Settings;
use crate::adapter::Adapter;
use crate::error::Result;
use crate::plan::Progress;
use crate::text::batches::MicroBatch;
use crate::text::{Dataset, Row};
use crate::train::{StepSettings, Trainer};

/// Milliseconds per step, measured with two steps on real rows whose results are then discarded. The page shows it
/// before a run.
pub async fn probe(base: &Base, data: &Dataset, settings: &Settings, clock: &Clock) -> Result<f64> {
    let spec = settings.check(&base.model.config)?;
    settings.check_rows(data)?;
    let adapter = Adapter::new(&base.model.device, &base.model.config, spec)?;
    adapter.write(&base.model.device, &adapter.initial(settings.seed));
    let (model, params) = (adapter.attach(&base.model), adapter.params());
    let draft = Trainer::record(&model, &params, settings.batch, settings.seq_len, settings.dropout > 0.0)?;
    let mut trainer = draft.finish(&mut Progress::silent()).await?;
    let labelled = data.rows.iter().filter(|row| row.labels.contains(&true));
    let rows: Vec<&Row> = labelled.take(settings.batch).collect();
    let micros = vec![MicroBatch::assemble(&rows, settings.batch, settings.seq_len); settings.accumulate];
    let step = StepSettings { learning_rate: 0.0, weight_decay: 0.0, clip: 1.0, dropout: settings.dropout, seed: 0 };
    let mut elapsed = 0.0;
    for _ in 0..2 {
        let start = clock();
        let ticket = trainer.submit(&micros, step, 1)?;
        trainer.result(ticket).await?;
        elapsed = clock() - start;
    }
    Ok(elapsed)
}
