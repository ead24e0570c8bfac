//! What a run does when its device refuses memory that it should have: it takes the same steps with less.

use std::rc::Rc;

use tabtune::device::{Device, DeviceOptions, Shape, Usage};
use tabtune::error::{Error, Result};
use tabtune::model::Storage;
use tabtune::run::{
    self, Base, Clock, Control, DoneReason, Event, Hooks, Outcome, RunState, SaveHook, SaveWhen, Settings, Start,
};

use crate::check::device;
use crate::laws::case;
use crate::tiny::{base_of, tiny_data, tiny_settings, whole_run};

const SHAPES: [Shape; 2] = [Shape::Direct, Shape::Cpu];

async fn base_on(device: &Rc<Device>) -> Base {
    let llama = case("llama-default");
    base_of(device, llama.config, llama.model, Storage::F32).await
}

fn settings_for(base: &Base) -> Settings {
    Settings { batch: 4, accumulate: 1, seq_len: 32, eval_every: 1, sample_every: 2, ..tiny_settings(base) }
}

/// The peak of a run of these settings on a device with nobody else.
async fn peak(shape: Shape, change: impl Fn(&mut Settings)) -> u64 {
    let base = base_on(&device(shape).await).await;
    let mut settings = settings_for(&base);
    change(&mut settings);
    whole_run(&base, &settings, None).await;
    base.model.device.peak_bytes()
}

/// A run on a device of which others take memory when `others` says how many bytes they leave to the run at most, and
/// its last run state.
async fn beside_others(
    shape: Shape,
    limit: u64,
    mut others: impl FnMut(&Event) -> Option<u64>,
) -> (Vec<Event>, Option<RunState>, Result<Outcome>) {
    let options = DeviceOptions { shape: Some(shape), max_memory: Some(limit), ..DeviceOptions::default() };
    let device = Device::new(options).await.expect("a device");
    let base = base_on(&device).await;
    let (mut events, mut held, mut saved) = (Vec::new(), Vec::new(), None);
    let mut emit = |event: Event| {
        let taken = others(&event).map_or(0, |left| limit - left.max(device.bytes()));
        if taken >= 16 {
            held.push(device.buffer("others", taken / 16 * 16, Usage::Storage).expect("a buffer"));
        }
        events.push(event);
    };
    let save = SaveHook { when: SaveWhen::EveryMs(0.0), save: &mut |bytes| saved = Some(bytes) };
    let hooks = Hooks { emit: &mut emit, keep: &mut |_| {}, save: Some(save), helpers: &[] };
    let (clock, settings): (Clock, Settings) = (Rc::new(|| 0.0), settings_for(&base));
    let data = tiny_data(&base, &settings);
    let ended = run::train(&base, &data, &settings, Start::Fresh, &Control::default(), &clock, hooks).await;
    assert!(device.peak_bytes() <= limit);
    (events, saved.map(|bytes| RunState::from_bytes(&bytes).expect("a run state")), ended)
}

/// The results of steps and evaluations.
fn results(events: &[Event]) -> Vec<(u32, Option<f64>)> {
    let result = |event: &Event| match event {
        Event::Step { step, loss, .. } => Some((*step, Some(*loss))),
        Event::Eval { step, loss, .. } => Some((*step, *loss)),
        _ => None,
    };
    events.iter().filter_map(result).collect()
}

/// The settings that the events name, one after the other.
fn configs(events: &[Event]) -> Vec<Settings> {
    let settings = |event: &Event| match event {
        Event::Config { settings, .. } => Some((**settings).clone()),
        _ => None,
    };
    events.iter().filter_map(settings).collect()
}

fn warns(event: &Event) -> bool {
    matches!(event, Event::Warning { code, .. } if code == "less_memory")
}

