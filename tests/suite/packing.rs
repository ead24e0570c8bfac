//! Packing: rows that share one are learnt from as if each were alone.

use std::rc::Rc;

use tabtune::device::Shape;
use tabtune::error::Error;
use tabtune::files::safetensors::{Header, to_f32};
use tabtune::run::{
    self, Base, Clock, Control, Event, Files, Helper, Hooks, Method, RunState, SaveHook, SaveWhen, Settings, Start,
};
use tabtune::text::{Dataset, Document, MicroBatch, PAGE_LIMIT, Row};

use crate::check::{MODEL_SHAPES, close, device};
use crate::laws::{FAMILIES, ids, tuned};
use crate::teams::helpers;
use crate::tiny::{tiny_base, tiny_data, tiny_settings};

/// A row of `seq_len` inputs with so many ids, of which the first third is a prompt.
fn row(count: usize, seq_len: usize) -> Row {
    let mut all = ids(count, 96, count);
    all.resize(seq_len + 1, 0);
    Row { ids: all, labels: (1..=seq_len).map(|t| (count / 3..count).contains(&t)).collect(), tokens: count }
}

/// Fifteen examples of nine tokens, of which three are held out. Three fit into a row of 24 inputs.
fn examples(base: &Base, settings: &Settings) -> Dataset {
    let line = |i: usize| format!("{{\"text\": \"{:03} boats\"}}\n", i * i * 7 % 1000);
    let documents = [Document::new("examples.jsonl", (0..15).map(line).collect::<String>().into_bytes())];
    base.dataset(&documents, None, settings, PAGE_LIMIT).expect("rows")
}

fn settings(base: &Base, packing: bool) -> Settings {
    let batch = if packing { 1 } else { 3 };
    Settings { seq_len: 24, batch, packing, holdout: 0.2, shuffle: false, sample_every: 0, ..tiny_settings(base) }
}

struct Observed {
    /// Losses and norms of gradients.
    numbers: Vec<f32>,
    events: Vec<Event>,
    states: Vec<Vec<u8>>,
    /// What was trained.
    kept: Vec<f32>,
}

async fn observe(
    base: &Base,
    data: &Dataset,
    settings: &Settings,
    start: Start<'_>,
    helpers: &[Box<dyn Helper>],
) -> Result<Observed, Error> {
    let (mut events, mut states) = (Vec::new(), Vec::new());
    let save = SaveHook { when: SaveWhen::EveryMs(0.0), save: &mut |bytes| states.push(bytes) };
    let hooks = Hooks { emit: &mut |event| events.push(event), keep: &mut |_| {}, save: Some(save), helpers };
    let clock: Clock = Rc::new(|| 0.0);
    let outcome = run::train(base, data, settings, start, &Control::default(), &clock, hooks).await?;
    let kept = match outcome.kept.expect("something is kept").files {
        Files::Adapter(files) => numbers_in(&files.weights),
        Files::Checkpoint(bytes) => numbers_in(&bytes),
    };
    let reported = |event: &Event| match *event {
        Event::Step { loss, grad_norm, .. } => vec![loss as f32, grad_norm as f32],
        Event::Eval { loss: Some(loss), .. } => vec![loss as f32],
        _ => vec![],
    };
    Ok(Observed { numbers: events.iter().flat_map(reported).collect(), events, states, kept })
}

/// All numbers of a safetensors file.
fn numbers_in(bytes: &[u8]) -> Vec<f32> {
    let length = Header::length(bytes[..8].try_into().expect("8 bytes"), bytes.len() as u64, "kept").expect("a header");
    let header = Header::parse(&bytes[8..8 + length as usize], bytes.len() as u64, "kept").expect("a header");
    let mut values = Vec::new();
    for entry in &header.entries {
        to_f32(entry.dtype, &bytes[entry.begin as usize..entry.end as usize], &mut values);
    }
    values
}

fn tokens(events: &[Event]) -> u32 {
    events.iter().map(|event| if let Event::Step { tokens, .. } = event { *tokens } else { 0 }).sum()
}

fn is_in_vain(event: &Event) -> bool {
    matches!(event, Event::Warning { code, .. } if code == "packing_in_vain")
}

