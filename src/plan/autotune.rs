//! Measures on the card at hand with which tile and how many splits the large products of a plan are fastest. What it
//! finds belongs to the plan: another choice rounds sums differently.

use std::rc::Rc;

use super::plan::{Dispatch, Operand, Plan, Progress};
use super::recorder::Recorder;
use super::{Input, Step};
use crate::device::{Access, Device, Pool, Shape, TunedProduct};
use crate::error::{Error, Result};

/// Products below this share of the multiply-adds of all products are left to the model of cost.
const WORTH_MEASURING: f64 = 0.03;
/// How many other ways of computing products are compiled and measured.
const MOST_CANDIDATES: usize = 12;
/// A measurement takes about so long, in milliseconds, and each way is measured so often.
const LONG_ENOUGH: f64 = 5.0;
const ROUNDS: usize = 3;
/// A submission has so many copies of a dispatch, because each takes a browser a tenth of a millisecond.
const COPIES: usize = 8;
/// Another way must take at most this share of the time: smaller differences are noise.
const CLEARLY_FASTER: f64 = 0.97;

/// A product of a plan, as it is computed now, and its share of the multiply-adds.
struct Share {
    product: TunedProduct,
    share: f64,
}

/// Tunes the device for a plan: with what was measured on it before, and of other large products with what is measured
/// now. Returns the products of the plan that are tuned. `record` records the plan as the device is tuned, on memory
/// whose numbers nobody needs. `now` is in milliseconds; what is not measured after `most_ms` is left to the model of
/// cost, and to the next time. Only the tiled form has anything to tune. Errors: `DeviceLost`.
pub async fn autotune(
    device: &Rc<Device>,
    record: &dyn Fn() -> Result<Recorder>,
    now: &dyn Fn() -> f64,
    most_ms: f64,
) -> Result<Vec<TunedProduct>> {
    // Products are named as the model of cost computes them.
    device.tune(Vec::new());
    if device.shape != Shape::Tiled {
        return Ok(Vec::new());
    }
    let end = now() + most_ms;
    let shares = shares(&device.checked(record).await?);
    let mut tuned = device.measured();
    tuned.retain(|known| shares.iter().any(|one| one.product.is_of(known)));
    let mut pipelines = Vec::new();
    for (product, candidates) in candidates(shares, &tuned) {
        if tuned.iter().any(|one| one.is_of(&product)) {
            continue;
        }
        if now() > end {
            break;
        }
        let trials = trials(device, record, &product, candidates).await?;
        pipelines.extend(trials.iter().flat_map(|trial| trial.plan.kernels()).cloned());
        let Some(found) = fastest(device, product, trials, now, end).await? else { break };
        device.remember(std::slice::from_ref(&found));
        tuned.push(found);
    }
    device.tune(tuned.clone());
    let needed = device.checked(record).await?.kernels();
    pipelines.retain(|key| !needed.contains(key));
    device.forget_pipelines(&pipelines);
    Ok(tuned)
}

/// The products that are worth measuring, those with most multiply-adds first, each with the ways to measure it, of
/// which there may be none.
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

/// The product as it is, and the ways to compute it otherwise. Empty if there is nothing to choose from.
async fn trials(
    device: &Rc<Device>,
    record: &dyn Fn() -> Result<Recorder>,
    product: &TunedProduct,
    candidates: Vec<TunedProduct>,
) -> Result<Vec<Trial>> {
    let mut trials = Vec::new();
    if candidates.is_empty() {
        return Ok(trials);
    }
    for way in [product.clone()].into_iter().chain(candidates) {
        device.tune(vec![way.clone()]);
        match Trial::new(device, &device.checked(record).await?, way).await {
            Ok(trial) => trials.extend(trial),
            // What a card cannot do is no candidate.
            Err(Error::OutOfMemory { .. } | Error::GpuRefused { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let is_measured = trials.first().is_some_and(|trial| trial.way == *product);
    Ok(if is_measured { trials } else { Vec::new() })
}

/// The way that takes least time, or `product` as it is if nothing was tried. `None` if time is over first.
async fn fastest(
    device: &Device,
    product: TunedProduct,
    mut trials: Vec<Trial>,
    now: &dyn Fn() -> f64,
    end: f64,
) -> Result<Option<TunedProduct>> {
    for _ in 0..ROUNDS {
        for trial in &mut trials {
            trial.measure(device, now).await?;
            if now() > end {
                return Ok(None);
            }
        }
    }
    let [usual, others @ ..] = &trials[..] else { return Ok(Some(product)) };
    let best = others.iter().min_by(|a, b| a.ms.total_cmp(&b.ms));
    let best = best.filter(|best| best.ms < usual.ms * CLEARLY_FASTER).unwrap_or(usual);
    Ok(Some(best.way.clone()))
}

/// One way to compute a product, alone in a plan.
struct Trial {
    way: TunedProduct,
    plan: Plan,
    /// How often the plan is submitted in a measurement.
    times: usize,
    /// The least that one product took. Infinite before the first measurement.
    ms: f64,
}

impl Trial {
    /// `None` if the plan does not compute it in this way, or if it writes what more than the plan knows.
    async fn new(device: &Rc<Device>, recorded: &Recorder, way: TunedProduct) -> Result<Option<Trial>> {
        let all = recorded.dispatches();
        let is_it = |dispatch: &Dispatch| TunedProduct::of(&dispatch.key, &dispatch.extents).as_ref() == Some(&way);
        let Some(at) = all.iter().position(is_it) else { return Ok(None) };
        // The parts of a split product are added up next.
        let once = &all[at..at + if way.splits > 1 { 2 } else { 1 }];
        if once.iter().any(writes_what_stays) {
            return Ok(None);
        }
        let copies: Vec<Dispatch> = (0..COPIES).flat_map(|_| once.to_vec()).collect();
        let (pool, input): (&Pool, &Rc<Input>) = (&recorded.pool, &recorded.input);
        let plan = Plan::make(device, pool, &copies, Vec::new(), input.clone(), &mut Progress::silent()).await?;
        Ok(Some(Trial { way, plan, times: 1, ms: f64::INFINITY }))
    }

    /// The first measurement also finds out how often to submit it.
    async fn measure(&mut self, device: &Device, now: &dyn Fn() -> f64) -> Result<()> {
        let rows = self.way.rows as u32;
        self.plan.input.write_step(device, &Step { rows, labelled: rows, strength: 1.0, ..Step::default() });
        device.finished().await?;
        loop {
            let begun = now();
            (0..self.times).for_each(|_| self.plan.submit(device, 1));
            device.finished().await?;
            let took = now() - begun;
            if took >= LONG_ENOUGH || self.times >= 1 << 10 {
                self.ms = self.ms.min(took / (self.times * COPIES) as f64);
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
