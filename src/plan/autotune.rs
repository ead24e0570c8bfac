//! Measures on the card at hand with which tile and how many splits the large products of a plan are fastest. What it
//! finds belongs to the plan: another choice rounds sums differently.

use std::rc::Rc;

use super::plan::{Dispatch, Operand, Plan, Progress};
use super::recorder::Recorder;
use super::{Input, Step};
use crate::device::{Access, Device, KernelKey, Pool, Shape, TunedProduct};
use crate::error::{Error, Result};

/// Products below this share of the multiply-adds of all products are left to the model of cost.
const WORTH_MEASURING: f64 = 0.03;
/// How many other ways of computing products are compiled and measured.
const MOST_CANDIDATES: usize = 12;
/// A measurement takes at least so long, in milliseconds, and each way is measured so often.
const LONG_ENOUGH: f64 = 5.0;
const ROUNDS: usize = 3;
/// A submission takes a browser a tenth of a millisecond, so it has several copies of a product with fewer
/// multiply-adds than this.
const LARGE: usize = 4_000_000_000;
const MOST_COPIES: usize = 8;
/// Another way must take at most this share of the time: smaller differences are noise.
const CLEARLY_FASTER: f64 = 0.97;

/// A product of a plan, as it is computed now, and its share of the multiply-adds.
struct Share {
    product: TunedProduct,
    share: f64,
}

/// Tunes the device for a plan: with what was measured on it before, and of other large products with what is measured
/// now. Returns the products of the plan that are tuned. `record` records the plan as the device is tuned, on memory
/// whose numbers nobody needs. `now` is in milliseconds; no product is begun after `most_ms`, or once it
/// `is_unwanted`: the rest is left to the model of cost, and to the next time. Only the tiled form has anything to
/// tune. Errors: `DeviceLost`, and those of `record`.
pub async fn autotune(
    device: &Rc<Device>,
    record: &dyn Fn() -> Result<Recorder>,
    now: &dyn Fn() -> f64,
    most_ms: f64,
    is_unwanted: &dyn Fn() -> bool,
) -> Result<Vec<TunedProduct>> {
    // Products are named as the model of cost computes them.
    device.tune(Vec::new());
    if device.shape != Shape::Tiled {
        return Ok(Vec::new());
    }
    let shares = shares(&device.checked(record).await?);
    let mut tuned = device.measured();
    tuned.retain(|known| shares.iter().any(|one| one.product.is_of(known)));
    let candidates = candidates(shares, &tuned);
    let mut pipelines = Vec::new();
    if !candidates.is_empty()
        && let Some(stopwatch) = Stopwatch::new(device, now, most_ms, is_unwanted).await?
    {
        for (product, others) in candidates {
            if stopwatch.is_over() {
                break;
            }
            let Some(found) = fastest(device, record, product, others, &stopwatch, &mut pipelines).await? else {
                continue;
            };
            device.remember(std::slice::from_ref(&found));
            tuned.push(found);
        }
    }
    device.tune(tuned.clone());
    let needed = device.checked(record).await?.kernels();
    pipelines.retain(|key| !needed.contains(key));
    device.forget_pipelines(&pipelines);
    Ok(tuned)
}

/// Measures until time is over.
struct Stopwatch<'a> {
    now: &'a dyn Fn() -> f64,
    end: f64,
    is_unwanted: &'a dyn Fn() -> bool,
    /// What waiting for a device takes that has nothing to do.
    idle: f64,
}

impl<'a> Stopwatch<'a> {
    /// `None` if the device says too late that it is done: Firefox asks it ten times a second.
    async fn new(
        device: &Device,
        now: &'a dyn Fn() -> f64,
        most_ms: f64,
        is_unwanted: &'a dyn Fn() -> bool,
    ) -> Result<Option<Stopwatch<'a>>> {
        let end = now() + most_ms;
        // The first wait is also for what was to be done before.
        device.finished().await?;
        let mut idle = f64::INFINITY;
        for _ in 0..ROUNDS {
            let begun = now();
            device.finished().await?;
            idle = idle.min(now() - begun);
        }
        Ok((idle < LONG_ENOUGH).then_some(Stopwatch { now, end, is_unwanted, idle }))
    }

    fn is_over(&self) -> bool {
        (self.is_unwanted)() || (self.now)() > self.end
    }
}

/// The products that are worth measuring, those with most multiply-adds first, each with other ways to compute it.
/// Those for which no candidates are left are measured another time.
fn candidates(mut shares: Vec<Share>, known: &[TunedProduct]) -> Vec<(TunedProduct, Vec<TunedProduct>)> {
    shares.retain(|Share { product, share }| *share > WORTH_MEASURING && !known.iter().any(|one| one.is_of(product)));
    let mut chosen: Vec<_> = shares.iter().map(|one| (one.product.clone(), Vec::new())).collect();
    let mut left: Vec<_> = shares.iter().map(|one| one.product.alternatives().into_iter()).collect();
    // The next goes to the product with the largest share for each that it has, as seats go to parties.
    for _ in 0..MOST_CANDIDATES {
        let weight = |i: usize| shares[i].share / (chosen[i].1.len() + 1) as f64;
        let open = (0..shares.len()).filter(|i| left[*i].len() > 0);
        let Some(next) = open.max_by(|a, b| weight(*a).total_cmp(&weight(*b))) else { break };
        chosen[next].1.extend(left[next].next());
    }
    chosen.retain(|(_, others)| !others.is_empty());
    chosen
}

