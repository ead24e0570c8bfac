//! Run states: a run that is resumed from one, of any form, equals a run that never stopped.

use std::collections::BTreeMap;
use std::rc::Rc;

use tabtune::device::Shape;
use tabtune::error::Error;
use tabtune::model::{Config, Storage, Target};
use tabtune::run::state::{Numbers, fingerprint};
use tabtune::run::{
    self, Base, Clock, Control, DoneReason, Event, Hooks, Method, Outcome, RunState, SaveHook, SaveWhen, Settings,
    Start, Wish,
};

use crate::check::{MODEL_SHAPES, close, device};
use crate::laws::{CONFIG, MODEL, case};
use crate::run_laws::interrupted_run;
use crate::tiny::{base_of, tiny_base, tiny_bases, tiny_data, tiny_settings, whole_run};

/// A real run in every form of state, stopped after step 6 and before the evaluation that follows. Form 1 was written
/// by version 0.1.0. `TABTUNE_WRITE_STATE=1 cargo test states_saved_by` writes the newest one.
const FIXTURES: [&[u8]; 2] = [
    include_bytes!("../fixtures/run_states/form_1.safetensors"),
    include_bytes!("../fixtures/run_states/form_2.safetensors"),
];

/// A rank that needs padding, masks that differ from step to step, and an evaluation that promotes an adapter.
fn settings(base: &Base) -> Settings {
    Settings { rank: 3, alpha: 6.5, steps: 8, dropout: 0.1, lr: 0.02, holdout: 0.2, ..tiny_settings(base) }
}

fn state(bytes: Option<Vec<u8>>) -> RunState {
    RunState::from_bytes(&bytes.expect("something is saved")).expect("a state")
}

/// The numbers in a run's events, except for speed.
fn facts(events: &[Event]) -> Vec<(u32, f64, f64, f64)> {
    let facts = events.iter().filter_map(|event| match event {
        Event::Step { step, loss, grad_norm, lr, .. } => Some((*step, *loss, *grad_norm, *lr)),
        Event::Eval { step, loss, tokens } => Some((*step, loss.expect("a loss"), f64::from(*tokens), -1.0)),
        Event::Sample { step, text, .. } => Some((*step, text.len() as f64, 0.0, -3.0)),
        Event::Done { step, best_loss, best_step, .. } => {
            Some((*step, best_loss.unwrap_or(0.0), f64::from(*best_step), -2.0))
        }
        _ => None,
    });
    facts.collect()
}

async fn resumed(base: &Base, state: RunState) -> (Vec<(u32, f64, f64, f64)>, Outcome) {
    let settings = state.settings.clone();
    let start = Start::Resume(Box::new(state));
    let (events, _, outcome) = interrupted_run(base, &settings, start, 0, Wish::GoOn).await;
    (facts(&events), outcome)
}

