//! What a run reports and when: evaluations, samples, run states, phases, speed, and the facts about what it keeps.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use tabtune::adapter::AdapterFiles;
use tabtune::device::{Device, DeviceOptions, Shape};
use tabtune::error::Error;
use tabtune::files::safetensors::{Entry, Header, to_f32};
use tabtune::generate::{Generator, Sampling};
use tabtune::run::cost::{Cost, Mean};
use tabtune::run::{
    self, Base, Clock, Control, DoneReason, Event, Files, Hooks, Kept, Method, Outcome, Phase, RunState, SaveHook,
    SaveWhen, Settings, Start, Wish,
};
use tabtune::text::{Conversation, Dataset, Document, PAGE_LIMIT, Prompt, Tokenizer, TokenizerFiles};

use crate::check::{ANY_SHAPE, device};
use crate::laws::{CONFIG, MODEL, case, same_bits};
use crate::tiny::{tiny_base, tiny_bases, tiny_data, tiny_settings, tiny_tokenizer};

/// Milliseconds per step in these runs.
const STEP_MS: f64 = 10.0;

/// Everything that a run reports, the time and bytes of every state that it saves, and what it keeps.
struct Observed {
    events: Vec<Event>,
    states: Vec<(f64, Vec<u8>)>,
    kept: Option<Kept>,
}

impl Observed {
    fn last_state(&self) -> RunState {
        RunState::from_bytes(&self.states.last().expect("a state").1).expect("a state")
    }
}

/// Trains with a clock on which every step takes ten milliseconds and nothing else takes time. After each event, `wish`
/// may return a new wish.
async fn observe(
    base: &Base,
    data: &Dataset,
    settings: &Settings,
    saves: Option<SaveWhen>,
    wish: impl Fn(&Event) -> Option<Wish>,
) -> Result<Observed, Error> {
    let (control, now) = (Control::default(), Rc::new(Cell::new(0.0)));
    let (mut events, mut states) = (Vec::new(), Vec::new());
    let clock: Clock = Rc::new({
        let now = now.clone();
        move || now.get()
    });
    let mut emit = |event: Event| {
        if matches!(event, Event::Step { .. }) {
            now.set(now.get() + STEP_MS);
        }
        if let Some(wish) = wish(&event) {
            control.set(wish);
        }
        events.push(event);
    };
    let mut save = |bytes: Vec<u8>| states.push((now.get(), bytes));
    let save = saves.map(|when| SaveHook { when, save: &mut save });
    let hooks = Hooks { emit: &mut emit, keep: &mut |_| {}, save, helpers: &[] };
    let Outcome { kept, reason, .. } = run::train(base, data, settings, Start::Fresh, &control, &clock, hooks).await?;
    assert!(matches!(events.last(), Some(Event::Done { reason: reported, .. }) if *reported == reason), "{reason:?}");
    Ok(Observed { events, states, kept })
}

async fn quietly(base: &Base, settings: &Settings) -> Observed {
    observe(base, &tiny_data(base, settings), settings, None, |_| None).await.expect("a run")
}

fn steps_of(events: &[Event], which: impl Fn(&Event) -> Option<u32>) -> Vec<u32> {
    events.iter().filter_map(which).collect()
}

fn evaluated(event: &Event) -> Option<u32> {
    if let Event::Eval { step, .. } = event { Some(*step) } else { None }
}

fn sampled(event: &Event) -> Option<u32> {
    if let Event::Sample { step, .. } = event { Some(*step) } else { None }
}

/// The names and numbers in a safetensors file.
pub fn tensors(bytes: &[u8]) -> BTreeMap<String, Vec<f32>> {
    let length =
        Header::length(bytes[..8].try_into().expect("8 bytes"), bytes.len() as u64, "kept").expect("a header") as usize;
    let header = Header::parse(&bytes[8..8 + length], bytes.len() as u64, "kept").expect("a header");
    let read = |entry: &Entry| {
        let mut values = Vec::new();
        to_f32(entry.dtype, &bytes[entry.begin as usize..entry.end as usize], &mut values);
        (entry.name.clone(), values)
    };
    header.entries.iter().map(read).collect()
}

