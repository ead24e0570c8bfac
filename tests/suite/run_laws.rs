//! Laws of whole runs: what stays the same whatever happens during a run.

use std::rc::Rc;

use tabtune::adapter::{Adapter, AdapterFiles, AdapterSpec};
use tabtune::device::Shape;
use tabtune::run::{
    self, Base, Clock, Control, DoneReason, Event, Hooks, Outcome, Phase, RunState, SaveHook, SaveWhen, Settings,
    Start, Wish,
};

use crate::check::{MODEL_SHAPES, close, device};
use crate::laws::{case, same_bits};
use crate::tiny::{tiny_base, tiny_data, tiny_settings, whole_run};

/// A run that is asked to stop, or to pause for a moment, after it has reported step `at`. Returns its events, its last
/// state and its outcome.
pub async fn interrupted_run(
    base: &Base,
    settings: &Settings,
    start: Start<'_>,
    at: u32,
    wish: Wish,
) -> (Vec<Event>, Option<Vec<u8>>, Outcome) {
    let control = Control::default();
    let (mut events, mut saved) = (Vec::new(), None);
    let mut emit = |event: Event| {
        if matches!(event, Event::Step { step, .. } if step == at) {
            control.set(wish);
        }
        if matches!(event, Event::Phase { phase: Phase::Paused, .. }) {
            control.set(Wish::GoOn);
        }
        events.push(event);
    };
    let save = SaveHook { when: SaveWhen::EveryMs(f64::INFINITY), save: &mut |bytes| saved = Some(bytes) };
    let hooks = Hooks { emit: &mut emit, keep: &mut |_| {}, save: Some(save), helpers: &[] };
    let clock: Clock = Rc::new(|| 0.0);
    let data = tiny_data(base, settings);
    let outcome = run::train(base, &data, settings, start, &control, &clock, hooks).await.expect("a run");
    events.retain(|event| !matches!(event, Event::Phase { .. } | Event::Checkpoint { .. }));
    (events, saved, outcome)
}

