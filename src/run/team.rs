//! Engines that compute a micro-batch together, each a part of its sequences, with the same weights: accumulation side
//! by side. One leads, the others help. In a tab they are workers; natively one engine uses every core.

use std::future::Future;
use std::pin::Pin;

use serde::{Deserialize, Serialize};

use super::control::{Control, Wish};
use super::evaluate::Measured;
use super::learner::Method;
use crate::adapter::AdapterSpec;
use crate::device::Ticket;
use crate::error::{Error, Result};
use crate::plan::Step;
use crate::text::batches::MicroBatch;
use crate::text::rows::Row;
use crate::train::{Evaluator, Sums, TrainerSettings};

/// What a helper makes its plans for: what a run trains, and its part of a micro-batch.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Shape {
    pub method: Method,
    /// Of an adapter.
    pub spec: AdapterSpec,
    /// With the sequences in its part as the batch.
    pub trainer: TrainerSettings,
}

/// A helper's part of each micro-batch of a step, or of one that is evaluated.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Task {
    /// Whether the gradient is wanted.
    pub backward: bool,
    pub step: Step,
    pub micros: Vec<MicroBatch>,
    /// The trained parameters in their layout, if they may have changed since the last task.
    #[serde(skip)]
    pub p: Option<Vec<f32>>,
}

pub type Answer<T> = Pin<Box<dyn Future<Output = Result<T>>>>;

/// Another engine with the same weights. It gets token ids, never text.
pub trait Helper {
    fn prepare(&self, shape: &Shape) -> Answer<()>;

    /// Asks for the sums of a task. Tasks are answered in order; one that was given up has no sums.
    fn compute(&self, task: Task) -> Answer<Option<Sums>>;

    /// Has it give up every task that it was asked for.
    fn give_up(&self);
}

/// How the sequences of a micro-batch are shared. Worker 0 leads.
pub struct Team<'a> {
    helpers: &'a [Box<dyn Helper>],
    /// The first sequence of each worker's part, and the end of the last part.
    bounds: Vec<usize>,
    seq_len: usize,
}

/// What was asked of the helpers, in their order.
pub(super) struct Answers(Vec<Answer<Option<Sums>>>);

impl<'a> Team<'a> {
    /// Every part has a sequence at least, so some helpers of a small micro-batch may have nothing to do.
    pub fn new(helpers: &'a [Box<dyn Helper>], batch: usize, seq_len: usize) -> Team<'a> {
        let workers = (helpers.len() + 1).min(batch.max(1));
        let bounds = (0..=workers).map(|part| batch * part / workers).collect();
        Team { helpers: &helpers[..workers - 1], bounds, seq_len }
    }

    pub fn alone(batch: usize, seq_len: usize) -> Team<'a> {
        Team::new(&[], batch, seq_len)
    }

    pub fn workers(&self) -> usize {
        self.bounds.len() - 1
    }

    /// Sequences of a whole micro-batch.
    fn batch(&self) -> usize {
        self.bounds[self.workers()]
    }

    /// Sequences of the leader's part, the smallest: the leader has other things to do as well.
    pub fn leaders_batch(&self) -> usize {
        self.bounds[1]
    }

    /// Has every helper make its plans, which differ from the leader's in their batch.
    pub(super) async fn prepare(&self, method: Method, spec: &AdapterSpec, leaders: TrainerSettings) -> Result<()> {
        let shape = |part: &[usize]| Shape {
            method,
            spec: spec.clone(),
            trainer: TrainerSettings { batch: part[1] - part[0], ..leaders },
        };
        let parts = self.bounds.windows(2).skip(1);
        let answers: Vec<Answer<()>> =
            self.helpers.iter().zip(parts).map(|(helper, part)| helper.prepare(&shape(part))).collect();
        for answer in answers {
            answer.await?;
        }
        Ok(())
    }