crate::device_tests! {
    async fn a_run_that_gets_too_little_memory_at_its_start_goes_down_the_ladder() {
        for shape in SHAPES {
            let usual = base_on(&device(shape).await).await;
            let (expected, outcome) = whole_run(&usual, &settings_for(&usual), None).await;
            let kept = outcome.kept.expect("an adapter").files;
            let (all, mut before) = (usual.model.device.peak_bytes(), usual.model.device.peak_bytes());
            for (lean, checkpointing, parts) in [(true, false, 1), (true, true, 1), (true, true, 2)] {
                let taken = peak(shape, |settings| {
                    (settings.lean, settings.checkpointing) = (lean, checkpointing);
                    (settings.batch, settings.accumulate) = (settings.batch / parts, parts);
                });
                let taken = taken.await;
                assert!(taken < before, "{shape:?}: {taken} {before}");
                before = taken;
                let mut is_first = true;
                let others = |event: &Event| {
                    let begins = matches!(event, Event::Config { .. }) && std::mem::take(&mut is_first);
                    begins.then_some(taken)
                };
                let (events, state, ended) = beside_others(shape, 2 * all, others).await;
                let outcome = ended.expect("a run");
                let settings = configs(&events).pop().expect("a config");
                assert_eq!((settings.lean, settings.checkpointing), (lean, checkpointing), "{shape:?}");
                assert_eq!((settings.batch, settings.accumulate), (4 / parts, parts), "{shape:?}");
                assert_eq!(events.iter().filter(|event| warns(event)).count() + 1, configs(&events).len());
                assert_eq!(state.expect("a run state").settings, settings);
                if parts == 1 {
                    assert_eq!(results(&events), results(&expected), "{shape:?} {lean} {checkpointing}");
                    assert!(outcome.kept.expect("an adapter").files == kept);
                }
                for ((step, found), (expected_step, expected)) in results(&events).iter().zip(results(&expected)) {
                    let (found, expected) = (found.expect("a loss"), expected.expect("a loss"));
                    assert!(*step == expected_step && (found / expected - 1.0).abs() < 1e-5, "{found} {expected}");
                }
            }
        }
    }

    /// The plans of samples and of the check of exports are made after the first step, when others have taken the rest.
    async fn a_run_that_gets_too_little_memory_later_goes_on_without_losing_a_step() {
        for shape in SHAPES {
            let usual = base_on(&device(shape).await).await;
            let (expected, outcome) = whole_run(&usual, &settings_for(&usual), None).await;
            let kept = outcome.kept.expect("an adapter").files;
            let limit = 2 * usual.model.device.peak_bytes();
            let others = |event: &Event| matches!(event, Event::Step { step: 1, .. }).then_some(0);
            let (events, state, ended) = beside_others(shape, limit, others).await;
            let outcome = ended.expect("a run");
            let settings = configs(&events).pop().expect("a config");
            assert!(settings.lean && settings.batch == 4 && events.iter().any(warns), "{shape:?} {settings:?}");
            assert_eq!(results(&events), results(&expected), "{shape:?}");
            assert_eq!((outcome.reason, state.expect("a run state").settings), (DoneReason::Finished, settings));
            assert!(outcome.kept.expect("an adapter").files == kept, "{shape:?}: another adapter");
        }
    }

    async fn a_run_for_which_nothing_is_left_ends_with_the_error() {
        for shape in SHAPES {
            let limit = 2 * peak(shape, |_| {}).await;
            let from_the_start = |event: &Event| matches!(event, Event::Config { .. }).then_some(0);
            let from_step_1 = |event: &Event| (warns(event) || matches!(event, Event::Step { .. })).then_some(0);
            let (events, _, ended) = beside_others(shape, limit, from_the_start).await;
            assert!(matches!(ended, Err(Error::OutOfMemory { .. })), "{shape:?}");
            // Lean, checkpointing, and two and four micro-batches.
            assert_eq!((events.iter().filter(|event| warns(event)).count(), results(&events)), (4, Vec::new()));
            let (events, _, ended) = beside_others(shape, limit, from_step_1).await;
            assert!(matches!(ended, Err(Error::OutOfMemory { .. })), "{shape:?}");
            assert_eq!(results(&events).last().map(|(step, _)| *step), Some(1), "{shape:?}");
        }
    }
}