/// The error message of resuming.
async fn refused(base: &Base, state: RunState) -> String {
    let (settings, clock): (Settings, Clock) = (state.settings.clone(), Rc::new(|| 0.0));
    let hooks = Hooks { emit: &mut |_| {}, keep: &mut |_| {}, save: None, helpers: &[] };
    let (data, start) = (tiny_data(base, &settings), Start::Resume(Box::new(state)));
    let result = run::train(base, &data, &settings, start, &Control::default(), &clock, hooks).await;
    match result.map(|outcome| outcome.reason) {
        Err(Error::RunState { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

/// The state after one step of a run that saves a state after every step.
async fn state_after(base: &Base, settings: &Settings, step: u32) -> RunState {
    let mut states = Vec::new();
    let mut save = |bytes| states.push(state(Some(bytes)));
    let hooks = Hooks {
        emit: &mut |_| {},
        keep: &mut |_| {},
        save: Some(SaveHook { when: SaveWhen::EveryMs(0.0), save: &mut save }),
        helpers: &[],
    };
    let (data, clock): (_, Clock) = (tiny_data(base, settings), Rc::new(|| 0.0));
    let run = run::train(base, &data, settings, Start::Fresh, &Control::default(), &clock, hooks).await;
    assert_eq!(run.expect("a run").reason, DoneReason::Finished);
    states.into_iter().find(|state| state.step == step).expect("a state of every step")
}

/// The names of all matrices that a run trains, in the order of the model.
fn names(state: &RunState, config: &Config) -> Vec<String> {
    let of_layer = |layer| Target::SEPARATE.map(|target| config.weight(layer, target).name);
    match state.settings.method {
        Method::Full => (0..config.layers).flat_map(of_layer).collect(),
        Method::Lora => {
            let module = |site: &tabtune::adapter::SiteSpec| config.family.module(site.layer, site.target);
            let pair = |module: String| ["A", "B"].map(|w| format!("base_model.model.{module}.lora_{w}.weight"));
            state.spec.sites().iter().map(module).flat_map(pair).collect()
        }
    }
}

/// The same state in form 1: each part in one piece, every matrix at a multiple of 64 numbers, ranks padded with zeros
/// to a multiple of four.
fn in_form_1(state: &RunState, config: &Config) -> RunState {
    let names = names(state, config);
    let mut tensors = BTreeMap::new();
    for part in ["p", "m", "v", "best"] {
        let mut flat: Vec<f32> = Vec::new();
        for name in &names {
            let Some(Numbers { shape, values }) = state.tensors.get(&format!("{part}.{name}")) else { continue };
            let a_row_of_padding = vec![0.0; shape[1]];
            let mut rows: Vec<&[f32]> = values.chunks(shape[1]).collect();
            let mut padding = 0;
            if name.contains("lora_A") {
                rows.resize(rows.len().next_multiple_of(4), &a_row_of_padding);
            } else if name.contains("lora_B") {
                padding = shape[1].next_multiple_of(4) - shape[1];
            }
            flat.resize(flat.len().next_multiple_of(64), 0.0);
            flat.extend(rows.iter().flat_map(|row| row.iter().copied().chain(vec![0.0; padding])));
        }
        if !flat.is_empty() {
            flat.resize(flat.len().next_multiple_of(64), 0.0);
            tensors.insert(part.to_string(), Numbers { shape: vec![flat.len()], values: flat });
        }
    }
    RunState { form: 1, tensors, ..state.clone() }
}

/// The numbers of one part of a state, in the order of the file.
fn part(state: &RunState, part: &str) -> Vec<f32> {
    let of = |name: &&String| name.split('.').next() == Some(part);
    state.tensors.keys().filter(of).flat_map(|name| state.tensors[name].values.clone()).collect()
}

/// Stops runs after each of these steps and resumes them from the state, in both forms.
async fn resumed_equals_whole(base: &Base, settings: &Settings, stops: &[u32], what: &str) {
    let (whole, outcome) = whole_run(base, settings, None).await;
    let kept = outcome.kept.expect("something is kept");
    for &at in stops {
        let (_, saved, stopped) = interrupted_run(base, settings, Start::Fresh, at, Wish::Stop).await;
        assert_eq!(stopped.reason, DoneReason::Stopped);
        let state = state(saved);
        // Steps that are in flight are finished before a run stops.
        assert!((at..=at + 2).contains(&state.step), "{what}: stopped at {} instead of {at}", state.step);
        for state in [in_form_1(&state, &base.model.config), state] {
            let form = state.form;
            let (found, outcome) = resumed(base, RunState::from_bytes(&state.to_bytes()).expect("a state")).await;
            assert_eq!(found, facts(&whole), "{what}: resumed at {at}, form {form}");
            let resumed = outcome.kept.expect("something is kept");
            assert!(
                resumed.files == kept.files && resumed.step == kept.step,
                "{what}: resumed at {at}, form {form}: another adapter is kept"
            );
        }
    }
}

crate::device_tests! {
    async fn a_run_that_is_stopped_and_resumed_equals_one_that_never_stopped() {
        for &shape in MODEL_SHAPES {
            let base = tiny_base(&device(shape).await).await;
            resumed_equals_whole(&base, &settings(&base), &[1, 3, 4, 6], &format!("{shape:?}")).await;
        }
        // Its matrices do not end at multiples of 64 numbers.
        let odd = case("llama-odd-rank-5");
        let base = base_of(&device(Shape::Direct).await, odd.config, odd.model, Storage::default()).await;
        resumed_equals_whole(&base, &Settings { rank: 5, ..settings(&base) }, &[3], "odd sizes").await;
        let base = base_of(&device(Shape::Cpu).await, CONFIG.as_bytes(), MODEL, Storage::Int4).await;
        resumed_equals_whole(&base, &settings(&base), &[3], "int4").await;
        for (base, under_way) in tiny_bases().await.iter().zip([1, 2]) {
            let settings = Settings { targets: "q_proj,down_proj".to_string(), ..settings(base) };
            resumed_equals_whole(base, &settings, &[2, 5], &format!("{under_way} steps in flight")).await;
        }
    }

    async fn full_fine_tuning_that_is_stopped_and_resumed_equals_a_run_that_never_stopped() {
        let base = tiny_base(&device(Shape::Direct).await).await;
        let settings = Settings { method: Method::Full, dropout: 0.0, lr: 1e-3, ..settings(&base) };
        resumed_equals_whole(&base, &settings, &[3], "full fine-tuning").await;
    }

    /// Bit for bit, on a device that computes exactly like the one on which the states were written.
    async fn states_saved_by_every_version_are_resumed() {
        let base = tiny_base(&device(MODEL_SHAPES[0]).await).await;
        let here = state_after(&base, &settings(&base), 6).await;
        #[cfg(not(target_arch = "wasm32"))]
        if std::env::var_os("TABTUNE_WRITE_STATE").is_some() {
            let path =
                format!("{}/tests/fixtures/run_states/form_{}.safetensors", env!("CARGO_MANIFEST_DIR"), RunState::FORM);
            let (_, saved, _) = interrupted_run(&base, &settings(&base), Start::Fresh, 5, Wish::Stop).await;
            std::fs::write(path, saved.expect("a state")).expect("a file");
        }
        let (whole, outcome) = whole_run(&base, &settings(&base), None).await;
        let (whole, kept) = (facts(&whole), outcome.kept.expect("an adapter"));
        let states = FIXTURES.map(|bytes| RunState::from_bytes(bytes).expect("a state"));
        let [_, newest] = &states;
        let parts = ["p", "m", "v"];
        let same_device = parts.iter().all(|which| part(newest, which) == part(&here, which));
        println!("this device computes exactly like the one that wrote the states: {same_device}");
        let written: Vec<(u32, f64, f64, f64)> = facts(&newest.events);
        let mut results = Vec::new();
        for (state, form) in states.into_iter().zip(1..) {
            assert_eq!((state.form, state.step, &state.settings), (form, 6, &settings(&base)));
            assert!(matches!(&state.events[0], Event::Config { device, .. } if !device.is_empty()));
            for which in parts {
                let expected = if form == 1 { in_form_1(&here, &base.model.config) } else { here.clone() };
                close(&format!("{which} of form {form}"), &part(&state, which), &part(&expected, which), 1e-2);
            }
            let (found, outcome) = resumed(&base, state).await;
            let resumed = outcome.kept.expect("an adapter");
            assert_eq!(resumed.step, kept.step, "form {form}");
            assert_eq!(found.len(), whole.len(), "form {form}");
            assert_eq!(found[..written.len()], written, "form {form}: earlier events are reported again");
            if same_device {
                assert_eq!(found, whole, "form {form}");
                assert!(resumed.files == kept.files, "form {form}: the adapter differs");
            }
            results.push((found, resumed.files));
        }
        assert!(results[0] == results[1], "resuming depends on the form");
    }

    async fn a_run_goes_on_only_with_weights_that_are_stored_as_before() {
        let device = device(Shape::Cpu).await;
        let bases = [Storage::F32, Storage::Int8, Storage::Int4];
        for storage in bases {
            let base = base_of(&device, CONFIG.as_bytes(), MODEL, storage).await;
            let (_, saved, _) = interrupted_run(&base, &settings(&base), Start::Fresh, 2, Wish::Stop).await;
            let state = state(saved);
            assert_eq!(state.storage(), Some(storage));
            for other in bases.into_iter().filter(|other| *other != storage) {
                let base = base_of(&device, CONFIG.as_bytes(), MODEL, other).await;
                let reason = refused(&base, state.clone()).await;
                assert!(reason.contains(storage.name()) && reason.contains(other.name()), "{reason}");
            }
        }
    }

    async fn a_state_with_other_rows_or_other_tensors_or_cut_short_is_refused() {
        let base = tiny_base(&device(MODEL_SHAPES[0]).await).await;
        let settings = settings(&base);
        let (_, saved, _) = interrupted_run(&base, &settings, Start::Fresh, 2, Wish::Stop).await;
        let bytes = saved.clone().expect("a state");
        let state = state(saved);
        let data = fingerprint(&tiny_data(&base, &settings));
        assert_eq!(state.check(&base.sha256, &data), Ok(()));
        let other = fingerprint(&tiny_data(&base, &Settings { seq_len: 15, ..settings }));
        assert!(matches!(state.check(&base.sha256, &other), Err(Error::RunState { .. })));
        assert!(matches!(state.check("", &data), Err(Error::RunState { .. })));
        for cut in [0, 7, 8, 100, bytes.len() / 2, bytes.len() - 1] {
            assert!(RunState::from_bytes(&bytes[..cut]).is_err(), "{cut} bytes");
        }

        // What can be seen from the file alone.
        let name = state.tensors.keys().find_map(|name| name.strip_prefix("m.")).expect("a name").to_string();
        let with = |change: &dyn Fn(&mut RunState)| {
            let mut state = state.clone();
            change(&mut state);
            state
        };
        let wrong = [
            with(&|state| state.form = RunState::FORM + 1),
            with(&|state| state.form = 1),
            with(&|state| state.step = state.settings.steps + 1),
            with(&|state| drop(state.tensors.remove(&format!("m.{name}")))),
            with(&|state| state.tensors.retain(|name, _| !name.starts_with("p."))),
            with(&|state| drop(state.tensors.insert("x".to_string(), Numbers { shape: vec![1], values: vec![0.5] }))),
            with(&|state| state.tensors.get_mut(&format!("v.{name}")).expect("a tensor").values[0] = f32::NAN),
        ];
        for (i, state) in wrong.iter().enumerate() {
            let read = RunState::from_bytes(&state.to_bytes());
            assert!(matches!(read, Err(Error::RunState { .. })), "{i}: {:?}", read.map(|state| state.step));
        }

        // What only the run can see.
        let parts = ["p", "m", "v", "best"];
        let missing =
            with(&|state| parts.iter().for_each(|part| drop(state.tensors.remove(&format!("{part}.{name}")))));
        assert!(refused(&base, missing).await.contains(&name));
        let extra = with(&|state| {
            state.tensors.retain(|name, _| !name.starts_with("best."));
            for part in &parts[..3] {
                state.tensors.insert(format!("{part}.x"), Numbers { shape: vec![1], values: vec![0.5] });
            }
        });
        assert!(refused(&base, extra).await.contains(".x`"));
        let reshaped = with(&|state| state.tensors.values_mut().for_each(|numbers| numbers.shape.reverse()));
        assert!(refused(&base, reshaped).await.contains("shape"));
        for change in [-64isize, 64] {
            let mut other = in_form_1(&state, &base.model.config);
            for numbers in other.tensors.values_mut() {
                numbers.values.resize((numbers.values.len() as isize + change) as usize, 0.0);
                numbers.shape = vec![numbers.values.len()];
            }
            assert!(refused(&base, other).await.contains("numbers"), "{change}");
        }
    }

    /// A field added by a later version is no reason to refuse a state.
    async fn unknown_fields_are_ignored() {
        let bytes = FIXTURES[1];
        let length = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
        let header = std::str::from_utf8(&bytes[8..8 + length]).expect("text");
        let other = header.trim_end().replacen("{\\\"", "{\\\"later\\\":[1,{}],\\\"", 1);
        assert_ne!(other, header);
        let bytes = [&(other.len() as u64).to_le_bytes(), other.as_bytes(), &bytes[8 + length..]].concat();
        let (found, expected) = (RunState::from_bytes(&bytes), RunState::from_bytes(FIXTURES[1]));
        assert!(found.expect("a state") == expected.expect("a state"));
    }
}
