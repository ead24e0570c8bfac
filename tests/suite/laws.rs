//! Laws: what holds for any numbers. Each runs in every kernel shape, natively and in a browser.

use std::rc::Rc;

use tabtune::adapter::{Adapter, AdapterFiles, ExportCheck};
use tabtune::device::{Device, DeviceOptions, Shape};
use tabtune::error::Error;
use tabtune::files::Source;
use tabtune::files::safetensors::{Header, to_f32, write};
use tabtune::generate::{Generator, Reason, Sampling};
use tabtune::model::{Config, Logits, Storage, Transformer};
use tabtune::plan::Progress;
use tabtune::run::{self, Control, Measured};
use tabtune::text::MicroBatch;
use tabtune::text::rows::Row;
use tabtune::train::{Schedule, StepResult, StepSettings, Trainer, TrainerSettings};

use crate::check::{MODEL_SHAPES, close, close64, device, origin};
use crate::golden::{CASES, Case};
use crate::tiny::tiny_base;

pub const CONFIG: &str = include_str!("../fixtures/models/llama/config.json");
pub const MODEL: &[u8] = include_bytes!("../fixtures/models/llama/model.safetensors");
/// A case of each family.
pub const FAMILIES: [&str; 9] = [
    "llama-all-linear",
    "mistral",
    "qwen2",
    "qwen3",
    "smollm3",
    "gpt2-all-linear",
    "gemma3-all-linear",
    "gemma3-wide-head",
    "phi3-all-linear",
];
/// What is made again in the backward pass, in every combination: (lean, checkpointing).
pub const AGAIN: [(bool, bool); 4] = [(false, false), (true, false), (false, true), (true, true)];
pub const STEP: StepSettings =
    StepSettings { learning_rate: 1e-2, weight_decay: 0.01, clip: 1.0, dropout: 0.0, seed: 0 };

/// A model from the fixtures with one of its PEFT adapters attached.
pub struct Tuned {
    pub device: Rc<Device>,
    base: Transformer,
    pub model: Transformer,
    pub adapter: Adapter,
    flat: Vec<f32>,
}

pub fn case(name: &str) -> &'static Case {
    CASES.iter().find(|case| case.name == name).expect("a case of the fixtures")
}

pub async fn tuned(name: &str, device: Rc<Device>) -> Tuned {
    let base = case(name).model(&device).await;
    let (adapter, flat) = case(name).files().load(&device, &base.config).expect("an adapter");
    adapter.write(&device, &flat);
    let model = adapter.attach(&base);
    Tuned { device, base, model, adapter, flat }
}

impl Tuned {
    pub async fn trainer(&self, batch: usize, seq_len: usize) -> Trainer {
        let draft =
            Trainer::record(&self.model, &self.adapter.params(), TrainerSettings::new(batch, seq_len)).expect("plans");
        draft.finish(&mut Progress::silent()).await.expect("plans")
    }
}

/// The logits of every row of `batch` sequences of equal length.
pub async fn logits(model: &Transformer, ids: &[u32], batch: usize, strength: f32) -> Vec<f32> {
    let draft = Logits::record(model, ids.len(), batch, ids.len(), None).expect("a plan");
    let all: Vec<u32> = (0..ids.len() as u32).collect();
    draft.finish(&mut Progress::silent()).await.expect("a plan").run(ids, &all, 0, strength).await.expect("logits")
}

/// The summed loss and the number of labels of a micro-batch of two rows.
async fn loss(model: &Transformer, micro: &MicroBatch) -> (f64, u32) {
    let seq_len = micro.tokens.len() / 2;
    let mut evaluator = run::evaluator(model, 2, seq_len).await.expect("a plan");
    let ticket = evaluator.submit(micro, 1.0, 1).expect("an evaluation");
    evaluator.result(ticket).await.expect("a loss")
}

