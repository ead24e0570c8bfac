//! The mean loss over rows.

use super::control::Control;
use super::team::Team;
use crate::error::Result;
use crate::model::Transformer;
use crate::plan::Progress;
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
    let team = Team::alone(evaluator.batch, evaluator.seq_len);
    team.evaluate(evaluator, rows, strength, None, control).await
}
