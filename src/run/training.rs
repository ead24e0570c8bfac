//! One run, from the first plan to the last event.

mod keeping;

use std::collections::VecDeque;

use super::checkpoint::{Losses, fingerprint};
use super::learner::{Learner, Method};
use super::snapshots::Snapshots;
use super::{Base, Clock, Control, Event, Hooks, Phase, Settings, Start, Wish, evaluate, new_kernels};
use crate::adapter::{Adapter, ExportCheck, Full, Params};
use crate::device::Ticket;
use crate::error::{Error, Result};
use crate::generate::Generator;
use crate::plan::Progress;
use crate::random::SplitMix64;
use crate::text::batches::{Batches, MicroBatch};
use crate::text::dataset::{Dataset, Row};
use crate::train::{Evaluator, StepSettings, Trainer};
pub use keeping::Kept;

/// Tokens of the row whose logits prove an export.
pub(super) const PROBE_TOKENS: usize = 32;
/// A step longer than this is followed closely: one more may be under way, not two.
const LONG_STEP_MS: f64 = 100.0;

/// A submitted step whose result has not been read.
struct Pending {
    step: u32,
    ticket: Ticket,
    tokens: u32,
    lr: f64,
}

struct Run<'a> {
    base: &'a Base,
    data: &'a Dataset,
    settings: &'a Settings,
    control: &'a Control,
    clock: &'a Clock,
    hooks: Hooks<'a>,
    learner: Learner,
    params: Params,
    trainer: Trainer,
    evaluator: Evaluator,
    snapshots: Snapshots,
    /// Made after the first step, so that it starts sooner.
    generator: Option<Generator>,
    check: Option<ExportCheck>,
    late_plans_made: bool,
    pending: VecDeque<Pending>,
    /// The last step submitted, or skipped because it had no labels.
    step: u32,
    broken: Option<u32>,
    losses: Losses,
    step_ms: f64,
    last_result_at: f64,
    last_checkpoint_at: f64,
    /// What the last checkpoint holds: nothing is saved twice.
    saved: Option<(u32, Losses)>,
    /// Of the base model and of the rows, for checkpoints.
    data_sha256: String,
    /// Everything told so far; only kept where checkpoints are.
    events: Vec<Event>,
    kept: Option<Kept>,
    /// The kept adapter's parameters.
    best: Option<Vec<f32>>,
}

