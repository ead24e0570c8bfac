//! What is measured on a card: which products, in how many ways, what becomes of it, and that a run that goes on
//! computes as it did. The card is a driver that computes on the CPU, so that what is fastest there means nothing.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Instant;

use tabtune::adapter::{Adapter, AdapterSpec};
use tabtune::device::{Constant, Device, DeviceOptions, KernelKey, Shape, Tensor, TunedProduct};
use tabtune::error::Result;
use tabtune::plan::{Recorder, autotune};
use tabtune::run::{
    self, Base, Clock, Control, Event, Hooks, Outcome, RunState, SaveHook, SaveWhen, Settings, Start, Wish,
};
use tabtune::train::{Trainer, TrainerSettings};

use crate::tiny::{tiny_base, tiny_data, tiny_settings};

async fn card() -> Rc<Device> {
    let options = DeviceOptions { shape: Some(Shape::Tiled), ..DeviceOptions::default() };
    let mut device = Device::new(options).await.expect("a device");
    Rc::get_mut(&mut device).expect("a device that nobody else has yet").software = false;
    device
}

fn clock() -> Clock {
    let begun = Instant::now();
    Rc::new(move || begun.elapsed().as_secs_f64() * 1000.0)
}

/// How often the clock is looked at before anything is measured: for the end, and for three waits.
const BEFORE: usize = 7;

/// A clock on which nothing is faster than anything else, and waiting takes no time.
fn ticking() -> impl Fn() -> f64 {
    let calls = Cell::new(0_usize);
    move || {
        calls.set(calls.get() + 1);
        10.0 * calls.get().saturating_sub(BEFORE) as f64
    }
}

fn wanted() -> bool {
    false
}

/// Records a micro-batch of so many rows.
fn micro(base: &Base, batch: usize, seq_len: usize) -> impl Fn() -> Result<Recorder> {
    let (device, config) = (&base.model.device, &base.model.config);
    let totals = Tensor::owned(device, "totals", 1, 2).expect("memory");
    let spec = AdapterSpec::new(config, 4, 8.0, "all-linear").expect("a spec");
    let model = Adapter::new(device, config, spec).expect("an adapter").attach(&base.model);
    move || Trainer::record_micro(&model, TrainerSettings::new(batch, seq_len), &totals)
}

fn products(keys: &BTreeSet<KernelKey>) -> usize {
    keys.iter().filter(|key| key.kernel == "matmul").count()
}

/// A run on a card, its config and how it ends. `until` may end it with a state that another run continues.
async fn run_on(
    device: &Rc<Device>,
    change: impl Fn(Settings) -> Settings,
    start: Start<'_>,
    until: Option<u32>,
) -> (Vec<Event>, Outcome, Option<RunState>) {
    let base = tiny_base(device).await;
    let settings = match &start {
        Start::Resume(state) => state.settings.clone(),
        _ => change(Settings { sample_every: 0, autotune: true, ..tiny_settings(&base) }),
    };
    let (data, control) = (tiny_data(&base, &settings), Control::default());
    let (events, state) = (RefCell::new(Vec::new()), RefCell::new(None));
    let mut emit = |event: Event| {
        if until.is_some_and(|last| matches!(event, Event::Step { step, .. } if step == last)) {
            control.set(Wish::Stop);
        }
        events.borrow_mut().push(event);
    };
    let mut save = |bytes: Vec<u8>| *state.borrow_mut() = Some(RunState::from_bytes(&bytes).expect("a state"));
    let save = SaveHook { when: SaveWhen::EveryMs(1e9), save: &mut save };
    let hooks = Hooks { emit: &mut emit, keep: &mut |_| {}, save: Some(save), helpers: &[] };
    let outcome = run::train(&base, &data, &settings, start, &control, &clock(), hooks).await.expect("a run");
    (events.into_inner(), outcome, state.into_inner())
}

fn tuned(events: &[Event]) -> Vec<TunedProduct> {
    let of = |event: &Event| if let Event::Config { tuned, .. } = event { Some(tuned.clone()) } else { None };
    events.iter().find_map(of).expect("a config")
}

fn losses(events: &[Event]) -> Vec<f64> {
    let of = |event: &Event| if let Event::Step { loss, .. } = event { Some(*loss) } else { None };
    events.iter().filter_map(of).collect()
}

/// All products that are worth measuring: the smallest have their candidates in a later run.
async fn all(device: &Rc<Device>, record: &dyn Fn() -> Result<Recorder>) -> Vec<TunedProduct> {
    let mut found = Vec::new();
    loop {
        let more = autotune(device, record, &ticking(), f64::INFINITY, &wanted).await.expect("measurements");
        if more.len() == found.len() {
            return found;
        }
        assert!(more.starts_with(&found), "{more:?} after {found:?}");
        found = more;
    }
}

