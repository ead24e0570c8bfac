//! One run, from the first plan to the last event.

mod ending;
mod evaluating;
mod less;

use std::collections::BTreeSet;

use super::base::Base;
use super::control::{Clock, Control, Wish};
use super::event::{Event, Phase};
use super::hooks::{Hooks, Log};
use super::keeper::Keeper;
use super::ladder::{Fitted, same_steps};
use super::learner::Learner;
use super::losses::Losses;
use super::pace::{Pace, Pending};
use super::samples::Samples;
use super::saver::{SaveHook, Saver};
use super::settings::Settings;
use super::snapshots::Snapshots;
use super::start::Start;
use super::state::{Flat, RunState, fingerprint};
use super::team::{Helper, Team};
use super::tuning::tune;
use crate::device::KernelKey;
use crate::error::{Error, Result};
use crate::plan::{Progress, Recorder, Step};
use crate::random::SplitMix64;
use crate::text::batches::MicroBatch;
use crate::text::{Dataset, Row};
use crate::train::{Evaluator, StepSettings, Trainer};
use crate::warning::Warning;
pub use ending::Outcome;
use less::Plans;

/// What a run was asked to do. It changes only if the device refuses memory.
pub(super) struct Job<'a> {
    pub base: &'a Base,
    pub data: &'a Dataset,
    /// The rows that steps take, each with those that share it.
    pub rows: &'a [Vec<&'a Row>],
    pub settings: &'a Settings,
    /// With which settings the same steps take less and less memory.
    pub smaller: &'a [Settings],
    pub control: &'a Control,
    pub clock: &'a Clock,
    pub helpers: &'a [Box<dyn Helper>],
    pub team: Team<'a>,
}

struct Run<'a> {
    job: Job<'a>,
    log: Log<'a>,
    learner: Learner,
    trainer: Trainer,
    evaluator: Evaluator,
    snapshots: Snapshots,
    pace: Pace<'a>,
    keeper: Keeper<'a>,
    saver: Saver<'a>,
    samples: Samples,
    losses: Losses,
    /// The last step that was submitted, or skipped because it had no labels.
    step: u32,
    data_sha256: String,
}

/// Trains until the run ends, with settings that fit onto the device.
pub async fn train(
    base: &Base,
    data: &Dataset,
    settings: &Settings,
    start: Start<'_>,
    control: &Control,
    clock: &Clock,
    hooks: Hooks<'_>,
) -> Result<Outcome> {
    // The steps of a run that goes on must stay the same bit for bit.
    let Fitted { settings, warning } = match start {
        Start::Resume(_) => base.check_memory(settings).await.map(|()| Fitted::unchanged(settings))?,
        Start::Fresh | Start::Adapter(_) => base.fit(settings).await?,
    };
    let Hooks { emit, keep, save, helpers } = hooks;
    let (smaller, team) = (same_steps(&settings), Team::new(helpers, settings.batch, settings.seq_len));
    let rows = data.groups(settings.packing);
    let job = Job { base, data, rows: &rows, settings: &settings, smaller: &smaller, control, clock, helpers, team };
    let save = save.map(|SaveHook { when, save }| SaveHook { when, save });
    run(job, start, warning, Hooks { emit, keep, save, helpers }).await
}

async fn run<'a>(mut job: Job<'a>, start: Start<'_>, warning: Option<Warning>, hooks: Hooks<'a>) -> Result<Outcome> {
    let Job { base, data, settings, clock, .. } = job;
    let data_sha256 = fingerprint(data);
    let (learner, resumed) = start.learner(&job, &data_sha256).await?;
    settings.check_rows(data)?;
    Samples::check(&job)?;

    let (tuned, untuned) = tune(&job, &learner, &start).await?;
    let mut log = Log::new(hooks.emit, hooks.save.is_some());
    for event in start.opening(&job, &learner, &data_sha256, tuned) {
        log.report(event);
    }
    if let Some(Warning { code, message }) = untuned {
        log.warn(code, message);
    }
    if let Some(Warning { code, message }) = warning {
        log.warn(code, message);
    }
    let Plans { trainer, evaluator, snapshots } = Plans::make(&mut job, &learner, &mut log).await?;
    let mut run = Run {
        pace: Pace::new(clock.clone(), job.settings, data.held_out.len(), &base.model.device),
        keeper: Keeper::new(hooks.keep),
        saver: Saver::new(hooks.save, clock()),
        samples: Samples::default(),
        losses: Losses::default(),
        step: 0,
        job,
        log,
        learner,
        trainer,
        evaluator,
        snapshots,
        data_sha256,
    };
    match (&start, resumed) {
        (Start::Resume(state), Some(flat)) => run.resume(state, flat),
        (start, _) => run.measure_start(matches!(start, Start::Adapter(_))).await?,
    }
    loop {
        match run.steps().await {
            Err(error @ Error::OutOfMemory { .. }) => run = run.with_less(error).await?,
            ended => break ended?,
        }
    }
    run.end().await
}

