//! The mean loss over rows.

use super::control::{Control, Wish};
use crate::error::Result;
use crate::model::Transformer;
use crate::plan::Progress;
use crate::text::batches::MicroBatch;
use crate::text::rows::Row;
use crate::train::Evaluator;

/// An evaluator of `model` for batches of this shape.
pub async fn evaluator(model: &Transformer, batch: usize, seq_len: usize) -> Result<Evaluator> {
    Evaluator::record(model, batch, seq_len)?.finish(&mut Progress::silent()).await
}

/// A mean over labels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// In nats per token; `None` if there are no labels, because nothing has no mean.
    pub loss: Option<f64>,
    pub labels: u32,
}

/// The mean loss over the labels of all rows, at an adapter strength. `None` if `control` asked for a stop or a pause.
pub async fn evaluate(
    evaluator: &mut Evaluator,
    rows: &[Row],
    strength: f32,
    control: &Control,
) -> Result<Option<Measured>> {
    let (mut sum, mut labels) = (0.0, 0);
    let stop = || control.wish() != Wish::GoOn;
    let mut waiting = None;
    for rows in rows.chunks(evaluator.batch) {
        if stop() {
            return Ok(None);
        }
        let micro = MicroBatch::assemble(&rows.iter().collect::<Vec<_>>(), evaluator.batch, evaluator.seq_len);
        let ticket = evaluator.submit(&micro, strength, 1)?;
        if let Some(before) = waiting.replace(ticket) {
            let Some((loss, count)) = evaluator.result_unless(before, &stop).await? else { return Ok(None) };
            sum += loss;
            labels += count;
        }
    }
    if let Some(last) = waiting {
        let Some((loss, count)) = evaluator.result_unless(last, &stop).await? else { return Ok(None) };
        sum += loss;
        labels += count;
    }
    let loss = (labels > 0).then(|| sum / f64::from(labels));
    Ok(Some(Measured { loss, labels }))
}