crate::device_tests! {
    /// Sequences longer than the windows of the families that have them, of several lengths.
    async fn rows_that_share_one_have_the_loss_and_gradient_of_each_alone() {
        let seq_len = 48;
        let rows = [20, 11, 17].map(|count| row(count, seq_len));
        let group: Vec<&Row> = rows.iter().collect();
        let alone = MicroBatch::assemble(&group, 3, seq_len);
        let shared = MicroBatch::packed(&[&group], 1, seq_len);
        let as_one_sequence = MicroBatch { starts: vec![0; seq_len], ..shared.clone() };
        for &shape in MODEL_SHAPES {
            let device = device(shape).await;
            for name in FAMILIES {
                let t = tuned(name, device.clone()).await;
                let mut outcomes = Vec::new();
                for micro in [&alone, &shared, &as_one_sequence] {
                    let mut evaluator = run::evaluator(&t.model, micro.batch, seq_len).await.expect("a plan");
                    let ticket = evaluator.submit(micro, 1.0, 1).expect("an evaluation");
                    let (loss, labels) = evaluator.result(ticket).await.expect("a loss");
                    assert_eq!(labels, alone.labelled);
                    let mut trainer = t.trainer(micro.batch, seq_len).await;
                    outcomes.push((loss, trainer.gradient(micro).await.expect("a gradient")));
                }
                let [(loss, gradient), (shared, found), (other, _)] = &outcomes[..] else { unreachable!() };
                assert!((shared / loss - 1.0).abs() < 1e-6, "{name}, {shape:?}: {shared} is not {loss}");
                assert!((other / loss - 1.0).abs() > 1e-4, "{name}, {shape:?}: what comes before would matter");
                close(&format!("the gradient of {name}, {shape:?}"), found, gradient, 1e-5);
            }
        }
    }

    async fn a_packed_run_learns_the_same_as_one_whose_batches_hold_the_same_examples() {
        let cases = MODEL_SHAPES.iter().map(|shape| (*shape, Method::Lora)).chain([(Shape::Cpu, Method::Full)]);
        for (shape, method) in cases {
            let base = tiny_base(&device(shape).await).await;
            let mut outcomes = Vec::new();
            for packing in [false, true] {
                let settings = Settings { method, lr: 1e-3, ..settings(&base, packing) };
                let data = examples(&base, &settings);
                let observed = observe(&base, &data, &settings, Start::Fresh, &[]).await.expect("a run");
                let Some(Event::Config { rows, held_out, settings: noted, .. }) = observed.events.first() else {
                    panic!("{:?}", observed.events.first());
                };
                assert_eq!((*rows, *held_out, noted.packing), (if packing { 4 } else { 12 }, 3, packing));
                assert!(!observed.events.iter().any(is_in_vain));
                // Where examples share a row, the last token of each is only predicted.
                assert_eq!(tokens(&observed.events), 4 * 6 * if packing { 8 } else { 9 });
                outcomes.push(observed);
            }
            let [alone, packed] = &outcomes[..] else { unreachable!() };
            close(&format!("{shape:?}, {method:?}: losses"), &packed.numbers, &alone.numbers, 1e-5);
            close(&format!("{shape:?}, {method:?}: what was trained"), &packed.kept, &alone.kept, 1e-4);
        }
    }

    async fn a_packed_run_is_shared_among_engines_and_resumed() {
        let base = tiny_base(&device(Shape::Cpu).await).await;
        let settings = Settings { batch: 3, accumulate: 1, shuffle: true, ..settings(&base, true) };
        let data = examples(&base, &settings);
        let whole = observe(&base, &data, &settings, Start::Fresh, &[]).await.expect("a run");
        let helpers = helpers(Shape::Cpu, 1).await;
        let together = observe(&base, &data, &settings, Start::Fresh, &helpers).await.expect("a run");
        close("losses of two engines", &together.numbers, &whole.numbers, 2e-5);

        let states = whole.states.iter().map(|bytes| RunState::from_bytes(bytes).expect("a state"));
        let state = states.into_iter().find(|state| state.step == 2).expect("a state after step 2");
        assert!(state.settings.packing);
        let start = Start::Resume(Box::new(state));
        let resumed = observe(&base, &data, &settings, start, &[]).await.expect("a run");
        assert_eq!((resumed.numbers, resumed.kept), (whole.numbers, whole.kept));
    }

    async fn packing_full_rows_changes_nothing_and_says_so() {
        let base = tiny_base(&device(Shape::Cpu).await).await;
        let settings = tiny_settings(&base);
        let data = tiny_data(&base, &settings);
        let plain = observe(&base, &data, &settings, Start::Fresh, &[]).await.expect("a run");
        assert!(!plain.events.iter().any(is_in_vain));
        let settings = Settings { packing: true, ..settings };
        let packed = observe(&base, &data, &settings, Start::Fresh, &[]).await.expect("a run");
        assert_eq!(packed.events.iter().filter(|event| is_in_vain(event)).count(), 1);
        assert_eq!((packed.numbers, packed.kept), (plain.numbers, plain.kept));
    }
}