/// Makes the plans of steps and evaluations, reporting every kernel that is compiled.
async fn compile(job: &Job<'_>, learner: &Learner, log: &mut Log<'_>) -> Result<Plans> {
    let settings = job.settings.trainer(job.team.leaders_batch());
    job.team.prepare(job.settings.method, &learner.spec(), settings).await?;
    let (model, params) = (learner.attach(&job.base.model), learner.params());
    let record = || {
        let training = Trainer::record(&model, &params, settings)?;
        let evaluation = Evaluator::record(&model, settings.batch, settings.seq_len)?;
        Ok((training, evaluation, Snapshots::new(&model.device, &params)?))
    };
    let (training, evaluation, snapshots) = model.device.checked(record).await?;
    let recorders: [&[&Recorder]; 2] = [&training.recorders(), &evaluation.recorders()];
    let kernels: BTreeSet<KernelKey> = recorders.concat().iter().flat_map(|rec| rec.kernels()).collect();
    let total = kernels.iter().filter(|key| !model.device.is_compiled(key)).count();
    let mut report = |done: usize, total: usize| {
        log.report(Event::Phase { phase: Phase::Compiling, done: done as u64, total: total as u64 });
    };
    let mut progress = Progress { done: 0, total, report: &mut report };
    let (trainer, evaluator) = (training.finish(&mut progress).await?, evaluation.finish(&mut progress).await?);
    Ok(Plans { trainer, evaluator, snapshots })
}