fn shares(plan: &Recorder) -> Vec<Share> {
    let mut shares: Vec<Share> = Vec::new();
    for dispatch in plan.dispatches() {
        let Some(product) = TunedProduct::of(&dispatch.key, &dispatch.extents) else { continue };
        let share = product.multiply_adds() as f64;
        match shares.iter_mut().find(|known| known.product == product) {
            Some(known) => known.share += share,
            None => shares.push(Share { product, share }),
        }
    }
    let all: f64 = shares.iter().map(|one| one.share).sum();
    shares.iter_mut().for_each(|one| one.share /= all);
    shares.sort_unstable_by(|a, b| b.share.total_cmp(&a.share));
    shares
}

/// The way that takes least time, of this product as it is and of others. One that is begun is decided, by two ways and
/// a measurement of each if need be: so a slow card, too, comes to an end with its products. `None` if there was
/// nothing to compare. What was compiled is added to `pipelines`.
async fn fastest(
    device: &Rc<Device>,
    record: &dyn Fn() -> Result<Recorder>,
    product: TunedProduct,
    others: Vec<TunedProduct>,
    stopwatch: &Stopwatch<'_>,
    pipelines: &mut Vec<KernelKey>,
) -> Result<Option<TunedProduct>> {
    let mut trials: Vec<Trial> = Vec::new();
    for way in [product.clone()].into_iter().chain(others) {
        if trials.len() >= 2 && stopwatch.is_over() {
            break;
        }
        device.tune(vec![way.clone()]);
        trials.extend(Trial::new(device, &device.checked(record).await?, way, pipelines).await?);
        if trials.first().is_none_or(|trial| trial.way != product) {
            return Ok(None);
        }
    }
    if trials.len() < 2 {
        return Ok(None);
    }
    'measured: for round in 0..ROUNDS {
        for (i, trial) in trials.iter_mut().enumerate() {
            if (round > 0 || i >= 2) && stopwatch.is_over() {
                break 'measured;
            }
            trial.measure(device, stopwatch).await?;
        }
    }
    let usual = trials[0].ms;
    let best = trials.into_iter().min_by(|a, b| a.ms.total_cmp(&b.ms));
    let best = best.filter(|best| best.ms < usual * CLEARLY_FASTER).map(|best| best.way);
    Ok(Some(best.unwrap_or(product)))
}

/// One way to compute a product, alone in a plan.
struct Trial {
    way: TunedProduct,
    plan: Plan,
    /// How many products a submission computes, and how often it is submitted in a measurement.
    copies: usize,
    times: usize,
    /// The least that one product took. Infinite before the first measurement.
    ms: f64,
}

impl Trial {
    /// `None` if the card cannot do it, if the plan does not compute the product in this way, or if it writes what more
    /// than the plan knows. What is compiled is added to `pipelines`.
    async fn new(
        device: &Rc<Device>,
        recorded: &Recorder,
        way: TunedProduct,
        pipelines: &mut Vec<KernelKey>,
    ) -> Result<Option<Trial>> {
        let all = recorded.dispatches();
        let is_it = |dispatch: &Dispatch| TunedProduct::of(&dispatch.key, &dispatch.extents).as_ref() == Some(&way);
        let Some(at) = all.iter().position(is_it) else { return Ok(None) };
        // The parts of a split product are added up next.
        let once = &all[at..at + if way.splits > 1 { 2 } else { 1 }];
        if once.iter().any(writes_what_stays) {
            return Ok(None);
        }
        let new = once.iter().map(|dispatch| dispatch.key.clone()).filter(|key| !device.is_compiled(key));
        let new: Vec<KernelKey> = new.collect();
        let copies = (LARGE / way.multiply_adds().max(1)).clamp(1, MOST_COPIES);
        let dispatches: Vec<Dispatch> = (0..copies).flat_map(|_| once.to_vec()).collect();
        let (pool, input): (&Pool, &Rc<Input>) = (&recorded.pool, &recorded.input);
        match Plan::make(device, pool, &dispatches, Vec::new(), input.clone(), &mut Progress::silent()).await {
            Ok(plan) => {
                pipelines.extend(new);
                Ok(Some(Trial { way, plan, copies, times: 1, ms: f64::INFINITY }))
            }
            // What a card cannot do is no candidate. Nobody else may use what it did not compile.
            Err(Error::OutOfMemory { .. } | Error::GpuRefused { .. }) => {
                device.forget_pipelines(&new);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The first measurement also finds out how often to submit it.
    async fn measure(&mut self, device: &Device, stopwatch: &Stopwatch<'_>) -> Result<()> {
        // All rows there are: of a chunk, those of the others come before its own.
        let rows = self.plan.input.room() as u32;
        self.plan.input.write_step(device, &Step { rows, labelled: rows, strength: 1.0, ..Step::default() });
        device.finished().await?;
        loop {
            let begun = (stopwatch.now)();
            (0..self.times).for_each(|_| self.plan.submit(device, 1));
            device.finished().await?;
            let took = (stopwatch.now)() - begun - stopwatch.idle;
            if took >= LONG_ENOUGH || self.times >= 1 << 10 {
                self.ms = self.ms.min(took / (self.times * self.copies) as f64);
                return Ok(());
            }
            // What a short measurement says is mostly about waiting.
            self.times *= 2;
        }
    }
}

/// Whether a dispatch writes to a buffer of the model, and not to memory that every plan uses anew.
fn writes_what_stays(dispatch: &Dispatch) -> bool {
    let bindings = dispatch.key.module().bindings.iter().zip(&dispatch.operands);
    bindings
        .into_iter()
        .any(|(access, operand)| *access == Access::ReadWrite && matches!(operand, Operand::Fixed { .. }))
}
