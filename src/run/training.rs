//! One run, from the first plan to the last event.

use std::collections::VecDeque;
use std::rc::Rc;

use super::{Base, Clock, Control, DoneReason, Event, Hooks, Phase, Settings, Wish, evaluate, new_kernels};
use crate::adapter::{Adapter, AdapterFiles, ExportCheck};
use crate::error::{Error, Result};
use crate::generate::{Generator, Sampling};
use crate::gpu::{Buffer, Gpu, Ticket, Usage};
use crate::plan::Progress;
use crate::text::batches::{Batches, MicroBatch};
use crate::text::dataset::{Dataset, Row};
use crate::train::{Evaluator, StepSettings, Trainer};

/// Tokens of the row whose logits prove an export.
const PROBE_TOKENS: usize = 32;
/// A step longer than this is followed closely: one more may be under way, not two.
const LONG_STEP_MS: f64 = 100.0;

/// The adapter that a run keeps.
#[derive(Debug, Clone)]
pub struct Kept {
    pub files: AdapterFiles,
    pub step: u32,
    /// Held-out loss; `None` without held-out rows.
    pub loss: Option<f64>,
    pub rank: usize,
    pub alpha: f64,
    pub targets: Vec<&'static str>,
    pub parameters: usize,
}

/// Copies of the parameters, all buffers made before the first step.
struct Snapshots {
    candidate: Rc<Buffer>,
    staging: Rc<Buffer>,
}

impl Snapshots {
    fn new(gpu: &Gpu, adapter: &Adapter) -> Result<Snapshots> {
        let bytes = adapter.length as u64 * 4;
        Ok(Snapshots {
            candidate: gpu.buffer("candidate", bytes, Usage::Storage)?,
            staging: gpu.buffer("adapter staging", bytes, Usage::Staging)?,
        })
    }

    /// Copies the parameters as they are after everything submitted so far.
    fn take(&self, gpu: &Gpu, adapter: &Adapter) {
        gpu.copy(&adapter.p, 0, &self.candidate, 0, adapter.length as u64 * 4);
    }

    async fn read(&self, gpu: &Gpu, adapter: &Adapter) -> Result<Vec<f32>> {
        let ticket = gpu.start_read(&self.candidate, 0, &self.staging, adapter.length as u64 * 4);
        Ok(bytemuck::pod_collect_to_vec(&gpu.finish_read(ticket).await?))
    }
}

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
    adapter: Adapter,
    trainer: Trainer,
    evaluator: Evaluator,
    snapshots: Snapshots,
    /// Made after the first step, so that it starts sooner.
    generator: Option<Generator>,
    check: Option<ExportCheck>,
    pending: VecDeque<Pending>,
    broken: Option<u32>,
    step_ms: f64,
    last_result_at: f64,
    kept: Option<Kept>,
}

pub(super) async fn train<'a>(
    base: &'a Base,
    data: &'a Dataset,
    settings: &'a Settings,
    init: Option<&AdapterFiles>,
    control: &'a Control,
    clock: &'a Clock,
    mut hooks: Hooks<'a>,
) -> Result<Option<Kept>> {
    let gpu = base.model.gpu.clone();
    let spec = settings.check(&base.model.config)?;
    let (adapter, initial) = match init {
        Some(files) => files.load(&gpu, &base.model.config)?,
        None => {
            let adapter = Adapter::new(&gpu, &base.model.config, spec)?;
            let initial = adapter.initial(settings.seed);
            (adapter, initial)
        }
    };
    adapter.write(&gpu, &initial);
    (hooks.emit)(Event::Config {
        base: base.name.clone(),
        base_sha256: base.sha256.clone(),
        version: env!("CARGO_PKG_VERSION").to_string(),
        adapter: gpu.name.clone(),
        rows: data.rows.len(),
        held_out: data.held_out.len(),
        parameters: adapter.parameters(),
        settings: Box::new(settings.clone()),
    });
    for warning in &data.warnings {
        (hooks.emit)(Event::Warning { code: warning.code.to_string(), message: warning.message.clone() });
    }

    let model = adapter.attach(&base.model);
    let draft = Trainer::record(&model, &adapter, settings.batch, settings.seq_len)?;
    let evaluation = Evaluator::record(&model, settings.batch, settings.seq_len)?;
    let [micro, update] = draft.recorders();
    let total = new_kernels(&gpu, &[micro, update, &evaluation.0]);
    let (trainer, evaluator) = {
        let emit = &mut hooks.emit;
        let mut report = |done: usize, total: usize| emit(Event::Phase { phase: Phase::Compiling, done: done as u64, total: total as u64 });
        let mut progress = Progress { done: 0, total, report: &mut report };
        let trainer = Trainer::finish(draft, settings.batch, &mut progress).await?;
        (trainer, Evaluator::finish(evaluation, settings.batch, &mut progress).await?)
    };
    let snapshots = Snapshots::new(&gpu, &adapter)?;
    let run = Run {
        base,
        data,
        settings,
        control,
        clock,
        hooks,
        adapter,
        trainer,
        evaluator,
        snapshots,
        generator: None,
        check: None,
        pending: VecDeque::new(),
        broken: None,
        step_ms: 0.0,
        last_result_at: 0.0,
        kept: None,
    };
    run.go(init.is_some()).await
}