impl Run<'_> {
    /// Continues where the run of a state stopped.
    fn resume(&mut self, state: &RunState, flat: Flat) {
        self.trainer.restore(state.updates, &flat.m, &flat.v);
        (self.step, self.losses) = (state.step, state.losses);
        self.saver.last_step = state.step;
        self.keeper.best = flat.best;
    }

    async fn steps(&mut self) -> Result<()> {
        let first = self.step + 1;
        self.report_phase(Phase::Training);
        if self.step > 0 {
            // A run that goes on may have ended between a step and the evaluation that follows it.
            self.make_late_plans().await?;
            self.keeper.keep_again(&self.job, &self.learner, self.losses).await?;
            self.evaluate_and_sample().await?;
        }
        self.pace.restart();
        for step in first..=self.job.settings.steps {
            self.pause_if_asked().await?;
            if self.is_over() {
                break;
            }
            self.submit(step).await?;
            self.drain(if step == first { 0 } else { self.pace.ahead }).await?;
            if step == first {
                self.make_late_plans().await?;
                self.pace.restart();
            }
            self.evaluate_and_sample().await?;
            self.save_if_due().await?;
        }
        self.drain(0).await
    }

    /// Whether the run takes no further step.
    fn is_over(&self) -> bool {
        let patience = self.job.settings.patience;
        let patience_is_over = patience > 0 && self.losses.since_best >= patience;
        self.job.control.ends() || self.pace.broken.is_some() || patience_is_over
    }

    /// Submits a step. All its micro-batches are assembled before the first is submitted, so the number of labels is
    /// known.
    async fn submit(&mut self, step: u32) -> Result<()> {
        let (settings, all) = (self.job.settings, self.job.rows);
        self.step = step;
        let indices = settings.batches(all.len()).indices(step - 1);
        let rows: Vec<&[&Row]> = indices.into_iter().map(|i| all[i].as_slice()).collect();
        let parts = self.job.team.parts(&rows);
        let micros = || parts.iter().flatten();
        let labels = micros().map(|micro| micro.labelled).sum();
        if labels == 0 {
            self.log.warn("no_labels", format!("step {step} has no labels to learn from and was skipped"));
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
        let uniform = self.trainer.begin(labels, options);
        let finished = self.accumulate(&uniform, &parts).await;
        if !matches!(finished, Ok(true)) {
            self.give_up(1);
            return finished.map(|_| ());
        }
        let ticket = self.trainer.update()?;
        let tokens = micros().map(|micro| micro.real_tokens).sum();
        self.pace.push(Pending { step, ticket, tokens, lr });
        Ok(())
    }

    /// Computes the micro-batches of a step, with whoever helps. Returns false if the run is to end first.
    async fn accumulate(&mut self, step: &Step, parts: &[Vec<MicroBatch>]) -> Result<bool> {
        let Job { team, control, .. } = &self.job;
        let device = &self.job.base.model.device;
        if team.workers() == 1 {
            self.trainer.accumulate(&parts[0], step, self.pace.pieces());
            return Ok(true);
        }
        let p = self.snapshots.read_from(device, &self.trainer.buffers().p).await?;
        let answers = team.ask(true, step, parts, Some(&p));
        self.trainer.accumulate(&parts[0], step, self.pace.pieces());
        // On the CPU, the leader's part is computed while it is waited for: before the others are.
        let Some(mut sums) = self.trainer.sums(&|| control.ends()).await? else { return Ok(false) };
        let Some(others) = answers.all(control).await? else { return Ok(false) };
        others.iter().for_each(|other| sums.add(other));
        self.trainer.set_sums(&sums);
        Ok(true)
    }

    /// Forgets the last `steps` steps that were begun: the run ends with the one before them.
    fn give_up(&mut self, steps: u32) {
        self.job.team.give_up();
        self.trainer.abandon(steps);
        self.step -= steps;
    }

    /// Reads results until at most `ahead` steps are unread.
    async fn drain(&mut self, ahead: usize) -> Result<()> {
        while let Some(event) = self.pace.next(&self.trainer, ahead, self.job.control).await? {
            self.log.report(event);
        }
        let given_up = std::mem::take(&mut self.pace.given_up);
        if given_up > 0 {
            self.give_up(given_up);
        }
        Ok(())
    }

    /// Makes the plans that the first step does not need: samples and the check of exports.
    async fn make_late_plans(&mut self) -> Result<()> {
        self.keeper.prepare(&self.job, &self.learner).await?;
        self.samples.prepare(&self.job, &self.learner).await
    }

    fn report_phase(&mut self, phase: Phase) {
        let (done, total) = (u64::from(self.step), u64::from(self.job.settings.steps));
        self.log.report(Event::Phase { phase, done, total });
    }

    /// Saves everything and waits for another wish, so that the tab may be closed meanwhile.
    async fn pause_if_asked(&mut self) -> Result<()> {
        if self.job.control.wish() != Wish::Pause {
            return Ok(());
        }
        self.save().await?;
        self.report_phase(Phase::Paused);
        if self.job.control.proceed().await {
            self.report_phase(Phase::Training);
        }
        self.pace.restart();
        Ok(())
    }

    async fn save_if_due(&mut self) -> Result<()> {
        let Job { settings, control, clock, .. } = self.job;
        let is_asked = control.was_asked_to_save();
        if is_asked || self.saver.is_due(clock(), self.step, settings.steps, self.losses) {
            self.save().await?;
            self.pace.restart();
        }
        Ok(())
    }

    /// Saves everything that the run needs to continue from here, unless that has been done. Drains first, so that p,
    /// m, v and the step match.
    async fn save(&mut self) -> Result<()> {
        self.drain(0).await?;
        if self.pace.broken.is_some() || !self.saver.wants(self.step, self.losses) {
            return Ok(());
        }
        self.log.report(Event::Checkpoint { step: self.step });
        let begun = (self.job.clock)();
        let state = self.state().await?;
        self.saver.save(&state, begun, &**self.job.clock);
        Ok(())
    }

    async fn state(&self) -> Result<RunState> {
        let Job { base, settings, .. } = self.job;
        let (device, buffers) = (&base.model.device, self.trainer.buffers());
        let flat = Flat {
            p: self.snapshots.read_from(device, &buffers.p).await?,
            m: self.snapshots.read_from(device, &buffers.m).await?,
            v: self.snapshots.read_from(device, &buffers.v).await?,
            best: self.keeper.best.clone(),
        };
        Ok(RunState {
            form: RunState::FORM,
            step: self.step,
            updates: self.trainer.step,
            settings: settings.clone(),
            spec: self.learner.spec(),
            base_sha256: base.sha256.clone(),
            data_sha256: self.data_sha256.clone(),
            losses: self.losses,
            events: self.log.so_far().to_vec(),
            tensors: flat.tensors(&self.learner, &base.model.config),
        })
    }
}