async fn step(trainer: &mut Trainer, micros: &[MicroBatch], settings: StepSettings) -> StepResult {
    let ticket = trainer.submit(micros, settings, 1).expect("a step");
    trainer.result(ticket).await.expect("a result")
}

/// Token ids without a pattern that a model could have learned.
pub fn ids(n: usize, vocabulary: usize, salt: usize) -> Vec<u32> {
    (0..n).map(|i| ((i * i * 7 + i * 31 + salt * 13 + 5) % vocabulary) as u32).collect()
}

pub fn same_bits(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}: lengths");
    let differs = (0..found.len()).find(|&i| found[i].to_bits() != expected[i].to_bits());
    assert_eq!(differs, None, "{what}: {:?}", differs.map(|i| (found[i], expected[i])));
}

/// The same checkpoint with its matrices rounded to f16 but stored as f32.
fn rounded_to_f16(model: &[u8]) -> Vec<u8> {
    let length = Header::length(model[..8].try_into().expect("8 bytes"), model.len() as u64, "model").expect("a header")
        as usize;
    let header = Header::parse(&model[8..8 + length], model.len() as u64, "model").expect("a header");
    let mut tensors = Vec::new();
    for entry in &header.entries {
        let mut values = Vec::new();
        to_f32(entry.dtype, &model[entry.begin as usize..entry.end as usize], &mut values);
        if entry.shape.len() == 2 {
            values.iter_mut().for_each(|x| *x = half::f16::from_f32(*x).to_f32());
        }
        tensors.push((entry.name.clone(), entry.shape.clone(), values));
    }
    let tensors: Vec<_> =
        tensors.iter().map(|(name, shape, values)| (name.clone(), shape.clone(), values.as_slice())).collect();
    write(&tensors, &[])
}

/// A micro-batch of at most two rows.
fn micro(rows: &[&Row]) -> MicroBatch {
    MicroBatch::assemble(rows, 2, rows[0].labels.len())
}

/// Compares the logits of a sequence decoded token by token with those of the whole sequence at once, at some
/// positions.
pub async fn decoding_equals_forward(model: &Transformer, positions: &[u32]) {
    let context = model.config.context;
    let sequence = ids(context, model.config.vocabulary, 3);
    let draft = Logits::record(model, context, 1, positions.len(), None).expect("a plan");
    let whole = draft.finish(&mut Progress::silent()).await.expect("a plan");
    let forward = whole.run(&sequence, positions, 0, 1.0).await.expect("logits");
    let generator = Generator::new(model).await.expect("plans");
    let pipelines = model.device.pipeline_count();
    let near = |what: &str, position: u32, found: &[f32]| {
        let at = positions.iter().position(|&p| p == position).expect("a position") * found.len();
        let worst = found.iter().zip(&forward[at..]).map(|(f, e)| (f - e).abs()).fold(0.0, f32::max);
        assert!(
            worst <= 1e-4,
            "{what}, {:?}: at position {position} of {context} logits differ by {worst}",
            model.device.shape
        );
    };
    for (position, id) in sequence.iter().enumerate() {
        let found = generator.feed(&[*id], position, 1.0).await.expect("logits");
        if positions.contains(&(position as u32)) {
            near("token by token", position as u32, &found);
        }
    }
    for &position in positions {
        let found = generator.feed(&sequence[..=position as usize], 0, 1.0).await.expect("logits");
        near("a prompt in pieces", position, &found);
    }
    assert_eq!(model.device.pipeline_count(), pipelines, "no position needs its own pipeline");
}