/// The products of the steps of these runs, each with the tile that the model of cost likes second best.
async fn second_best() -> Vec<TunedProduct> {
    let device = card().await;
    let base = tiny_base(&device).await;
    let Settings { batch, seq_len, .. } = tiny_settings(&base);
    let found = all(&device, &micro(&base, batch, seq_len)).await;
    let second = |product: &TunedProduct| product.alternatives().into_iter().next().expect("another tile");
    let second: Vec<TunedProduct> = found.iter().map(second).collect();
    assert!(second.len() > 2, "{second:?}");
    second
}

#[test]
fn large_products_are_measured_in_few_ways_and_what_is_not_used_is_forgotten() {
    pollster::block_on(async {
        let device = card().await;
        let base = tiny_base(&device).await;
        let record = micro(&base, 8, 32);
        let before = record().expect("a plan").kernels();
        let compiled = RefCell::new(BTreeSet::new());
        let recording = || {
            let recorded = record()?;
            compiled.borrow_mut().extend(recorded.kernels());
            Ok(recorded)
        };
        let found = autotune(&device, &recording, &ticking(), f64::INFINITY, &wanted).await.expect("measurements");
        assert!(found.len() > 2 && found.iter().all(TunedProduct::is_known), "{found:?}");
        for (i, product) in found.iter().enumerate() {
            assert!(!found[..i].iter().any(|other| other.is_of(product)), "{product:?} is there twice");
        }
        let ways = products(&compiled.borrow());
        assert!(ways > products(&before), "nothing else was tried");
        assert!(ways <= products(&before) + 12, "{ways} products instead of {}", products(&before));
        // Only what the plan needs is left of what was compiled.
        let needed = record().expect("a plan").kernels();
        let left = compiled.borrow().iter().filter(|key| device.is_compiled(key) && !needed.contains(*key)).count();
        assert_eq!(left, 0);
        assert!((1..=needed.len()).contains(&device.pipeline_count()));

        // Nothing is measured twice.
        let all = all(&device, &record).await;
        assert!(all.starts_with(&found), "{all:?} after {found:?}");
        let calls = Cell::new(0);
        let counting = || {
            calls.set(calls.get() + 1);
            0.0
        };
        let known = autotune(&device, &record, &counting, f64::INFINITY, &wanted).await.expect("what is known");
        assert_eq!((known, calls.get()), (all, 0));
    });
}

/// The clock says that the first way of each product, as it is computed without measurements, takes four times as long.
#[test]
fn the_fastest_way_is_taken() {
    pollster::block_on(async {
        let plain = card().await;
        let base = tiny_base(&plain).await;
        let usual = autotune(&plain, &micro(&base, 8, 32), &ticking(), f64::INFINITY, &wanted).await.expect("products");

        let device = card().await;
        let base = tiny_base(&device).await;
        let record = micro(&base, 8, 32);
        // How many plans were recorded, how many of them when the last product was done, and ends of measurements
        // since.
        let (recorded, done, ends) = (Cell::new(0), Cell::new(1), Cell::new(0));
        let recording = || {
            recorded.set(recorded.get() + 1);
            record()
        };
        // Whether there is time left is asked for first, and then the clock is looked at for that.
        let (calls, is_asked, is_begun, now) = (Cell::new(0), Cell::new(false), Cell::new(false), Cell::new(0.0));
        let asking = || {
            is_asked.set(true);
            false
        };
        let clock = || {
            calls.set(calls.get() + 1);
            if calls.get() <= BEFORE || is_asked.take() {
                return now.get();
            }
            is_begun.set(!is_begun.get());
            if !is_begun.get() {
                // Three rounds of all ways.
                let ways = recorded.get() - done.get();
                now.set(now.get() + if ends.get() % ways == 0 { 40.0 } else { 10.0 });
                ends.set(ends.get() + 1);
                if ends.get() == 3 * ways {
                    done.set(recorded.get());
                    ends.set(0);
                }
            }
            now.get()
        };
        let found = autotune(&device, &recording, &clock, f64::INFINITY, &asking).await.expect("measurements");
        assert!(found.iter().zip(&usual).all(|(found, usual)| found.is_of(usual)) && found.len() == usual.len());
        assert!(found.len() >= 6 && found.iter().zip(&usual).all(|(found, usual)| found != usual), "{found:?}");
        // Plans are recorded so from now on.
        let kernels = record().expect("a plan").kernels();
        let tile = |product: &TunedProduct| {
            let sizes: Vec<u32> = product.tile.split(['x', '/', '+']).filter_map(|size| size.parse().ok()).collect();
            [("TILE_M", sizes[0]), ("TILE_N", sizes[1])].map(|(name, size)| (name, Constant::U32(size)))
        };
        for product in &found {
            let has = |key: &KernelKey| tile(product).iter().all(|constant| key.constants.contains(constant));
            assert!(kernels.iter().any(has), "{product:?} is not used");
        }
    });
}