    /// The micro-batches of each worker for these rows, each shared by a group: `parts[worker][micro]`.
    pub(super) fn parts(&self, rows: &[&[&Row]]) -> Vec<Vec<MicroBatch>> {
        let part = |bounds: &[usize]| -> Vec<MicroBatch> {
            let micro = |rows: &[&[&Row]]| {
                let [from, to] = [bounds[0], bounds[1]].map(|bound| bound.min(rows.len()));
                MicroBatch::packed(&rows[from..to], bounds[1] - bounds[0], self.seq_len)
            };
            rows.chunks(self.batch()).map(micro).collect()
        };
        let mut parts: Vec<Vec<MicroBatch>> = self.bounds.windows(2).map(part).collect();
        for i in 1..parts.len() {
            let (before, after) = parts.split_at_mut(i);
            for (micro, before) in after[0].iter_mut().zip(&before[i - 1]) {
                micro.follow(before);
            }
        }
        parts
    }

    /// Asks every helper for its part: of `parts`, those after the leader's.
    pub(super) fn ask(&self, backward: bool, step: &Step, parts: &[Vec<MicroBatch>], p: Option<&[f32]>) -> Answers {
        let others = self.helpers.iter().zip(&parts[1..]);
        let asked = others.map(|(helper, micros)| {
            let p = p.map(<[f32]>::to_vec);
            helper.compute(Task { backward, step: *step, micros: micros.clone(), p })
        });
        Answers(asked.collect())
    }

    pub(super) fn give_up(&self) {
        for helper in self.helpers {
            helper.give_up();
        }
    }

    /// The mean loss over the labels of all rows, at an adapter strength; `p` are the adapter's parameters. `None` if
    /// `control` asked for a stop or a pause.
    pub(super) async fn evaluate(
        &self,
        evaluator: &mut Evaluator,
        rows: &[Row],
        strength: f32,
        p: Option<&[f32]>,
        control: &Control,
    ) -> Result<Option<Measured>> {
        let (mut sum, mut labels) = (0.0, 0);
        let mut waiting: Option<(Ticket, Answers)> = None;
        let mut p = p;
        let chunks = rows.chunks(self.batch()).map(Some);
        // One more round, for the last result.
        for rows in chunks.chain([None]) {
            let next = match rows {
                Some(_) if control.wish() != Wish::GoOn => return self.given_up(),
                Some(rows) => {
                    let rows: Vec<&Row> = rows.iter().collect();
                    let parts = self.parts(&rows.chunks(1).collect::<Vec<_>>());
                    let step = Step { strength, ..Step::default() };
                    let answers = self.ask(false, &step, &parts, p.take());
                    Some((evaluator.submit(&parts[0][0], strength, 1)?, answers))
                }
                None => None,
            };
            let Some((ticket, answers)) = std::mem::replace(&mut waiting, next) else { continue };
            let stop = || control.wish() != Wish::GoOn;
            let Some((loss, count)) = evaluator.result_unless(ticket, &stop).await? else { return self.given_up() };
            let Some(others) = answers.all(control).await? else { return self.given_up() };
            sum += loss + others.iter().map(|sums| f64::from(sums.loss)).sum::<f64>();
            labels += count + others.iter().map(|sums| sums.labels).sum::<u32>();
        }
        let loss = (labels > 0).then(|| sum / f64::from(labels));
        Ok(Some(Measured { loss, labels }))
    }

    fn given_up<T>(&self) -> Result<Option<T>> {
        self.give_up();
        Ok(None)
    }
}

impl Answers {
    /// The sums of every helper, in their order. `None` if the run is to end first.
    pub async fn all(self, control: &Control) -> Result<Option<Vec<Sums>>> {
        let mut all = Vec::with_capacity(self.0.len());
        for answer in self.0 {
            let Some(answered) = control.unless_ended(answer).await else { return Ok(None) };
            let lost = || Error::Internal { what: "a helper gave up a task that was still wanted".to_string() };
            all.push(answered?.ok_or_else(lost)?);
        }
        Ok(Some(all))
    }
}