crate::device_tests! {
    async fn an_adapter_whose_b_is_zero_is_the_base_bit_for_bit() {
        for &shape in MODEL_SHAPES {
            let t = tuned("llama-all-linear", device(shape).await).await;
            t.adapter.write(&t.device, &t.adapter.initial(11));
            let micro = case("llama-all-linear").facts().micro();
            let expected = logits(&t.base, &micro.tokens, 2, 1.0).await;
            same_bits("logits", &logits(&t.model, &micro.tokens, 2, 1.0).await, &expected);
            assert_eq!(loss(&t.model, &micro).await, loss(&t.base, &micro).await);
        }
    }

    async fn strength_zero_is_the_base_bit_for_bit() {
        for &shape in MODEL_SHAPES {
            let device = device(shape).await;
            for name in ["llama-all-linear", "llama-odd-rank-5", "llama-patterns", "llama-layer-1"] {
                let t = tuned(name, device.clone()).await;
                let sequence = ids(48, 96, 2);
                let expected = logits(&t.base, &sequence, 2, 1.0).await;
                same_bits(name, &logits(&t.model, &sequence, 2, 0.0).await, &expected);
                assert_ne!(
                    logits(&t.model, &sequence, 2, 1.0).await,
                    expected,
                    "the adapter has an effect at strength 1"
                );
            }
        }
    }

    async fn a_later_token_never_changes_an_earlier_logit() {
        for &shape in MODEL_SHAPES {
            let device = device(shape).await;
            for name in FAMILIES {
                let t = tuned(name, device.clone()).await;
                let before = ids(64, 96, 3);
                let expected = logits(&t.model, &before, 1, 1.0).await;
                for last in [0, 7, 31, 32, 62] {
                    let mut after = before.clone();
                    after[last + 1..].iter_mut().for_each(|id| *id = (*id + 41) % 96);
                    let found = logits(&t.model, &after, 1, 1.0).await;
                    let seen = (last + 1) * 96;
                    same_bits(&format!("{name}, up to {last}"), &found[..seen], &expected[..seen]);
                    assert_ne!(found[seen..], expected[seen..], "{name}: the tokens after {last} have an effect");
                }
            }
        }
    }

    /// With a window of 7 in each of two layers, a token reaches the 12 that follow it.
    async fn a_token_beyond_the_reach_of_windows_changes_no_logit() {
        for &shape in MODEL_SHAPES {
            let t = tuned("mistral", device(shape).await).await;
            let before = ids(64, 96, 3);
            let expected = logits(&t.model, &before, 1, 1.0).await;
            for changed in [0, 20, 33] {
                let mut after = before.clone();
                after[changed] = (after[changed] + 41) % 96;
                let found = logits(&t.model, &after, 1, 1.0).await;
                let differs = |at: usize| found[at * 96..][..96] != expected[at * 96..][..96];
                let reached: Vec<usize> = (0..64).filter(|at| differs(*at)).collect();
                assert_eq!(reached, (changed..=changed + 12).collect::<Vec<_>>(), "{shape:?}");
            }
        }
    }

    async fn padding_and_tokens_without_a_label_never_change_loss_or_gradient() {
        for &shape in MODEL_SHAPES {
            let t = tuned("llama-all-linear", device(shape).await).await;
            // Five tokens of a prompt, nine labels, then padding from input 14 on.
            let row = Row { ids: ids(25, 96, 4), labels: (0..24).map(|t| (5..14).contains(&t)).collect(), tokens: 15 };
            let mut other_padding = row.clone();
            other_padding.ids[15..].fill(77);
            let nothing_to_learn = Row { ids: ids(25, 96, 9), labels: vec![false; 24], tokens: 24 };
            let mut other_labels = micro(&[&row]);
            let places = other_labels.labels.iter_mut().zip(&other_labels.slot_of_row);
            places.filter(|(_, slot)| **slot == MicroBatch::NO_SLOT).for_each(|(label, _)| *label = 33);
            let variants = [micro(&[&other_padding]), micro(&[&row, &nothing_to_learn]), other_labels];
            let mut trainer = t.trainer(2, 24).await;
            let first = micro(&[&row]);
            let expected = (loss(&t.model, &first).await, trainer.gradient(&first).await.expect("a gradient"));
            assert_eq!(expected.0.1, 9);
            for (i, variant) in variants.iter().enumerate() {
                let found = (loss(&t.model, variant).await, trainer.gradient(variant).await.expect("a gradient"));
                assert_eq!(found.0, expected.0, "{shape:?}: variant {i}");
                assert!(found.1 == expected.1, "{shape:?}: variant {i} changes the gradient");
            }
        }
    }

    /// An engine may get such a share of a micro-batch. What the one before it left in memory must not count again.
    async fn a_micro_batch_without_labels_adds_nothing() {
        for (&shape, dropout) in MODEL_SHAPES.iter().flat_map(|shape| [(shape, false), (shape, true)]) {
            let device = device(shape).await;
            for name in ["llama-all-linear", "gpt2-all-linear", "gemma3-all-linear", "phi3-all-linear"] {
                let (t, facts) = (tuned(name, device.clone()).await, case(name).facts());
                let settings = TrainerSettings { dropout, ..TrainerSettings::new(facts.batch, facts.seq_len) };
                let draft = Trainer::record(&t.model, &t.adapter.params(), settings).expect("plans");
                let mut trainer = draft.finish(&mut Progress::silent()).await.expect("plans");
                let learned = facts.micro();
                let unlabelled = |row: Row| Row { labels: vec![false; facts.seq_len], ..row };
                let nothing: Vec<Row> = facts.rows().into_iter().map(unlabelled).collect();
                let nothing = MicroBatch::assemble(&nothing.iter().collect::<Vec<_>>(), facts.batch, facts.seq_len);
                let uniform = trainer.begin(learned.labelled, StepSettings { dropout: 0.25, ..STEP });
                let (micros, mut sums) = ([learned, nothing], Vec::new());
                for micros in [&micros[..1], &micros[1..], &micros] {
                    trainer.forget_sums();
                    trainer.accumulate(micros, &uniform, 1);
                    sums.push(trainer.sums(&|| false).await.expect("sums").expect("sums that nobody gave up"));
                }
                let [alone, none, both] = &sums[..] else { unreachable!() };
                assert!(alone.gradient.iter().any(|g| *g != 0.0), "{name} {shape:?}");
                assert_eq!((none.loss, none.labels), (0.0, 0), "{name} {shape:?}");
                assert!(none.gradient.iter().all(|g| *g == 0.0), "{name} {shape:?}: {:?}", none.gradient);
                assert!(both == alone, "{name} {shape:?}: rows without labels change the sums");
            }
        }
    }

    async fn two_half_batches_accumulated_equal_one_batch() {
        for &shape in MODEL_SHAPES {
            let device = device(shape).await;
            let facts = case("llama-all-linear").facts();
            let (rows, seq_len) = (facts.rows(), facts.seq_len);
            let halves = [micro(&[&rows[0]]), micro(&[&rows[1]])];
            let mut outcomes = Vec::new();
            for micros in [&[facts.micro()][..], &halves] {
                let t = tuned("llama-all-linear", device.clone()).await;
                let mut trainer = t.trainer(2, seq_len).await;
                // After the first step without clipping, the first moment is a tenth of the accumulated gradient.
                let result = step(&mut trainer, micros, StepSettings { clip: 0.0, ..STEP }).await;
                outcomes.push((result, trainer.buffers().m.download(&t.device).await.expect("moments")));
            }
            let [(one, whole), (two, sum)] = &outcomes[..] else { unreachable!() };
            assert_eq!(one.labels, two.labels);
            assert!(
                (one.loss / two.loss - 1.0).abs() < 1e-6 && (one.grad_norm / two.grad_norm - 1.0).abs() < 1e-5,
                "{one:?} {two:?}"
            );
            close("accumulated gradient", sum, whole, 1e-5);
        }
    }

    async fn a_micro_batch_of_many_rows_is_the_sum_of_its_rows() {
        for &shape in MODEL_SHAPES {
            let t = tuned("llama-all-linear", device(shape).await).await;
            let (many, seq_len) = (9, 24);
            let row = |i: usize| Row {
                ids: ids(seq_len + 1, 96, i),
                labels: (0..seq_len).map(|t| t % (i + 2) > 0).collect(),
                tokens: seq_len,
            };
            let rows: Vec<Row> = (0..many).map(row).collect();
            let mut losses = Vec::new();
            let mut gradients = Vec::new();
            for batch in [many, 1] {
                let mut evaluator = run::evaluator(&t.model, batch, seq_len).await.expect("a plan");
                let mut trainer = t.trainer(batch, seq_len).await;
                let (mut sum, mut labels, mut gradient) = (0.0, 0, vec![0.0f64; t.adapter.length]);
                for rows in rows.chunks(batch) {
                    let micro = MicroBatch::assemble(&rows.iter().collect::<Vec<_>>(), batch, seq_len);
                    let ticket = evaluator.submit(&micro, 1.0, 1).expect("an evaluation");
                    let (loss, labelled) = evaluator.result(ticket).await.expect("a loss");
                    assert_eq!(labelled, micro.labelled);
                    (sum, labels) = (sum + loss, labels + labelled);
                    // The gradient is that of the mean over the micro-batch's labels.
                    let of_rows = trainer.gradient(&micro).await.expect("a gradient");
                    gradient.iter_mut().zip(of_rows).for_each(|(sum, g)| *sum += f64::from(g) * f64::from(labelled));
                }
                losses.push((sum, labels));
                gradients.push(gradient.iter().map(|g| g / f64::from(labels)).collect::<Vec<f64>>());
            }
            assert_eq!(losses[0].1, losses[1].1);
            assert!((losses[0].0 / losses[1].0 - 1.0).abs() < 1e-6, "{shape:?}: {losses:?}");
            // Training and evaluation have separate plans.
            let all = MicroBatch::assemble(&rows.iter().collect::<Vec<_>>(), many, seq_len);
            let trained =
                step(&mut t.trainer(many, seq_len).await, &[all], StepSettings { learning_rate: 0.0, ..STEP }).await;
            assert_eq!(trained.labels, losses[1].1);
            assert!(
                (trained.loss * f64::from(trained.labels) / losses[1].0 - 1.0).abs() < 1e-6,
                "{shape:?}: {trained:?}"
            );
            for batch in [1, 2, many, 20] {
                let mut evaluator = run::evaluator(&t.model, batch, seq_len).await.expect("a plan");
                let mean = run::evaluate(&mut evaluator, &rows, 1.0, &Control::default()).await.expect("a loss");
                let Measured { loss, labels } = mean.expect("a loss");
                let mean = loss.expect("a loss");
                assert_eq!(labels, losses[1].1);
                assert!(
                    (mean * f64::from(labels) / losses[1].0 - 1.0).abs() < 1e-6,
                    "{shape:?}: in batches of {batch} {mean}"
                );
            }
            let nothing = [Row { ids: ids(seq_len + 1, 96, 1), labels: vec![false; seq_len], tokens: seq_len }];
            let mut evaluator = run::evaluator(&t.model, 2, seq_len).await.expect("a plan");
            let none = run::evaluate(&mut evaluator, &nothing, 1.0, &Control::default()).await.expect("a loss");
            assert_eq!(none, Some(Measured { loss: None, labels: 0 }), "rows without labels have no loss");
            let whole: Vec<f32> = gradients[0].iter().map(|g| *g as f32).collect();
            close64("gradient", &whole, &gradients[1], 1e-5);
        }
    }

    async fn submitting_a_step_in_pieces_changes_nothing() {
        for &shape in MODEL_SHAPES {
            let device = device(shape).await;
            let facts = case("llama-all-linear").facts();
            let mut outcomes = Vec::new();
            for pieces in [1, 2, 3, 5, 1000] {
                let t = tuned("llama-all-linear", device.clone()).await;
                let mut trainer = t.trainer(facts.batch, facts.seq_len).await;
                let mut results = Vec::new();
                for _ in 0..2 {
                    let ticket = trainer.submit(&[facts.micro(), facts.micro()], STEP, pieces).expect("a step");
                    results.push(trainer.result(ticket).await.expect("a result"));
                }
                outcomes.push((pieces, results, t.adapter.read(&t.device).await.expect("parameters")));
            }
            for (pieces, results, parameters) in &outcomes[1..] {
                assert_eq!(*results, outcomes[0].1, "{shape:?}: {pieces} pieces");
                same_bits(&format!("{pieces} pieces"), parameters, &outcomes[0].2);
            }
        }
    }

    async fn learning_rates_equal_their_reference() {
        use crate::reference::{Schedule as Expected, learning_rate};
        let schedules = [
            (Schedule::Linear, Expected::Linear),
            (Schedule::Cosine, Expected::Cosine),
            (Schedule::Constant, Expected::Constant),
        ];
        for (schedule, expected) in schedules {
            for (n, warmup) in [(1, 0.0), (7, 0.0), (10, 0.05), (150, 0.05), (20, 0.5)] {
                for s in 1..=n {
                    let (found, expected) =
                        (3e-3 * schedule.factor(s, n, warmup), learning_rate(expected, 3e-3, warmup, s, n));
                    assert!(
                        (found - expected).abs() < 1e-15,
                        "{schedule:?}, step {s} of {n}, warm-up {warmup}: {found} is not {expected}"
                    );
                }
            }
        }
    }

    async fn decoding_with_a_cache_equals_the_full_forward() {
        for &shape in MODEL_SHAPES {
            let device = device(shape).await;
            let config = Config { context: 96, ..Config::parse(CONFIG.as_bytes()).expect("a config") };
            let base = Transformer::load(
                &device,
                config,
                &Source::memory("model", MODEL.to_vec()),
                Storage::default(),
                &mut |_, _| {},
            )
            .await
            .expect("a model");
            let (adapter, flat) = case("llama-all-linear").files().load(&device, &base.config).expect("an adapter");
            adapter.write(&device, &flat);
            decoding_equals_forward(&adapter.attach(&base), &[0, 1, 31, 32, 63, 64, 65, 95]).await;
        }
    }

    async fn what_is_made_again_changes_no_bit_in_any_family() {
        for &shape in MODEL_SHAPES {
            let device = device(shape).await;
            for name in FAMILIES {
                let (t, facts) = (tuned(name, device.clone()).await, case(name).facts());
                let mut gradients = Vec::new();
                for (lean, checkpointing) in AGAIN {
                    let plain = TrainerSettings::new(facts.batch, facts.seq_len);
                    let settings = TrainerSettings { lean, checkpointing, ..plain };
                    let draft = Trainer::record(&t.model, &t.adapter.params(), settings).expect("plans");
                    let mut trainer = draft.finish(&mut Progress::silent()).await.expect("plans");
                    gradients.push(trainer.gradient(&facts.micro()).await.expect("a gradient"));
                }
                assert!(gradients[0].iter().any(|g| *g != 0.0), "{name}");
                gradients[1..].iter().for_each(|again| same_bits(name, again, &gradients[0]));
            }
        }
    }

    async fn decoding_in_every_family_equals_the_full_forward() {
        for &shape in MODEL_SHAPES {
            let device = device(shape).await;
            for name in FAMILIES {
                decoding_equals_forward(&tuned(name, device.clone()).await.model, &[0, 1, 8, 31, 32, 63]).await;
            }
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    async fn decoding_the_embedded_base_equals_the_full_forward() {
        let device = device(Shape::Direct).await;
        let config = Config::parse(include_bytes!("../../www/public/base/config.json")).expect("a config");
        let source =
            Source::memory("model.safetensors", include_bytes!("../../www/public/base/model.safetensors").to_vec());
        let base =
            Transformer::load(&device, config, &source, Storage::default(), &mut |_, _| {}).await.expect("a model");
        decoding_equals_forward(&base, &[1, 63, 64, 65, 255]).await;
    }

    async fn weights_in_slabs_give_the_same_logits_loss_and_gradient() {
        // 101 tokens, and widths that are not powers of two, so that the last slab of each matrix is a remainder; and
        // matrices that are transposed slab by slab.
        let names = ["llama-odd-rank-5", "gpt2-all-linear"];
        for (&shape, name) in MODEL_SHAPES.iter().flat_map(|shape| names.map(|name| (shape, name))) {
            let facts = case(name).facts();
            let mut outcomes = Vec::new();
            for max_binding in [None, Some(5000)] {
                let device = Device::new(DeviceOptions { shape: Some(shape), max_binding, ..DeviceOptions::default() })
                    .await
                    .expect("an adapter");
                let t = tuned(name, device).await;
                assert_eq!(t.base.head().slabs.len() > 2, max_binding.is_some());
                let gradient = t.trainer(2, facts.seq_len).await.gradient(&facts.micro()).await.expect("a gradient");
                let logits = logits(&t.model, &facts.micro().tokens, 2, 1.0).await;
                outcomes.push((logits, loss(&t.model, &facts.micro()).await.0, gradient));
            }
            close(&format!("logits, {name}"), &outcomes[1].0, &outcomes[0].0, 1e-6);
            assert!(
                (outcomes[1].1 / outcomes[0].1 - 1.0).abs() < 1e-6,
                "{name}: loss {} is not {}",
                outcomes[1].1,
                outcomes[0].1
            );
            close(&format!("gradient, {name}"), &outcomes[1].2, &outcomes[0].2, 1e-5);
        }
    }

    async fn weights_in_f16_give_the_results_of_their_rounded_numbers() {
        for &shape in MODEL_SHAPES {
            let device = device(shape).await;
            let case = case("llama-all-linear");
            let config = Config::parse(case.config).expect("a config");
            let load = async |bytes: Vec<u8>, storage| {
                let source = Source::memory("model.safetensors", bytes);
                Transformer::load(&device, config.clone(), &source, storage, &mut |_, _| {}).await.expect("a model")
            };
            let models =
                [load(case.model.to_vec(), Storage::F16).await, load(rounded_to_f16(case.model), Storage::F32).await];
            assert!(models[0].weight_bytes() < models[1].weight_bytes() * 6 / 10);
            let facts = case.facts();
            let mut outcomes = Vec::new();
            for base in models {
                let (adapter, flat) = case.files().load(&device, &config).expect("an adapter");
                adapter.write(&device, &flat);
                let model = adapter.attach(&base);
                let t = Tuned { device: device.clone(), base, model, adapter, flat };
                let gradient = t.trainer(2, facts.seq_len).await.gradient(&facts.micro()).await.expect("a gradient");
                outcomes.push((
                    logits(&t.model, &facts.micro().tokens, 2, 1.0).await,
                    loss(&t.model, &facts.micro()).await,
                    gradient,
                ));
            }
            same_bits("logits", &outcomes[0].0, &outcomes[1].0);
            assert_eq!(outcomes[0].1, outcomes[1].1);
            same_bits("gradient", &outcomes[0].2, &outcomes[1].2);
        }
    }

    async fn greedy_generation_takes_the_likeliest_token_of_the_full_forward() {
        for &shape in MODEL_SHAPES {
            let device = device(shape).await;
            let base = tiny_base(&device).await;
            let generator = Generator::new(&base.model).await.expect("plans");
            let sampling = Sampling { max_tokens: 12, temperature: 0.0, top_k: 40, top_p: 1.0, seed: 0, strength: 1.0 };
            let prompt = "Boats left on the tide, a long row of them";
            let generated =
                generator.generate(&base.tokenizer, prompt, &sampling, &mut |_| {}, &|| true).await.expect("text");
            assert_eq!((generated.tokens, generated.reason), (12, Reason::Length));
            let mut sequence = base.tokenizer.encode(prompt, true).expect("ids");
            let prompt_tokens = sequence.len();
            for _ in 0..12 {
                let all = logits(&base.model, &sequence, 1, 1.0).await;
                let last = &all[all.len() - 96..];
                sequence.extend((0..96).max_by(|&a: &u32, &b: &u32| last[a as usize].total_cmp(&last[b as usize])));
            }
            assert_eq!(generated.text, base.tokenizer.decode(&sequence[prompt_tokens..]).expect("text"));
        }
    }

    async fn an_adapter_exported_and_imported_is_the_same() {
        let device = device(Shape::Direct).await;
        for name in ["llama-all-linear", "llama-wide-head-rank-3", "llama-odd-rank-5", "llama-alpha-12"] {
            let t = tuned(name, device.clone()).await;
            let files = AdapterFiles::new(&t.adapter, &t.flat, &origin("base"));
            let (again, flat) = files.load(&t.device, &t.base.config).expect("an adapter");
            assert_eq!(again.spec, t.adapter.spec);
            same_bits(name, &flat, &t.flat);
            again.write(&t.device, &flat);
            let probe = ids(20, 96, 5);
            let expected = logits(&t.model, &probe, 1, 1.0).await;
            same_bits(name, &logits(&again.attach(&t.base), &probe, 1, 1.0).await, &expected);
        }
    }

    async fn the_check_of_an_export_sees_a_broken_name_and_a_changed_byte() {
        let t = tuned("llama-all-linear", device(Shape::Direct).await).await;
        let files = AdapterFiles::new(&t.adapter, &t.flat, &origin("base"));
        let probe = ids(20, 96, 6);
        let draft = ExportCheck::record(&t.base, &t.adapter, &probe).expect("plans");
        let check = draft.finish(&mut Progress::silent()).await.expect("plans");
        assert_eq!(check.run(&t.device, &t.flat, &files).await, Ok(()));

        let at = files.weights.windows(8).position(|part| part == b"layers.1").expect("a name");
        let mut weights = files.weights.clone();
        weights[at + 7] = b'7';
        let broken = check.run(&t.device, &t.flat, &AdapterFiles { weights, ..files.clone() }).await;
        assert!(matches!(&broken, Err(Error::AdapterMismatch { reason }) if reason.contains("layers.7")), "{broken:?}");

        // The last number belongs to a B; this byte holds most of its exponent.
        let mut weights = files.weights.clone();
        *weights.last_mut().expect("bytes") ^= 1;
        let changed = check.run(&t.device, &t.flat, &AdapterFiles { weights, ..files.clone() }).await;
        assert!(matches!(changed, Err(Error::ExportCheck { .. })), "{changed:?}");
    }

    async fn a_gradient_that_is_not_finite_stops_every_update_for_good() {
        for &shape in MODEL_SHAPES {
            let device = device(shape).await;
            for poison in [f32::NAN, f32::INFINITY, -f32::INFINITY] {
                let facts = case("llama-default").facts();
                let t = tuned("llama-default", device.clone()).await;
                let mut trainer = t.trainer(2, facts.seq_len).await;
                let micros = [facts.micro()];
                assert!(step(&mut trainer, &micros, STEP).await.finite);
                let before = t.adapter.read(&t.device).await.expect("parameters");
                assert_ne!(before, t.flat, "a finite step changes the adapter");
                t.device.write(&trainer.buffers().g.0[0].buffer(), 16, &poison.to_le_bytes());
                // The second step is submitted before the first is known to be broken.
                let tickets = [0, 1].map(|_| trainer.submit(&micros, STEP, 1).expect("a step"));
                for ticket in tickets {
                    assert!(!trainer.result(ticket).await.expect("a result").finite, "{shape:?}: {poison}");
                }
                assert!(!step(&mut trainer, &micros, STEP).await.finite);
                same_bits("parameters", &t.adapter.read(&t.device).await.expect("parameters"), &before);
            }
        }
    }
}