#[test]
fn when_time_is_over_only_what_was_begun_is_decided() {
    pollster::block_on(async {
        let device = card().await;
        let base = tiny_base(&device).await;
        let (record, recorded) = (micro(&base, 8, 32), Cell::new(0));
        let recording = || {
            recorded.set(recorded.get() + 1);
            record()
        };
        let found = autotune(&device, &recording, &ticking(), -1.0, &wanted).await.expect("no measurements");
        assert_eq!((found, device.measured(), recorded.get()), (Vec::new(), Vec::new(), 2));
        let found = autotune(&device, &recording, &ticking(), 15.0, &|| true).await.expect("no measurements");
        assert_eq!((found, recorded.get()), (Vec::new(), 4));
        // The plan as it was and as it is, and two ways to compute its largest product.
        let found = autotune(&device, &recording, &ticking(), 15.0, &wanted).await.expect("a measurement");
        assert_eq!((found.len(), device.measured(), recorded.get()), (1, found, 8));
    });
}

/// As in Firefox.
#[test]
fn a_device_that_says_late_that_it_is_done_is_not_measured() {
    pollster::block_on(async {
        let device = card().await;
        let base = tiny_base(&device).await;
        let now = Cell::new(0.0);
        let clock = || now.replace(now.get() + 100.0);
        let found = autotune(&device, &micro(&base, 8, 32), &clock, f64::INFINITY, &wanted).await.expect("nothing");
        assert_eq!((found, device.measured()), (Vec::new(), Vec::new()));
    });
}

#[test]
fn a_run_computes_as_was_measured_and_says_how() {
    pollster::block_on(async {
        let second = second_best().await;
        let device = card().await;
        device.remember(&second);
        let (events, ..) = run_on(&device, |settings| settings, Start::Fresh, None).await;
        assert_eq!(tuned(&events), second);

        let plain = |settings| Settings { autotune: false, ..settings };
        let (untuned, ..) = run_on(&device, plain, Start::Fresh, None).await;
        assert_eq!(tuned(&untuned), []);
        let (mine, theirs) = (losses(&events), losses(&untuned));
        assert_eq!(mine.len(), 4);
        for (mine, theirs) in mine.iter().zip(&theirs) {
            assert!((mine - theirs).abs() < 1e-5 * theirs, "{mine} with other tiles, {theirs} without");
        }
    });
}

#[test]
fn a_run_that_goes_on_computes_as_it_did() {
    pollster::block_on(async {
        let second = second_best().await;
        let device = card().await;
        device.remember(&second);
        let (.., whole, _) = run_on(&device, |settings| settings, Start::Fresh, None).await;
        let (_, _, state) = run_on(&device, |settings| settings, Start::Fresh, Some(2)).await;
        let state = state.expect("the state of a run that was stopped");
        // A card of which other things are known.
        let other = card().await;
        other.remember(&[]);
        let (events, resumed, _) = run_on(&other, |settings| settings, Start::Resume(Box::new(state)), None).await;
        assert_eq!(tuned(&events), second);
        let files = |outcome: Outcome| outcome.kept.expect("an adapter").files;
        assert!(files(whole) == files(resumed), "a run that was interrupted differs from one that was not");
        assert_eq!(other.measured(), [], "it measured nothing");
    });
}

#[test]
fn a_tile_that_there_is_no_more_is_said() {
    pollster::block_on(async {
        let device = card().await;
        device.remember(&second_best().await);
        let (_, _, state) = run_on(&device, |settings| settings, Start::Fresh, Some(2)).await;
        let mut state = state.expect("a state");
        for event in &mut state.events {
            if let Event::Config { tuned, .. } = event {
                tuned[0].tile = "3x3x3/1x1".to_string();
            }
        }
        let (events, ..) = run_on(&card().await, |settings| settings, Start::Resume(Box::new(state)), None).await;
        let is_said = |event: &Event| match event {
            Event::Warning { code, message } => code == "other_tiles" && message.contains("3x3x3/1x1"),
            _ => false,
        };
        assert!(events.iter().any(is_said));
    });
}

#[test]
fn a_software_device_measures_nothing() {
    pollster::block_on(async {
        for shape in [Shape::Tiled, Shape::Direct, Shape::Cpu] {
            let device = crate::check::device(shape).await;
            let (events, ..) = run_on(&device, |settings| settings, Start::Fresh, Some(1)).await;
            assert_eq!(tuned(&events), [], "{shape:?}");
        }
    });
}

#[test]
fn an_alternative_has_another_tile_and_no_more_splits() {
    let product = TunedProduct {
        features: "nn-chunk-dz".to_string(),
        rows: 64,
        columns: 576,
        depth: 49_152,
        tile: "64x64x16/2x1+".to_string(),
        splits: 30,
    };
    let others = product.alternatives();
    assert!(others.len() >= 3, "{others:?}");
    for (i, other) in others.iter().enumerate() {
        assert!(other.is_known() && other.is_of(&product) && *other != product, "{other:?}");
        assert!(other.splits <= 30 && !others[..i].contains(other), "{other:?}");
    }
    for (tile, splits) in [("64x64", 1), ("", 1), ("64x64x16/2x1+", 0), ("64x64x16/2x1+", 769)] {
        let unknown = TunedProduct { tile: tile.to_string(), splits, ..product.clone() };
        assert!(!unknown.is_known(), "{unknown:?}");
    }
}
