//! The engine behind a [`Helper`](super::Helper): a model, and plans for its part of the micro-batches of a run.

use super::learner::Learner;
use super::team::{Shape, Task};
use crate::error::{Error, Result};
use crate::model::Transformer;
use crate::plan::Progress;
use crate::train::{Evaluator, Sums, Trainer};

pub struct Assistant {
    model: Transformer,
    ready: Option<Ready>,
}

struct Ready {
    learner: Learner,
    trainer: Trainer,
    evaluator: Evaluator,
}

impl Assistant {
    pub fn new(model: Transformer) -> Assistant {
        Assistant { model, ready: None }
    }

    /// Makes the plans of a run; those of the run before are dropped first.
    pub async fn prepare(&mut self, shape: Shape) -> Result<()> {
        let Shape { method, spec, trainer: settings } = shape;
        self.ready = None;
        let learner = Learner::new(&self.model, method, spec)?;
        let model = learner.attach(&self.model);
        let trainer = Trainer::record(&model, &learner.params(), settings)?;
        let evaluator = Evaluator::record(&model, settings.batch, settings.seq_len)?;
        let trainer = trainer.finish(&mut Progress::silent()).await?;
        let evaluator = evaluator.finish(&mut Progress::silent()).await?;
        self.ready = Some(Ready { learner, trainer, evaluator });
        Ok(())
    }

    /// The sums of a task, or `None` if `stop` said to give it up.
    pub async fn compute(&mut self, task: Task, stop: &dyn Fn() -> bool) -> Result<Option<Sums>> {
        let Task { backward, step, micros, p } = task;
        let Some(Ready { learner, trainer, evaluator }) = &mut self.ready else {
            return Err(Error::Internal { what: "a helper was given a task before it had plans".to_string() });
        };
        if let Some(p) = p {
            learner.write(&self.model.device, &p);
        }
        if backward {
            trainer.accumulate(&micros, &step, 1);
            let sums = trainer.sums(stop).await;
            trainer.forget_sums();
            return sums;
        }
        let mut sums = Sums::default();
        for micro in &micros {
            let ticket = evaluator.submit(micro, step.strength, 1)?;
            let Some((loss, labels)) = evaluator.result_unless(ticket, stop).await? else { return Ok(None) };
            sums.loss += loss as f32;
            sums.labels += labels;
        }
        Ok(Some(sums))
    }
}