crate::device_tests! {
    async fn evaluations_and_samples_come_at_their_intervals_and_at_the_end() {
        let cases = [
            ([5, 2, 3], vec![0, 2, 4, 5], vec![3, 5]),
            ([4, 2, 0], vec![0, 2, 4], vec![]),
            ([4, 3, 4], vec![0, 3, 4], vec![4]),
            ([3, 3, 1], vec![0, 3], vec![1, 2, 3]),
            // A tenth of the run, rounded up.
            ([12, 0, 5], vec![0, 2, 4, 6, 8, 10, 12], vec![5, 10, 12]),
        ];
        for base in tiny_bases().await {
            for ([steps, eval_every, sample_every], evaluations, samples) in &cases {
                let (steps, eval_every, sample_every) = (*steps, *eval_every, *sample_every);
                let settings =
                    Settings { steps, eval_every, sample_every, accumulate: 1, max_tokens: 2, ..tiny_settings(&base) };
                let events = quietly(&base, &settings).await.events;
                assert_eq!(steps_of(&events, evaluated), *evaluations, "{steps} steps, evaluated every {eval_every}");
                assert_eq!(steps_of(&events, sampled), *samples, "{steps} steps, sampled every {sample_every}");
                // Each token of this tokenizer is one character.
                let whole = |event: &Event| {
                    if let Event::Sample { text, .. } = event { text.chars().count() == 2 } else { true }
                };
                assert!(events.iter().all(whole), "{events:?}");
            }
        }
    }

    async fn speed_and_time_left_follow_the_clock() {
        for base in tiny_bases().await {
            let settings =
                Settings { steps: 40, accumulate: 1, sample_every: 0, eval_every: 40, ..tiny_settings(&base) };
            let events = quietly(&base, &settings).await.events;
            let mut seen = 0;
            for event in &events {
                // By then the moving mean has forgotten the first step, which follows no other.
                if let Event::Step { step, tokens, tokens_per_second, eta_ms, .. } = event
                    && *step > 30
                {
                    let speed = f64::from(*tokens) / STEP_MS * 1000.0;
                    let left = f64::from(settings.steps - step) * STEP_MS;
                    assert!(
                        (tokens_per_second / speed - 1.0).abs() < 1e-3,
                        "step {step}: {tokens_per_second} tokens a second, not {speed}"
                    );
                    assert!((eta_ms - left).abs() <= 1e-3 * left, "step {step}: {eta_ms} ms left, not {left}");
                    seen += 1;
                }
            }
            assert_eq!(seen, 10);
        }
    }

    async fn run_states_keep_their_interval() {
        for (base, under_way) in tiny_bases().await.iter().zip([1.0, 2.0]) {
            let settings = Settings { steps: 12, eval_every: 6, sample_every: 0, accumulate: 1, ..tiny_settings(base) };
            let data = tiny_data(base, &settings);
            // The interval may end in the middle of a step, and the steps in flight are finished first.
            let late = (1.0 + under_way) * STEP_MS;
            for every in [0.0, 25.0, 1e9] {
                let when = Some(SaveWhen::EveryMs(every));
                let observed = observe(base, &data, &settings, when, |_| None).await.expect("a run");
                for (_, bytes) in &observed.states {
                    let RunState { losses, events, .. } = RunState::from_bytes(bytes).expect("a state");
                    let evals = events.iter().filter_map(|event| match event {
                        Event::Eval { step, loss: Some(loss), .. } => Some((*step, *loss)),
                        _ => None,
                    });
                    let (step, loss) = evals.min_by(|a, b| a.1.total_cmp(&b.1)).expect("an evaluation");
                    assert!(
                        losses.best.is_none_or(|best| best == loss) && losses.best_step == step,
                        "{losses:?}, not {loss} at {step}"
                    );
                }
                let times: Vec<f64> = [0.0].into_iter().chain(observed.states.iter().map(|(time, _)| *time)).collect();
                assert_eq!(
                    observed.events.iter().filter(|event| matches!(event, Event::Checkpoint { .. })).count(),
                    observed.states.len()
                );
                for pair in times.windows(2) {
                    let gap = pair[1] - pair[0];
                    assert!(gap >= every && gap <= every + late, "{under_way} in flight, every {every} ms: {times:?}");
                }
                let total = f64::from(settings.steps) * STEP_MS;
                assert_eq!(observed.states.is_empty(), every > total);
                assert!(
                    total - times[times.len() - 1] <= every + late,
                    "{under_way} in flight, every {every} ms: the last of {times:?} is too early"
                );
            }
        }
    }

    async fn states_saved_often_come_at_the_first_evaluation_and_every_tenth_of_the_run() {
        // A step takes ten milliseconds, so a second, the least time between two tenths, is a hundred steps. Those in
        // flight are finished first: one in software, two on a graphics card.
        let base = tiny_base(&device(Shape::Direct).await).await;
        let late = if base.model.device.software { 1 } else { 2 };
        let cases = [(40, 7, vec![7]), (40, 40, vec![]), (200, 7, vec![7, 107 + late]), (200, 200, vec![100 + late])];
        for (steps, eval_every, expected) in cases {
            let settings = Settings { steps, eval_every, sample_every: 0, accumulate: 1, ..tiny_settings(&base) };
            let data = tiny_data(&base, &settings);
            let observed = observe(&base, &data, &settings, Some(SaveWhen::Often), |_| None).await.expect("a run");
            let steps_of_states: Vec<u32> =
                observed.states.iter().map(|(_, bytes)| RunState::from_bytes(bytes).expect("a state").step).collect();
            assert_eq!(steps_of_states, expected, "{steps} steps, evaluated every {eval_every}");
        }
    }

    async fn a_state_that_is_asked_for_is_saved_after_the_step_under_way() {
        let base = tiny_base(&device(Shape::Direct).await).await;
        let settings = Settings { steps: 8, sample_every: 0, ..tiny_settings(&base) };
        let (data, control, mut states) = (tiny_data(&base, &settings), Control::default(), Vec::new());
        let mut emit = |event: Event| {
            if matches!(event, Event::Step { step: 3, .. }) {
                control.ask_to_save();
            }
        };
        let mut save = |bytes: Vec<u8>| states.push(RunState::from_bytes(&bytes).expect("a state").step);
        let save = SaveHook { when: SaveWhen::EveryMs(f64::INFINITY), save: &mut save };
        let hooks = Hooks { emit: &mut emit, keep: &mut |_| {}, save: Some(save), helpers: &[] };
        let clock: Clock = Rc::new(|| 0.0);
        run::train(&base, &data, &settings, Start::Fresh, &control, &clock, hooks).await.expect("a run");
        assert_eq!(states, [4], "one step is in flight when the third is reported");
    }

    /// "12 of 34" is exact: every kernel that is compiled was counted beforehand, and is compiled once.
    async fn compiling_is_reported_kernel_by_kernel_up_to_its_total() {
        // A new device, which has not compiled anything yet.
        let device = Device::new(DeviceOptions { shape: Some(Shape::Direct), ..DeviceOptions::default() })
            .await
            .expect("an adapter");
        let base = tiny_base(&device).await;
        let settings = Settings { sample_every: 0, ..tiny_settings(&base) };
        let mut reported = Vec::new();
        for _ in 0..2 {
            let events = quietly(&base, &settings).await.events;
            let compiled = |event: &Event| match event {
                Event::Phase { phase: Phase::Compiling, done, total } => Some((*done, *total)),
                _ => None,
            };
            reported.push(events.iter().filter_map(compiled).collect::<Vec<_>>());
        }
        let total = reported[0].len() as u64;
        assert!(total > 10, "{total} kernels");
        assert_eq!(
            reported,
            [(1..=total).map(|done| (done, total)).collect(), vec![]],
            "a second run compiles nothing"
        );
    }

    async fn a_run_reports_that_it_paused_and_that_it_continues() {
        let base = tiny_base(&device(ANY_SHAPE).await).await;
        let settings = Settings { sample_every: 0, ..tiny_settings(&base) };
        let data = tiny_data(&base, &settings);
        for after in [Wish::GoOn, Wish::Stop] {
            let wish = |event: &Event| match event {
                Event::Step { step: 2, .. } => Some(Wish::Pause),
                Event::Phase { phase: Phase::Paused, .. } => Some(after),
                _ => None,
            };
            let events = observe(&base, &data, &settings, None, wish).await.expect("a run").events;
            let phase = |event: &Event| if let Event::Phase { phase, .. } = event { Some(*phase) } else { None };
            let phases: Vec<Phase> =
                events.iter().filter_map(phase).filter(|phase| *phase != Phase::Compiling).collect();
            let (expected, reason): (&[Phase], _) = match after {
                Wish::GoOn => (&[Phase::Training, Phase::Paused, Phase::Training], DoneReason::Finished),
                _ => (&[Phase::Training, Phase::Paused], DoneReason::Stopped),
            };
            assert_eq!(phases, expected);
            assert!(
                matches!(events.last(), Some(Event::Done { reason: found, .. }) if *found == reason),
                "{:?}",
                events.last()
            );
        }
    }

    async fn a_pause_before_the_first_step_has_nothing_to_save() {
        let base = tiny_base(&device(ANY_SHAPE).await).await;
        let settings = Settings { sample_every: 0, ..tiny_settings(&base) };
        let wish = |event: &Event| match event {
            Event::Eval { step: 0, .. } => Some(Wish::Pause),
            Event::Phase { phase: Phase::Paused, .. } => Some(Wish::Stop),
            _ => None,
        };
        let data = tiny_data(&base, &settings);
        let observed = observe(&base, &data, &settings, Some(SaveWhen::EveryMs(0.0)), wish).await.expect("a run");
        assert!(observed.states.is_empty() && observed.kept.is_none());
        assert!(
            observed.events.iter().any(|event| matches!(event, Event::Phase { phase: Phase::Paused, done: 0, .. }))
        );
    }

    async fn what_a_run_reports_about_its_adapter_is_what_the_files_hold() {
        let base = tiny_base(&device(ANY_SHAPE).await).await;
        for (rank, alpha, targets, method) in [
            (3, 6.5, "q_proj,down_proj", Method::Lora),
            (8, 16.0, "all-linear", Method::Lora),
            (8, 16.0, "all-linear", Method::Full),
        ] {
            let settings =
                Settings { rank, alpha, targets: targets.to_string(), method, sample_every: 0, ..tiny_settings(&base) };
            let data = tiny_data(&base, &settings);
            let Observed { events, kept, .. } = observe(&base, &data, &settings, None, |_| None).await.expect("a run");
            let kept = kept.expect("something is kept");
            let Some(Event::Config { base_sha256, rows, held_out, parameters, settings: reported, .. }) =
                events.first()
            else {
                panic!("{:?}", events.first());
            };
            assert_eq!((base_sha256, *rows, *held_out), (&base.sha256, data.rows.len(), data.held_out.len()));
            assert_eq!((**reported).clone(), settings);
            let numbers = |bytes: &[u8], trained: &dyn Fn(&str) -> bool| -> usize {
                tensors(bytes).iter().filter(|(name, _)| trained(name)).map(|(_, values)| values.len()).sum()
            };
            let expected = match &kept.files {
                Files::Adapter(files) => {
                    let config: serde_json::Value = serde_json::from_str(&files.config).expect("JSON");
                    assert_eq!((&config["r"], config["lora_alpha"].as_f64()), (&serde_json::json!(rank), Some(alpha)));
                    let spec = files.spec(&base.model.config).expect("a spec");
                    let names: Vec<&str> = spec.target_names(&base.model.config);
                    assert_eq!((kept.rank, kept.alpha, &kept.targets), (rank, alpha, &names));
                    numbers(&files.weights, &|_| true)
                }
                Files::Checkpoint(bytes) => numbers(bytes, &|name| name.contains("_proj")),
            };
            assert_eq!((*parameters, kept.parameters), (expected, expected), "{method:?} {targets}");
        }
    }

    /// The loss of the kept adapter is that of the last evaluation, if there are held-out rows.
    async fn without_a_better_loss_the_last_adapter_is_kept_and_the_reason_reported() {
        let base = tiny_base(&device(ANY_SHAPE).await).await;
        let plain = Settings { sample_every: 0, steps: 5, eval_every: 2, ..tiny_settings(&base) };
        for (settings, evaluations) in [
            (Settings { holdout: 0.0, ..plain.clone() }, &[][..]),
            (Settings { lr: 1e-30, ..plain.clone() }, &[0, 2, 4, 5]),
        ] {
            let data = tiny_data(&base, &settings);
            assert_eq!(data.held_out.is_empty(), evaluations.is_empty());
            let when = Some(SaveWhen::EveryMs(0.0));
            let observed = observe(&base, &data, &settings, when, |_| None).await.expect("a run");
            let (last, Observed { events, kept, .. }) = (observed.last_state(), observed);
            assert_eq!(steps_of(&events, evaluated), evaluations);
            let mut losses =
                events.iter().filter_map(|event| if let Event::Eval { loss, .. } = event { *loss } else { None });
            let (base_loss, best_loss) = (losses.next(), losses.next_back());
            let expected = Event::Done { step: 5, base_loss, best_loss, best_step: 5, reason: DoneReason::Finished };
            assert_eq!(events.last(), Some(&expected));
            let warned = events
                .iter()
                .filter(|event| matches!(event, Event::Warning { code, .. } if code == "no_improvement"))
                .count();
            assert_eq!(warned, usize::from(!evaluations.is_empty()));

            let kept = kept.expect("an adapter");
            assert_eq!((kept.step, kept.loss), (5, best_loss));
            let best = last.tensors.keys().find(|name| name.starts_with("best."));
            assert_eq!((last.step, best), (5, None));
            let parameters = last.tensors.iter().filter_map(|(name, p)| Some((name.strip_prefix("p.")?, &p.values)));
            let kept = tensors(&kept.files.adapter().expect("an adapter").weights);
            let kept = kept.iter().map(|(name, values)| (name.as_str(), values));
            assert!(kept.eq(parameters), "what is kept is the adapter after the last step");
        }
    }

    async fn a_held_out_part_without_labels_measures_nothing_and_the_last_adapter_is_kept() {
        let base = tiny_base(&device(ANY_SHAPE).await).await;
        let plain = tiny_settings(&base);
        let settings = Settings { sample_every: 0, steps: 4, eval_every: 1, patience: 1, ..plain };
        let mut data = tiny_data(&base, &settings);
        assert!(!data.held_out.is_empty());
        data.held_out.iter_mut().for_each(|row| row.labels.fill(false));
        let Observed { events, kept, .. } = observe(&base, &data, &settings, None, |_| None).await.expect("a run");
        let evals: Vec<_> = events.iter().filter(|event| matches!(event, Event::Eval { .. })).collect();
        assert_eq!(evals.len(), 5);
        assert!(evals.iter().all(|event| matches!(event, Event::Eval { loss: None, tokens: 0, .. })), "{evals:?}");
        let warned = |event: &&Event| matches!(event, Event::Warning { code, .. } if code == "nothing_measured");
        assert_eq!(events.iter().filter(warned).count(), 1);
        let reason = DoneReason::Finished;
        let done = Event::Done { step: 4, base_loss: None, best_loss: None, best_step: 4, reason };
        assert_eq!(events.last(), Some(&done));
        assert_eq!(kept.map(|kept| (kept.step, kept.loss)), Some((4, None)));
    }

    /// Conversations are learnt, so samples answer a message; what the template cannot write is refused at once.
    async fn samples_ask_as_the_model_is_taught() {
        let mut base = tiny_base(&device(ANY_SHAPE).await).await;
        let with_template = |template: &str| {
            let (tokenizer, config) = (tiny_tokenizer(), CONFIG.replace("\"eos_token_id\": 2,", ""));
            let files = TokenizerFiles {
                tokenizer: &tokenizer,
                tokenizer_config: None,
                generation_config: None,
                chat_template: Some(template.as_bytes()),
                config: config.as_bytes(),
            };
            Tokenizer::from_files(&files).expect("a tokenizer")
        };
        base.tokenizer = with_template(
            "{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}\
             {% if add_generation_prompt %}assistant:{% endif %}",
        );
        let line = r#"{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}"#;
        let talk = Document::new("talk.jsonl", [line; 6].join("\n"));
        let prose = Document::new("notes.txt", "Some notes of a voyage. ".repeat(20));
        let usual = tiny_settings(&base);
        let settings = Settings { seq_len: 24, sample_every: 4, prompt: "Hi".to_string(), ..usual };
        for (documents, is_chat) in [(vec![talk.clone()], true), (vec![talk.clone(), prose], false)] {
            let data = base.dataset(&documents, None, &settings, PAGE_LIMIT).expect("rows");
            assert_eq!(data.is_chat, is_chat);
            let observed = observe(&base, &data, &settings, None, |_| None).await.expect("a run");
            let sampled = observed.events.iter().rev().find_map(|event| match event {
                Event::Sample { prompt, text, .. } => Some((prompt.as_str(), text.clone())),
                _ => None,
            });
            let last = observed.kept.as_ref().expect("an adapter");
            assert_eq!((last.step, last.files.adapter().expect("an adapter").origin()), (4, Ok(base.origin(is_chat))));
            let model = base.with_adapter(last.files.adapter().expect("an adapter")).expect("a model");
            let generator = Generator::new(&model).await.expect("plans");
            let sampling = Sampling {
                max_tokens: settings.max_tokens,
                temperature: 0.7,
                top_k: 40,
                top_p: 1.0,
                seed: settings.seed,
                strength: 1.0,
            };
            let asked = Conversation::of_user("Hi", None);
            let mut written = Vec::new();
            for prompt in [Prompt::Conversation(&asked), Prompt::Text("Hi")] {
                let tokenizer = &base.tokenizer;
                let found =
                    generator.generate(tokenizer, prompt, &sampling, &mut |_| {}, &|| true).await.expect("text");
                written.push(found.text);
            }
            assert_ne!(written[0], written[1]);
            assert_eq!(sampled, Some(("Hi", written[usize::from(!is_chat)].clone())));
        }
        let data = base.dataset(&[talk], None, &settings, PAGE_LIMIT).expect("rows");
        base.tokenizer = with_template("{{ raise_exception('Two messages, please.') if messages | length < 2 }}");
        let refused = observe(&base, &data, &settings, None, |_| None).await.map(|_| ()).unwrap_err();
        assert!(
            matches!(&refused, Error::Conversation { reason, .. } if reason == "Two messages, please."),
            "{refused}"
        );
        let silent = Settings { sample_every: 0, ..settings.clone() };
        assert!(observe(&base, &data, &silent, None, |_| None).await.is_ok());
    }

    async fn full_fine_tuning_that_learns_nothing_leaves_the_base() {
        let base = tiny_base(&device(ANY_SHAPE).await).await;
        let settings =
            Settings { method: Method::Full, lr: 1e-30, holdout: 0.0, sample_every: 0, ..tiny_settings(&base) };
        let kept = quietly(&base, &settings).await.kept.expect("a checkpoint");
        let Files::Checkpoint(bytes) = kept.files else { panic!("full fine-tuning leaves a checkpoint") };
        let (found, expected) = (tensors(&bytes), tensors(MODEL));
        assert!(found.keys().eq(expected.keys()), "{:?}", found.keys());
        for (name, values) in &expected {
            same_bits(name, &found[name], values);
        }
    }

    async fn a_probe_measures_every_part_of_a_run() {
        let base = tiny_base(&device(ANY_SHAPE).await).await;
        let now = Rc::new(Cell::new(5.0));
        // Whatever happens between two looks at the clock takes 10 ms.
        let clock: Clock = Rc::new(move || now.replace(now.get() + STEP_MS));
        for dropout in [0.0, 0.2] {
            let settings = Settings { dropout, max_tokens: 17, ..tiny_settings(&base) };
            let data = tiny_data(&base, &settings);
            assert!(data.held_out.len() >= 4);
            let cost = run::probe(&base, &data, &settings, &clock, &[]).await.expect("a cost");
            assert!((STEP_MS..=5.0 * STEP_MS).contains(&cost.step.0), "{cost:?}");
            assert!((cost.keep.0 - STEP_MS).abs() < 1e-9, "{cost:?}");
            // Two batches are timed at once, and eight tokens of the seventeen.
            assert!((cost.batch.0 - STEP_MS / 2.0).abs() < 1e-9, "{cost:?}");
            assert!((cost.sample.0 - STEP_MS * 18.0 / 9.0).abs() < 1e-9, "{cost:?}");
        }
    }

    async fn the_time_left_counts_every_part_that_is_still_to_come() {
        let base = tiny_base(&device(ANY_SHAPE).await).await;
        for [steps, eval_every, sample_every] in [[5, 2, 3], [4, 2, 0], [4, 3, 4], [3, 3, 1], [12, 0, 5]] {
            let settings =
                Settings { steps, eval_every, sample_every, accumulate: 1, max_tokens: 2, ..tiny_settings(&base) };
            let held_out = tiny_data(&base, &settings).held_out.len();
            let batches = held_out.div_ceil(settings.batch) as f64;
            let events = quietly(&base, &settings).await.events;
            for step in 0..=steps {
                let left = |cost: Cost| cost.left(&settings, held_out, step);
                let count = |steps: Vec<u32>| steps.into_iter().filter(|at| *at >= step).count() as f64;
                let evaluations = count(steps_of(&events, evaluated));
                let of_base = if step == 0 { 1.0 } else { 0.0 };
                assert_eq!(left(Cost { step: Mean(1.0), ..Cost::default() }), f64::from(steps - step));
                assert_eq!(left(Cost { batch: Mean(1.0), ..Cost::default() }), batches * evaluations);
                assert_eq!(left(Cost { keep: Mean(1.0), ..Cost::default() }), evaluations - of_base);
                assert_eq!(
                    left(Cost { sample: Mean(1.0), ..Cost::default() }),
                    count(steps_of(&events, sampled)),
                    "{settings:?} after {step}"
                );
            }
        }
    }

    async fn the_time_left_of_a_run_includes_what_its_parts_took() {
        const KEEP_MS: f64 = 100.0;
        let base = tiny_base(&device(ANY_SHAPE).await).await;
        let settings = Settings { steps: 12, eval_every: 3, sample_every: 0, accumulate: 1, ..tiny_settings(&base) };
        let now = Rc::new(Cell::new(0.0));
        let clock: Clock = Rc::new({
            let now = now.clone();
            move || now.get()
        });
        // Nothing takes time, except that somebody who keeps adapters is slow.
        let mut left = Vec::new();
        let mut emit = |event: Event| {
            if let Event::Step { step, eta_ms, .. } = event {
                left.push((step, eta_ms, now.get()));
            }
        };
        let mut keep = |_: &Kept| now.set(now.get() + KEEP_MS);
        let hooks = Hooks { emit: &mut emit, keep: &mut keep, save: None, helpers: &[] };
        let data = tiny_data(&base, &settings);
        run::train(&base, &data, &settings, Start::Fresh, &Control::default(), &clock, hooks).await.expect("a run");
        left.retain(|(_, _, now)| *now > 0.0);
        assert!(left.len() > 3, "{left:?}");
        for (step, eta_ms, _) in left {
            let kept = 4 - (step - 1) / 3;
            assert!((eta_ms - f64::from(kept) * KEEP_MS).abs() < 1.0, "step {step}: {eta_ms} ms");
        }
    }

    async fn a_step_without_labels_is_skipped_and_reported() {
        let base = tiny_base(&device(ANY_SHAPE).await).await;
        let settings = Settings {
            shuffle: false,
            accumulate: 1,
            steps: 4,
            eval_every: 4,
            sample_every: 0,
            ..tiny_settings(&base)
        };
        let mut data = tiny_data(&base, &settings);
        // Remove the labels of step 2.
        data.rows[settings.batch..2 * settings.batch].iter_mut().for_each(|row| row.labels.fill(false));
        let observed = observe(&base, &data, &settings, Some(SaveWhen::EveryMs(0.0)), |_| None).await.expect("a run");
        let (last, events) = (observed.last_state(), observed.events);
        let trained = |event: &Event| if let Event::Step { step, .. } = event { Some(*step) } else { None };
        assert_eq!(steps_of(&events, trained), [1, 3, 4]);
        let warnings = events.iter().filter_map(|event| {
            if let Event::Warning { code, message } = event { Some((code, message)) } else { None }
        });
        let skipped: Vec<_> = warnings.filter(|(code, _)| *code == "no_labels").collect();
        assert!(skipped.len() == 1 && skipped[0].1.contains("step 2 "), "{skipped:?}");
        assert_eq!(last.step, last.updates + 1, "a step without labels updates nothing");
    }

    /// The rows are the same in every step and almost nothing is learned, so only the masks differ.
    async fn dropout_masks_differ_from_step_to_step() {
        let base = tiny_base(&device(ANY_SHAPE).await).await;
        let init: AdapterFiles = case("llama-all-linear").files();
        let settings = Settings {
            lr: 1e-30,
            dropout: 0.5,
            shuffle: false,
            sample_every: 0,
            accumulate: 1,
            steps: 3,
            ..tiny_settings(&base)
        };
        let mut data = tiny_data(&base, &settings);
        data.rows.truncate(settings.batch);
        let mut losses = Vec::new();
        let mut emit =
            |event: Event| losses.extend(if let Event::Step { loss, .. } = event { Some(loss) } else { None });
        let hooks = Hooks { emit: &mut emit, keep: &mut |_| {}, save: None, helpers: &[] };
        let clock: Clock = Rc::new(|| 0.0);
        run::train(&base, &data, &settings, Start::Adapter(&init), &Control::default(), &clock, hooks)
            .await
            .expect("a run");
        assert!(
            losses.len() == 3 && losses[0] != losses[1] && losses[1] != losses[2] && losses[0] != losses[2],
            "{losses:?}"
        );
    }

    async fn the_state_of_a_very_long_run_can_be_read() {
        let base = tiny_base(&device(ANY_SHAPE).await).await;
        let settings = Settings { sample_every: 0, ..tiny_settings(&base) };
        let observed = observe(&base, &tiny_data(&base, &settings), &settings, Some(SaveWhen::EveryMs(0.0)), |_| None)
            .await
            .expect("a run");
        let mut state = observed.last_state();
        let reported = |step: u32| Event::Step {
            step,
            loss: 1.25,
            grad_norm: 0.5,
            lr: 1e-3,
            tokens: 32,
            tokens_per_second: 1e3 / 3.0,
            eta_ms: 1e5 / 7.0,
        };
        let steps = 150_000u32;
        state.events = (1..=steps).map(reported).collect();
        let other = [
            Event::Eval { step: 1, loss: Some(3.5), tokens: 7 },
            Event::Warning { code: "a".to_string(), message: "b".to_string() },
        ];
        state.events.splice(1..1, other.clone());

        let again = RunState::from_bytes(&state.to_bytes()).expect("a state that is not too long");
        let kept = &again.events;
        let numbers = steps_of(kept, |event| if let Event::Step { step, .. } = event { Some(*step) } else { None });
        assert_eq!((numbers[0], &kept[1..3]), (1, &other[..]), "the first step and all events that are not steps stay");
        let gap = numbers[1] - numbers[0];
        assert!(numbers.windows(2).all(|pair| pair[1] - pair[0] == gap), "the steps that stay are evenly spaced");
        assert!(numbers.len() > 5_000, "no more steps are dropped than necessary: {} stay", numbers.len());
        assert!(again.tensors == state.tensors);
    }
}