impl Run<'_> {
    fn emit(&mut self, event: Event) {
        (self.hooks.emit)(event);
    }

    async fn go(mut self, started_from_adapter: bool) -> Result<Option<Kept>> {
        let settings = self.settings;
        let base_loss = self.held_out_loss(0.0).await?;
        if let Some((loss, tokens)) = base_loss {
            self.emit(Event::Eval { step: 0, loss, tokens });
        }
        let base_loss = base_loss.map(|(loss, _)| loss);
        let start = if started_from_adapter { self.held_out_loss(1.0).await?.map(|(loss, _)| loss) } else { base_loss };
        self.emit(Event::Phase { phase: Phase::Training, done: 0, total: u64::from(settings.steps) });

        let every = if settings.eval_every > 0 { settings.eval_every } else { settings.steps.div_ceil(10) };
        let batches = Batches {
            rows: self.data.rows.len(),
            batch: settings.batch * settings.accumulate,
            seed: settings.seed,
            shuffle: settings.shuffle,
        };
        self.last_result_at = (self.clock)();
        let mut last_eval = None;
        for step in 1..=settings.steps {
            if !self.control.goes_on() || self.broken.is_some() {
                break;
            }
            self.submit(step, &batches)?;
            let ahead = if self.step_ms > LONG_STEP_MS || self.base.model.gpu.software { 1 } else { 2 };
            self.drain(if step == 1 { 0 } else { ahead }).await?;
            if step == 1 {
                self.make_late_plans().await?;
            }
            let sample = settings.sample_every > 0 && (step % settings.sample_every == 0 || step == settings.steps);
            if step % every == 0 || step == settings.steps {
                self.drain(0).await?;
                last_eval = self.evaluate_and_promote(step, start, last_eval).await?;
            }
            if sample && self.control.goes_on() && self.broken.is_none() {
                self.drain(0).await?;
                self.sample(step).await?;
            }
            if step % every == 0 || sample {
                self.last_result_at = (self.clock)();
            }
        }
        self.drain(0).await?;
        self.end(base_loss, start).await
    }

    /// Submits a step. The host has all its micro-batches before the first is submitted, so the number of targets is known.
    fn submit(&mut self, step: u32, batches: &Batches) -> Result<()> {
        let settings = self.settings;
        let indices = batches.indices(step - 1);
        let rows: Vec<&Row> = indices.iter().filter_map(|&i| self.data.rows.get(i)).collect();
        let micros: Vec<MicroBatch> =
            rows.chunks(settings.batch).map(|rows| MicroBatch::assemble(rows, settings.batch, settings.seq_len)).collect();
        if micros.iter().all(|micro| micro.labelled == 0) {
            self.emit(Event::Warning {
                code: "no_targets".to_string(),
                message: format!("step {step} has nothing to learn from and was skipped"),
            });
            return Ok(());
        }
        let lr = settings.lr * settings.schedule.factor(step, settings.steps, settings.warmup);
        let options = StepSettings { learning_rate: lr, weight_decay: settings.weight_decay, clip: settings.clip };
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

    async fn held_out_loss(&mut self, strength: f32) -> Result<Option<(f64, u32)>> {
        if self.data.held_out.is_empty() {
            return Ok(None);
        }
        evaluate(&mut self.evaluator, &self.data.held_out, self.settings.batch, self.settings.seq_len, strength, self.control).await
    }

    /// Evaluates the adapter as it is; the copy that was taken of it becomes the kept one if its loss is the lowest so far.
    async fn evaluate_and_promote(&mut self, step: u32, start: Option<f64>, best: Option<f64>) -> Result<Option<f64>> {
        let gpu = self.base.model.gpu.clone();
        self.snapshots.take(&gpu, &self.adapter);
        let Some((loss, tokens)) = self.held_out_loss(1.0).await? else { return Ok(best) };
        self.emit(Event::Eval { step, loss, tokens });
        let lowest = best.or(start).is_none_or(|lowest| loss < lowest);
        if loss.is_finite() && lowest {
            self.keep(step, Some(loss)).await?;
            return Ok(Some(loss));
        }
        Ok(best)
    }

    /// Exports the copy that was last taken, checks the bytes, and hands them on.
    async fn keep(&mut self, step: u32, loss: Option<f64>) -> Result<()> {
        let gpu = self.base.model.gpu.clone();
        let flat = self.snapshots.read(&gpu, &self.adapter).await?;
        let files = AdapterFiles::new(&self.adapter, &flat, &self.base.name);
        self.make_late_plans().await?;
        if let Some(check) = &self.check {
            check.run(&gpu, &flat, &files).await?;
        }
        let spec = &self.adapter.spec;
        let kept = Kept {
            files,
            step,
            loss,
            rank: spec.rank,
            alpha: spec.alpha,
            targets: spec.targets.iter().map(|target| target.name()).collect(),
            parameters: self.adapter.parameters(),
        };
        (self.hooks.keep)(&kept);
        self.kept = Some(kept);
        Ok(())
    }

    /// The plans that nobody waits for: samples and the check of exports.
    async fn make_late_plans(&mut self) -> Result<()> {
        if self.check.is_some() {
            return Ok(());
        }
        let mut progress = Progress { done: 0, total: 0, report: &mut |_, _| {} };
        let probe: Vec<u32> = self
            .data
            .rows
            .first()
            .map(|row| row.ids.iter().take(PROBE_TOKENS.min(self.settings.seq_len)).copied().collect())
            .unwrap_or_default();
        let draft = ExportCheck::record(&self.base.model, &self.adapter, &probe)?;
        self.check = Some(ExportCheck::finish(draft, &probe, &mut progress).await?);
        if self.settings.sample_every > 0 {
            let model = self.adapter.attach(&self.base.model);
            self.generator = Some(Generator::finish(&model, Generator::record(&model)?, &mut progress).await?);
        }
        Ok(())
    }

    async fn sample(&mut self, step: u32) -> Result<()> {
        let settings = self.settings;
        let Some(generator) = &self.generator else { return Ok(()) };
        let sampling =
            Sampling { max_tokens: settings.max_tokens, temperature: 0.7, top_k: 40, top_p: 1.0, seed: settings.seed, strength: 1.0 };
        let go_on = || self.control.goes_on();
        let generated = generator.generate(&self.base.tokenizer, &settings.prompt, &sampling, &mut |_| {}, &go_on).await?;
        self.emit(Event::Sample { step, prompt: settings.prompt.clone(), text: generated.text });
        Ok(())
    }

    async fn end(mut self, base_loss: Option<f64>, start: Option<f64>) -> Result<Option<Kept>> {
        let step = self.trainer.step;
        let reason = match (self.broken, self.control.wish()) {
            (_, Wish::Cancel) => DoneReason::Cancelled,
            (Some(_), _) => DoneReason::NonFinite,
            (None, Wish::Stop) => DoneReason::Stopped,
            (None, Wish::GoOn) => DoneReason::Finished,
        };
        if let Some(step) = self.broken {
            let error = Error::NonFinite { step };
            self.emit(Event::Warning { code: error.code().to_string(), message: format!("{error}. {}", error.hint()) });
        }
        if reason == DoneReason::Cancelled {
            self.emit(Event::Done { step, base_loss, best_loss: None, best_step: 0, reason });
            return Ok(None);
        }
        if self.kept.is_none() && step > 0 {
            if start.is_some() && reason != DoneReason::Stopped {
                let message = "no evaluation was better than the start; the last adapter is kept".to_string();
                self.emit(Event::Warning { code: "no_improvement".to_string(), message });
            }
            let gpu = self.base.model.gpu.clone();
            self.snapshots.take(&gpu, &self.adapter);
            self.keep(step, None).await?;
        }
        let best = self.kept.as_ref().map(|kept| (kept.loss, kept.step)).unwrap_or((None, 0));
        self.emit(Event::Done { step, base_loss, best_loss: best.0, best_step: best.1, reason });
        Ok(self.kept)
    }
}