crate::device_tests! {
    async fn the_same_seed_gives_the_same_losses_and_the_same_adapter() {
        for &shape in MODEL_SHAPES {
            let base = tiny_base(&device(shape).await).await;
            let settings = tiny_settings(&base);
            let (events, outcome) = whole_run(&base, &settings, None).await;
            assert_eq!(events.iter().filter(|event| matches!(event, Event::Step { .. })).count(), 4);
            let (again, outcome_again) = whole_run(&base, &settings, None).await;
            assert_eq!(events, again);
            let files = |outcome: Outcome| outcome.kept.expect("an adapter").files;
            let (files, files_again) = (files(outcome), files(outcome_again));
            assert!(files == files_again, "{shape:?}: the adapters differ");
            let (_, other) = whole_run(&base, &Settings { seed: 8, ..settings }, None).await;
            assert!(other.kept.expect("an adapter").files != files, "another seed gives another adapter");
        }
    }

    /// A plan does not know what executes it, and a run state does not know what will go on with it.
    async fn a_run_begun_on_one_device_goes_on_on_another() {
        let [card, cpu] = [Shape::Direct, Shape::Cpu].map(async |shape| tiny_base(&device(shape).await).await);
        let (card, cpu) = (card.await, cpu.await);
        let losses = |events: &[Event]| -> Vec<f32> {
            let loss = |event: &Event| match event {
                Event::Step { loss, .. } | Event::Eval { loss: Some(loss), .. } => Some(*loss as f32),
                _ => None,
            };
            events.iter().filter_map(loss).collect()
        };
        for (first, second) in [(&card, &cpu), (&cpu, &card)] {
            let settings = tiny_settings(first);
            let (whole, _) = whole_run(first, &settings, None).await;
            let (_, saved, _) = interrupted_run(first, &settings, Start::Fresh, 2, Wish::Stop).await;
            let state = RunState::from_bytes(&saved.expect("a state")).expect("a state");
            let start = Start::Resume(Box::new(state));
            let (events, ..) = interrupted_run(second, &settings, start, u32::MAX, Wish::GoOn).await;
            close("losses", &losses(&events), &losses(&whole), 1e-5);
        }
    }

    async fn a_pause_changes_nothing_and_leaves_a_state() {
        let base = tiny_base(&device(MODEL_SHAPES[0]).await).await;
        let settings = tiny_settings(&base);
        let (whole, outcome) = whole_run(&base, &settings, None).await;
        let (events, saved, paused) = interrupted_run(&base, &settings, Start::Fresh, 2, Wish::Pause).await;
        let losses = |events: &[Event]| {
            events
                .iter()
                .filter_map(|event| if let Event::Step { loss, .. } = event { Some(*loss) } else { None })
                .collect::<Vec<_>>()
        };
        assert_eq!(losses(&events), losses(&whole));
        assert!(paused.kept.expect("an adapter").files == outcome.kept.expect("an adapter").files);
        assert!(RunState::from_bytes(&saved.expect("a state")).is_ok());
    }

    async fn a_run_ends_early_once_patience_is_over() {
        let base = tiny_base(&device(MODEL_SHAPES[0]).await).await;
        // The learning rate is too small to change a loss, so no evaluation is better than the one before.
        let settings =
            Settings { lr: 1e-30, steps: 20, eval_every: 1, patience: 3, sample_every: 0, ..tiny_settings(&base) };
        let (events, _) = whole_run(&base, &settings, None).await;
        assert!(
            matches!(events.last(), Some(Event::Done { step: 3, reason: DoneReason::EarlyStop, .. })),
            "{:?}",
            events.last()
        );
    }

    async fn dropout_changes_training_and_no_evaluation() {
        for &shape in MODEL_SHAPES {
            let base = tiny_base(&device(shape).await).await;
            let settings = tiny_settings(&base);
            let losses = |events: &[Event]| {
                events
                    .iter()
                    .filter_map(|event| if let Event::Step { loss, .. } = event { Some(*loss) } else { None })
                    .collect::<Vec<_>>()
            };
            let evals = |events: &[Event]| events.iter().find(|event| matches!(event, Event::Eval { .. })).cloned();
            let (without, _) = whole_run(&base, &settings, None).await;
            let (with, _) = whole_run(&base, &Settings { dropout: 0.5, ..settings.clone() }, None).await;
            assert_eq!(evals(&with), evals(&without));
            // B is zero in the first step, so with any mask the loss is that of the base.
            assert_eq!(losses(&with)[0], losses(&without)[0]);
            assert_ne!(losses(&with)[1..], losses(&without)[1..]);
        }
    }

    /// The initial adapter and the rows are the same, so only the masks can differ.
    async fn dropout_masks_depend_on_the_seed() {
        let base = tiny_base(&device(MODEL_SHAPES[0]).await).await;
        let init = case("llama-all-linear").files();
        let mut outcomes = Vec::new();
        for (seed, dropout) in [(1, 0.5), (2, 0.5), (1, 0.0), (2, 0.0)] {
            let settings = Settings { seed, dropout, shuffle: false, sample_every: 0, ..tiny_settings(&base) };
            let (events, _) = whole_run(&base, &settings, Some(&init)).await;
            let loss =
                events.iter().find_map(|event| if let Event::Step { loss, .. } = event { Some(*loss) } else { None });
            outcomes.push(loss.expect("a step"));
        }
        assert_ne!(outcomes[0], outcomes[1]);
        assert_eq!(outcomes[2], outcomes[3]);
    }

    async fn a_run_that_is_not_finite_keeps_the_last_finite_adapter() {
        for &shape in MODEL_SHAPES {
            let base = tiny_base(&device(shape).await).await;
            // A is zero, so the logits are those of the base. B is so large that the norm of A's gradient overflows.
            let spec = AdapterSpec::new(&base.model.config, 4, 8.0, "attention").expect("a spec");
            let adapter = Adapter::new(&base.model.device, &base.model.config, spec).expect("an adapter");
            let positions: Vec<f32> = (0..adapter.length).map(|i| i as f32).collect();
            let mut flat = vec![0.0; adapter.length];
            for position in adapter.matrices(&positions).iter().flat_map(|(_, _, b)| &b.values) {
                flat[*position as usize] = 1e30;
            }
            let init = AdapterFiles::new(&adapter, &flat, &base.origin(false));
            let settings = Settings { targets: "attention".to_string(), ..tiny_settings(&base) };
            let (events, outcome) = whole_run(&base, &settings, Some(&init)).await;
            assert_eq!(outcome.reason, DoneReason::NonFinite);
            let kept = outcome
                .kept
                .expect("an adapter")
                .files
                .adapter()
                .expect("an adapter")
                .parameters(&adapter)
                .expect("parameters");
            same_bits("adapter", &kept, &flat);
            assert!(
                matches!(events.last(), Some(Event::Done { reason: DoneReason::NonFinite, .. })),
                "{:?}",
                events.last()
            );
            let is_warning = |event: &Event| match event {
                Event::Warning { code, message } => code == "non_finite" && message.contains("lower"),
                _ => false,
            };
            assert!(events.iter().any(is_warning));
        }
    }
}