pub(super) async fn train<'a>(
    base: &'a Base,
    data: &'a Dataset,
    settings: &'a Settings,
    start: Start<'_>,
    control: &'a Control,
    clock: &'a Clock,
    mut hooks: Hooks<'a>,
) -> Result<Option<Kept>> {
    let device = base.model.device.clone();
    let spec = settings.check(&base.model.config)?;
    let data_sha256 = fingerprint(data);
    let (learner, initial) = match (&start, settings.method) {
        (Start::Fresh, Method::Lora) => {
            let adapter = Adapter::new(&device, &base.model.config, spec)?;
            let initial = adapter.initial(settings.seed);
            (Learner::Lora(adapter), initial)
        }
        (Start::Fresh, Method::Full) => {
            let full = Full::new(&base.model)?;
            let initial = full.initial(&base.model).await?;
            (Learner::Full(full), initial)
        }
        (Start::Adapter(files), Method::Lora) => {
            let (adapter, flat) = files.load(&device, &base.model.config)?;
            (Learner::Lora(adapter), flat)
        }
        (Start::Adapter(_), Method::Full) => {
            let reason = "full fine-tuning starts from the base: merge the adapter into it first".to_string();
            return Err(Error::Usage { reason });
        }
        (Start::Checkpoint(checkpoint), method) => {
            let learner = match method {
                Method::Lora => {
                    Learner::Lora(Adapter::new(&device, &base.model.config, checkpoint.state.spec.clone())?)
                }
                Method::Full => Learner::Full(Full::new(&base.model)?),
            };
            checkpoint.check(&base.sha256, &data_sha256, learner.params().length)?;
            (learner, checkpoint.p.clone())
        }
    };
    learner.write(&device, &initial);
    let mut events = Vec::new();
    let mut opening = vec![Event::Config {
        base: base.name.clone(),
        base_sha256: base.sha256.clone(),
        weights: base.storage,
        data_sha256: data_sha256.clone(),
        init_sha256: start.init_sha256(),
        version: env!("CARGO_PKG_VERSION").to_string(),
        adapter: device.name.clone(),
        rows: data.rows.len(),
        held_out: data.held_out.len(),
        parameters: learner.parameters(),
        settings: Box::new(settings.clone()),
    }];
    opening.extend(
        data.warnings
            .iter()
            .map(|warning| Event::Warning { code: warning.code.to_string(), message: warning.message.clone() }),
    );
    if let Start::Checkpoint(checkpoint) = &start {
        opening = checkpoint.state.events.clone();
    }
    for event in opening {
        events.extend(hooks.checkpoint.is_some().then(|| event.clone()));
        (hooks.emit)(event);
    }

    let params = learner.params();
    let model = learner.attach(&base.model);
    let draft = Trainer::record(&model, &params, settings.batch, settings.seq_len, settings.dropout > 0.0)?;
    let evaluation = Evaluator::record(&model, settings.batch, settings.seq_len)?;
    let [micro, update] = draft.recorders();
    let total = new_kernels(&device, &[micro, update, &evaluation.0]);
    let (mut trainer, evaluator) = {
        let emit = &mut hooks.emit;
        let mut report = |done: usize, total: usize| {
            emit(Event::Phase { phase: Phase::Compiling, done: done as u64, total: total as u64 })
        };
        let mut progress = Progress { done: 0, total, report: &mut report };
        let trainer = Trainer::finish(draft, settings.batch, &mut progress).await?;
        (trainer, Evaluator::finish(evaluation, settings.batch, &mut progress).await?)
    };
    let snapshots = Snapshots::new(&device, &params)?;
    let (started_from_adapter, from) = match &start {
        Start::Fresh => (false, None),
        Start::Adapter(_) => (true, None),
        Start::Checkpoint(checkpoint) => (false, Some(checkpoint)),
    };
    if let Some(checkpoint) = from {
        trainer.restore(checkpoint.state.updates, &checkpoint.m, &checkpoint.v);
    }
    let mut run = Run {
        base,
        data,
        settings,
        control,
        clock,
        hooks,
        learner,
        params,
        trainer,
        evaluator,
        snapshots,
        generator: None,
        check: None,
        late_plans_made: false,
        pending: VecDeque::new(),
        step: 0,
        broken: None,
        losses: Losses::default(),
        step_ms: 0.0,
        last_result_at: 0.0,
        last_checkpoint_at: clock(),
        saved: None,
        data_sha256,
        events,
        kept: None,
        best: None,
    };
    match from {
        Some(checkpoint) => run.take_up(checkpoint).await?,
        None => run.measure_start(started_from_adapter).await?,
    }
    run.go().await
}

impl Run<'_> {
    fn emit(&mut self, event: Event) {
        if self.hooks.checkpoint.is_some() && event.lasts() {
            self.events.push(event.clone());
        }
        (self.hooks.emit)(event);
    }

    /// The held-out losses that every later one is compared with.
    async fn measure_start(&mut self, started_from_adapter: bool) -> Result<()> {
        let base = self.held_out_loss_unless_stopped(0.0).await?;
        if let Some((loss, tokens)) = base {
            self.emit(Event::Eval { step: 0, loss, tokens });
        }
        self.losses.base = base.map(|(loss, _)| loss);
        self.losses.start = match started_from_adapter {
            true => self.held_out_loss_unless_stopped(1.0).await?.map(|(loss, _)| loss),
            false => self.losses.base,
        };
        Ok(())
    }

    async fn go(mut self) -> Result<Option<Kept>> {
        let settings = self.settings;
        let first = self.step + 1;
        self.emit_phase(Phase::Training);
        let every = if settings.eval_every > 0 { settings.eval_every } else { settings.steps.div_ceil(10) };
        let batches = Batches {
            rows: self.data.rows.len(),
            batch: settings.batch * settings.accumulate,
            seed: settings.seed,
            shuffle: settings.shuffle,
        };
        let due = |step: u32| step.is_multiple_of(every) || step == settings.steps;
        let shows = |step: u32| {
            settings.sample_every > 0 && (step.is_multiple_of(settings.sample_every) || step == settings.steps)
        };
        if self.step > 0 {
            // The stop that this run is taken up from may have come between a step and what follows it.
            self.make_late_plans().await?;
            self.evaluate_and_sample(due(self.step), shows(self.step)).await?;
        }
        self.last_result_at = (self.clock)();
        for step in first..=settings.steps {
            self.pause_if_asked().await?;
            let patience_is_over = settings.patience > 0 && self.losses.since_best >= settings.patience;
            if self.control.ends() || self.broken.is_some() || patience_is_over {
                break;
            }
            self.submit(step, &batches)?;
            let ahead = if self.step_ms > LONG_STEP_MS || self.base.model.device.software { 1 } else { 2 };
            self.drain(if step == first { 0 } else { ahead }).await?;
            if step == first {
                self.make_late_plans().await?;
            }
            self.evaluate_and_sample(due(step), shows(step)).await?;
            self.checkpoint_if_due().await?;
        }
        self.drain(0).await?;
        self.end().await
    }

    /// What follows a step, unless it has been told already: an evaluation and a sample, with nothing under way.
    async fn evaluate_and_sample(&mut self, evaluate: bool, sample: bool) -> Result<()> {
        let step = self.step;
        let evaluate = evaluate && self.losses.last_step < step && !self.data.held_out.is_empty();
        let sample = sample && self.losses.last_sample < step;
        if !evaluate && !sample {
            return Ok(());
        }
        self.drain(0).await?;
        self.pause_if_asked().await?;
        // A pause in the middle of an evaluation ends it; it is made anew afterwards.
        while evaluate && self.losses.last_step < step && self.broken.is_none() && !self.control.ends() {
            self.evaluate_and_promote(step).await?;
            self.pause_if_asked().await?;
        }
        if sample && self.broken.is_none() && !self.control.ends() {
            self.sample(step).await?;
        }
        self.last_result_at = (self.clock)();
        Ok(())
    }

    fn emit_phase(&mut self, phase: Phase) {
        let (done, total) = (u64::from(self.step), u64::from(self.settings.steps));
        self.emit(Event::Phase { phase, done, total });
    }

    /// Waits for another wish with everything saved, so that a tab may be closed meanwhile.
    async fn pause_if_asked(&mut self) -> Result<()> {
        if self.control.wish() != Wish::Pause {
            return Ok(());
        }
        self.drain(0).await?;
        self.checkpoint().await?;
        self.emit_phase(Phase::Paused);
        if self.control.proceed().await {
            self.emit_phase(Phase::Training);
        }
        self.last_result_at = (self.clock)();
        Ok(())
    }

    /// Submits a step. The host has all its micro-batches before the first is submitted, so the number of labels is
    /// known.
    fn submit(&mut self, step: u32, batches: &Batches) -> Result<()> {
        let settings = self.settings;
        self.step = step;
        let indices = batches.indices(step - 1);
        let rows: Vec<&Row> = indices.iter().filter_map(|&i| self.data.rows.get(i)).collect();
        let micros: Vec<MicroBatch> = rows
            .chunks(settings.batch)
            .map(|rows| MicroBatch::assemble(rows, settings.batch, settings.seq_len))
            .collect();
        if micros.iter().all(|micro| micro.labelled == 0) {
            self.emit(Event::Warning {
                code: "no_labels".to_string(),
                message: format!("step {step} has nothing to learn from and was skipped"),
            });
            return Ok(());
        }
        let lr = settings.lr * settings.schedule.factor(step, settings.steps, settings.warmup);
        let options = StepSettings {
            learning_rate: lr,
            weight_decay: settings.weight_decay,
            clip: settings.clip,
            dropout: settings.dropout,
            seed: SplitMix64(settings.seed).next_u64() as u32,
        };
        let pieces = (self.step_ms / LONG_STEP_MS).ceil().max(1.0) as usize;
        let ticket = self.trainer.submit(&micros, settings.seq_len, options, pieces)?;
        let tokens = micros.iter().map(|micro| micro.real_tokens).sum();
        self.pending.push_back(Pending { step, ticket, tokens, lr });
        Ok(())
    }

    /// Reads results until at most `ahead` steps are unread.
    async fn drain(&mut self, ahead: usize) -> Result<()> {
        while self.pending.len() > ahead {
            let Some(pending) = self.pending.pop_front() else { break };
            let result = self.trainer.result(pending.ticket).await?;
            let now = (self.clock)();
            let elapsed = (now - self.last_result_at).max(0.01);
            self.last_result_at = now;
            self.step_ms = if self.step_ms == 0.0 { elapsed } else { 0.7 * self.step_ms + 0.3 * elapsed };
            if !result.finite {
                self.broken.get_or_insert(pending.step);
                continue;
            }
            let eta_ms = f64::from(self.settings.steps - pending.step) * self.step_ms;
            self.emit(Event::Step {
                step: pending.step,
                loss: result.loss,
                grad_norm: result.grad_norm,
                lr: pending.lr,
                tokens: pending.tokens,
                tokens_per_second: f64::from(pending.tokens) / self.step_ms * 1000.0,
                eta_ms,
            });
        }
        Ok(())
    }

    /// Made anew after a pause.
    async fn held_out_loss_unless_stopped(&mut self, strength: f32) -> Result<Option<(f64, u32)>> {
        loop {
            let loss = self.held_out_loss(strength).await?;
            if loss.is_some() || self.control.wish() != Wish::Pause {
                return Ok(loss);
            }
            self.pause_if_asked().await?;
        }
    }

    async fn held_out_loss(&mut self, strength: f32) -> Result<Option<(f64, u32)>> {
        if self.data.held_out.is_empty() {
            return Ok(None);
        }
        evaluate(
            &mut self.evaluator,
            &self.data.held_out,
            self.settings.batch,
            self.settings.seq_len,
            strength,
            self.control,
        )
        .await
    }

    /// Evaluates the adapter as it is; the copy that was taken of it becomes the kept one if its loss is the lowest so
    /// far.
    async fn evaluate_and_promote(&mut self, step: u32) -> Result<()> {
        let device = self.base.model.device.clone();
        self.snapshots.take(&device, &self.params);
        let Some((loss, tokens)) = self.held_out_loss(1.0).await? else { return Ok(()) };
        (self.losses.last_step, self.losses.last) = (step, Some(loss).filter(|loss| loss.is_finite()));
        if !loss.is_finite() {
            // JSON has no such number.
            let message = format!("step {step}: the held-out loss is not a finite number");
            self.emit(Event::Warning { code: "non_finite".to_string(), message });
            self.losses.since_best += 1;
            return Ok(());
        }
        self.emit(Event::Eval { step, loss, tokens });
        let lowest = self.losses.best.or(self.losses.start).is_none_or(|lowest| loss < lowest);
        if !lowest {
            self.losses.since_best += 1;
            return Ok(());
        }
        self.losses = Losses { best: Some(loss), best_step: step, since_best: 0, ..self.losses };
        let flat = self.snapshots.read(&device).await?;
        self.keep(step, Some(loss), flat).await
    }
}
