//! The laws on models, adapters and batches of random shapes: some compare with the f64 reference, others demand
//! equality bit for bit.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde_json::json;
use tabtune::adapter::{Adapter, AdapterFiles};
use tabtune::device::{Device, DeviceOptions, Shape};
use tabtune::files::Source;
use tabtune::files::safetensors::write;
use tabtune::model::{Config, Storage, Transformer};
use tabtune::plan::Progress;
use tabtune::random::SplitMix64;
use tabtune::text::MicroBatch;
use tabtune::text::rows::Row;
use tabtune::train::{StepResult, StepSettings, Trainer, TrainerSettings};

use crate::check::{MODEL_SHAPES, close, close64, device, origin};
use crate::laws::{AGAIN, logits, same_bits};
use crate::reference::Lora;
use crate::reference::llama::{self, Batch, Llama, TARGETS, module_name};

/// Each model needs its own pipelines, which takes most of the time, so each runs in only one kernel shape.
const MODELS: u64 = if cfg!(target_arch = "wasm32") { 2 } else { 6 };

fn shape_of(seed: u64) -> Shape {
    MODEL_SHAPES[seed as usize % MODEL_SHAPES.len()]
}

struct Random(SplitMix64);

impl Random {
    /// An integer from `least` to `most`.
    fn between(&mut self, least: usize, most: usize) -> usize {
        least + (self.0.next_u64() % (most - least + 1) as u64) as usize
    }

    /// Uniform numbers in ±`size`, rounded to f32.
    fn numbers(&mut self, n: usize, size: f64) -> Vec<f32> {
        (0..n).map(|_| ((2.0 * self.0.unit() - 1.0) * size) as f32).collect()
    }
}

/// One model twice: as files for the engine, and as the reference.
struct Twin {
    config: Config,
    checkpoint: Vec<u8>,
    adapter: AdapterFiles,
    reference: Llama,
    batch: Batch,
    rows: Vec<Row>,
}

fn twin(seed: u64) -> Twin {
    let mut random = Random(SplitMix64(seed));
    let kv = random.between(1, 2);
    let shape = llama::Config {
        v: random.between(5, 90),
        c: 4 * random.between(2, 18),
        l: random.between(1, 3),
        h: kv * random.between(1, 3),
        kv,
        d: 4 * random.between(1, 17),
        f: 4 * random.between(1, 20),
        eps: 1e-5,
        theta: 500.0,
        tied: random.between(0, 1) == 0,
        window: random.between(1, 30),
    };
    let mut tensors = Vec::new();
    for (name, size) in shape.shapes() {
        // Gains are near one, and matrices are small enough that no layer explodes.
        let values = match size[..] {
            [n] => random.numbers(n, 0.5).into_iter().map(|x| 1.0 + x).collect(),
            _ => random.numbers(size.iter().product(), (3.0 / size[1] as f64).sqrt()),
        };
        tensors.push((name, size, values));
    }
    let (adapter, adapters) = random_adapter(&shape, &mut random);
    let (b, t) = (random.between(1, 3), random.between(1, 21));
    let (batch, rows) = random_batch(shape.v, b, t, &mut random);
    let weights = tensors
        .iter()
        .map(|(name, _, values)| (name.clone(), values.iter().map(|&x| f64::from(x)).collect()))
        .collect();
    let config = json!({
        "model_type": "mistral",
        "sliding_window": shape.window,
        "vocab_size": shape.v,
        "hidden_size": shape.c,
        "intermediate_size": shape.f,
        "num_hidden_layers": shape.l,
        "num_attention_heads": shape.h,
        "num_key_value_heads": shape.kv,
        "head_dim": shape.d,
        "rms_norm_eps": shape.eps,
        "rope_theta": shape.theta,
        "max_position_embeddings": 32,
        "tie_word_embeddings": shape.tied,
    });
    let tensors: Vec<_> =
        tensors.iter().map(|(name, size, values)| (name.clone(), size.clone(), values.as_slice())).collect();
    Twin {
        config: Config::parse(config.to_string().as_bytes()).expect("a config"),
        checkpoint: write(&tensors, &[]),
        adapter,
        reference: Llama { config: shape, weights, adapters },
        batch,
        rows,
    }
}

/// An adapter with one rank and one alpha on a random choice of at least one linear.
fn random_adapter(shape: &llama::Config, random: &mut Random) -> (AdapterFiles, BTreeMap<llama::Site, Lora>) {
    let all: Vec<llama::Site> = (0..shape.l).flat_map(|layer| TARGETS.map(|target| (layer, target))).collect();
    let mut sites: Vec<llama::Site> = all.iter().copied().filter(|_| random.between(0, 2) > 0).collect();
    if sites.is_empty() {
        sites.push(all[all.len() - 1]);
    }
    let smallest =
        TARGETS.map(|target| shape.linear(target)).iter().map(|(rows, cols)| *rows.min(cols)).min().unwrap_or(1);
    let (rank, alpha) = (random.between(1, smallest.min(9)), random.between(1, 40) as f64 / 4.0);
    let (mut tensors, mut adapters) = (Vec::new(), BTreeMap::new());
    for &site in &sites {
        let (n_out, n_in) = shape.linear(site.1);
        let (a, b) = (random.numbers(rank * n_in, (3.0 / n_in as f64).sqrt()), random.numbers(n_out * rank, 0.3));
        let wide = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect();
        // The engine keeps the scale in f32.
        adapters.insert(site, Lora { a: wide(&a), b: wide(&b), scale: f64::from((alpha / rank as f64) as f32), rank });
        let name = |which| format!("base_model.model.{}.lora_{which}.weight", module_name(site));
        tensors.push((name("A"), vec![rank, n_in], a));
        tensors.push((name("B"), vec![n_out, rank], b));
    }
    let modules: Vec<String> = sites.into_iter().map(module_name).collect();
    let config = json!({ "peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": modules });
    let tensors: Vec<_> =
        tensors.iter().map(|(name, size, values)| (name.clone(), size.clone(), values.as_slice())).collect();
    (AdapterFiles { config: config.to_string(), weights: write(&tensors, &[]) }, adapters)
}

/// B rows of T tokens. About a third of the labels are masked, but never all of them.
fn random_batch(v: usize, b: usize, t: usize, random: &mut Random) -> (Batch, Vec<Row>) {
    let mut batch = Batch { b, t, ids: Vec::new(), labels: Vec::new() };
    let mut rows = Vec::new();
    for row in 0..b {
        let ids: Vec<u32> = (0..=t).map(|_| random.between(0, v - 1) as u32).collect();
        let labels: Vec<bool> = (0..t).map(|at| (row == 0 && at == t - 1) || random.between(0, 2) > 0).collect();
        batch.ids.extend(&ids[..t]);
        batch.labels.extend((0..t).map(|at| labels[at].then_some(ids[at + 1] as usize)));
        rows.push(Row { ids, labels, tokens: t });
    }
    (batch, rows)
}

/// The row with padding up to `seq_len` inputs.
fn lengthened(row: &Row, seq_len: usize) -> Row {
    let mut longer = Row { tokens: row.ids.len().min(seq_len), ..row.clone() };
    longer.ids.resize(seq_len + 1, 0);
    longer.labels.resize(seq_len, false);
    longer
}

struct Engine {
    base: Transformer,
    adapter: Adapter,
    model: Transformer,
}

async fn engine(device: &Rc<Device>, twin: &Twin) -> Engine {
    let source = Source::memory("model.safetensors", twin.checkpoint.clone());
    let base =
        Transformer::load(device, twin.config.clone(), &source, Storage::F32, &mut |_, _| {}).await.expect("a model");
    let (adapter, flat) = twin.adapter.load(device, &twin.config).expect("an adapter");
    adapter.write(device, &flat);
    let model = adapter.attach(&base);
    Engine { base, adapter, model }
}

/// A trainer of the model with its adapter, and the micro-batch of all rows.
struct Training {
    device: Rc<Device>,
    engine: Engine,
    trainer: Trainer,
    micro: MicroBatch,
}

impl Training {
    /// With dropout.
    async fn new(device: &Rc<Device>, twin: &Twin, (lean, checkpointing): (bool, bool)) -> Training {
        let Batch { b, t, .. } = twin.batch;
        let engine = engine(device, twin).await;
        let settings = TrainerSettings { dropout: true, lean, checkpointing, ..TrainerSettings::new(b, t) };
        let draft = Trainer::record(&engine.model, &engine.adapter.params(), settings).expect("plans");
        let trainer = draft.finish(&mut Progress::silent()).await.expect("plans");
        let micro = MicroBatch::assemble(&twin.rows.iter().collect::<Vec<_>>(), b, t);
        Training { device: device.clone(), engine, trainer, micro }
    }

    async fn step(&mut self, micros: &[MicroBatch], clip: f64, dropout: f64) -> StepResult {
        let settings = StepSettings { learning_rate: 1e-2, weight_decay: 0.01, clip, dropout, seed: 5 };
        let ticket = self.trainer.submit(micros, settings, 1).expect("a step");
        self.trainer.result(ticket).await.expect("a result")
    }

    /// Takes `n` steps on all rows and returns their results.
    async fn steps(&mut self, n: usize) -> Vec<StepResult> {
        let (mut results, micros) = (Vec::new(), [self.micro.clone()]);
        for _ in 0..n {
            results.push(self.step(&micros, 1.0, 0.25).await);
        }
        results
    }

    /// Parameters and both moments: all the numbers of a run state.
    async fn save(&self) -> [Vec<f32>; 3] {
        let buffers = self.trainer.buffers();
        let [p, m, v] = [&buffers.p, &buffers.m, &buffers.v].map(|tensor| tensor.download(&self.device));
        [p.await.expect("parameters"), m.await.expect("moments"), v.await.expect("moments")]
    }

    fn load(&mut self, step: u32, [p, m, v]: &[Vec<f32>; 3]) {
        self.engine.adapter.write(&self.device, p);
        self.trainer.restore(step, m, v);
    }
}

/// The same rows with other tokens wherever nothing may see them: at positions that carry no loss, and after the last
/// label of each row.
fn unseen_changed(micro: &MicroBatch, v: u32) -> MicroBatch {
    let mut other = micro.clone();
    let labelled = |place: usize| micro.slot_of_row[place] != MicroBatch::NO_SLOT;
    for place in 0..micro.tokens.len() {
        if !labelled(place) {
            other.labels[place] = (micro.labels[place] + 1) % v;
        }
        let row_end = (place / micro.seq_len + 1) * micro.seq_len;
        if !(place..row_end).any(labelled) {
            other.tokens[place] = (micro.tokens[place] + 1) % v;
        }
    }
    other
}

crate::device_tests! {
    async fn random_models_train_by_the_laws() {
        for seed in 0..MODELS {
            let twin = twin(200 + seed);
            let (device, v) = (device(shape_of(seed)).await, twin.config.vocabulary as u32);
            let mut training = Training::new(&device, &twin, AGAIN[0]).await;
            let what = format!(
                "{:?}, model {seed}, {:?}, {} x {}",
                device.shape, twin.reference.config, twin.batch.b, twin.batch.t
            );

            // Four steps in a row must equal two steps, saving, one more step, loading, and two steps.
            let start = training.save().await;
            let whole = training.steps(4).await;
            let trained = training.save().await;
            assert_ne!(trained, start, "steps change the adapter, {what}");
            training.load(0, &start);
            let first = training.steps(2).await;
            let saved = training.save().await;
            training.steps(1).await;
            training.load(2, &saved);
            let last = training.steps(2).await;
            assert_eq!([first, last].concat(), whole, "{what}");
            for (which, (found, expected)) in training.save().await.iter().zip(&trained).enumerate() {
                same_bits(&format!("numbers {which} of a run state, {what}"), found, expected);
            }

            training.load(0, &start);
            let micro = training.micro.clone();
            let gradient = training.trainer.gradient(&micro).await.expect("a gradient");
            let unseen = unseen_changed(&micro, v);
            let again = training.trainer.gradient(&unseen).await.expect("a gradient");
            same_bits(&format!("the gradient with other padding and prompts, {what}"), &again, &gradient);

            // One row at a time must equal all rows at once. After the first step without clipping, the first moment is
            // a tenth of the gradient.
            let one_by_one: Vec<_> =
                twin.rows.iter().map(|row| MicroBatch::assemble(&[row], twin.batch.b, twin.batch.t)).collect();
            let sum = training.step(&one_by_one, 0.0, 0.0).await;
            let [_, parts, _] = training.save().await;
            training.load(0, &start);
            let one = training.step(&[micro], 0.0, 0.0).await;
            let [_, whole, _] = training.save().await;
            assert_eq!(sum.labels, one.labels);
            assert!((sum.loss / one.loss - 1.0).abs() < 1e-6, "{} and {}, {what}", sum.loss, one.loss);
            close(&format!("the accumulated gradient, {what}"), &parts, &whole, 2e-5);

            // Rows that share one learn as each on its own.
            training.load(0, &start);
            let (engine, long) = (&training.engine, twin.batch.b * twin.batch.t + 1);
            let draft = Trainer::record(&engine.model, &engine.adapter.params(), TrainerSettings::new(1, long));
            let mut trainer = draft.expect("plans").finish(&mut Progress::silent()).await.expect("plans");
            let longer: Vec<Row> = twin.rows.iter().map(|row| lengthened(row, long)).collect();
            let shared = MicroBatch::packed(&[&longer.iter().collect::<Vec<_>>()], 1, long);
            let found = trainer.gradient(&shared).await.expect("a gradient");
            close(&format!("the gradient of rows that share one, {what}"), &found, &gradient, 2e-5);

            let files = AdapterFiles::new(&training.engine.adapter, &start[0], &origin("base"));
            let (adapter, flat) = files.load(&device, &twin.config).expect("an adapter");
            assert_eq!(adapter.spec, training.engine.adapter.spec);
            same_bits(&format!("an adapter that was saved, {what}"), &flat, &start[0]);
        }
    }

    async fn what_is_made_again_changes_no_bit() {
        for seed in 0..MODELS {
            let twin = twin(300 + seed);
            let device = device(shape_of(seed)).await;
            let what = format!("{:?}, model {seed}, {:?}", device.shape, twin.reference.config);
            let mut outcomes = Vec::new();
            for again in AGAIN {
                let mut training = Training::new(&device, &twin, again).await;
                let gradient = training.trainer.gradient(&training.micro).await.expect("a gradient");
                let micros = [training.micro.clone(), unseen_changed(&training.micro, twin.config.vocabulary as u32)];
                let mut results = Vec::new();
                for _ in 0..5 {
                    results.push(training.step(&micros, 1.0, 0.25).await);
                }
                outcomes.push((gradient, results, training.save().await, training.trainer.micro_plan().dispatches()));
            }
            let [(gradient, results, saved, fewer), made_again @ ..] = &outcomes[..] else {
                unreachable!("an outcome of each combination")
            };
            assert!(gradient.iter().any(|g| *g != 0.0), "there is a gradient, {what}");
            for (again, as_well, saved_too, more) in made_again {
                assert!(more > fewer, "something is recorded again, {what}");
                same_bits(&format!("the gradient, {what}"), again, gradient);
                assert_eq!(as_well, results, "{what}");
                for (which, (found, expected)) in saved_too.iter().zip(saved).enumerate() {
                    same_bits(&format!("numbers {which} of a run state, {what}"), found, expected);
                }
            }
        }
    }

    /// A grid with more work groups than a dimension holds spills into the next one.
    async fn work_groups_in_two_dimensions_change_no_bit() {
        let is_large = |twin: &Twin| {
            let llama::Config { c, f, .. } = twin.reference.config;
            twin.batch.b * twin.batch.t > 48 && c > 60 && f > 60
        };
        let shapes = [Shape::Direct, Shape::Tiled];
        for shape in shapes.into_iter().take(if cfg!(target_arch = "wasm32") { 1 } else { 2 }) {
            let twin = (400..).map(twin).find(is_large).expect("a large model");
            let mut outcomes = Vec::new();
            for max_groups in [None, Some(12)] {
                let options = DeviceOptions { shape: Some(shape), max_groups, ..DeviceOptions::default() };
                let device = Device::new(options).await.expect("a device");
                let mut training = Training::new(&device, &twin, AGAIN[0]).await;
                let listing = training.trainer.micro_plan().to_string();
                let results = training.steps(3).await;
                outcomes.push((results, training.save().await, listing));
            }
            let [(results, saved, plain), (again, saved_too, spilt)] = &outcomes[..] else {
                unreachable!("two outcomes")
            };
            let kernel = |line: &str| line.split(' ').next().unwrap_or_default().to_string();
            let differ = plain.lines().zip(spilt.lines()).filter(|(a, b)| a != b);
            let kernels: BTreeSet<String> = differ.map(|(line, _)| kernel(line)).collect();
            assert!(kernels.len() > 6, "these grids spill, {shape:?}: {kernels:?}");
            assert_eq!(again, results, "{shape:?}");
            for (which, (found, expected)) in saved_too.iter().zip(saved).enumerate() {
                same_bits(&format!("numbers {which} of a run state, {shape:?}"), found, expected);
            }
        }
    }

    async fn random_models_compute_what_the_reference_does() {
        for seed in 0..MODELS {
            let twin = twin(seed);
            let Batch { b, t, .. } = twin.batch;
            let what = format!("model {seed}, {:?}, {b} x {t}", twin.reference.config);
            let shape = shape_of(seed);
            let device = device(shape).await;
            let engine = engine(&device, &twin).await;
            let pass = twin.reference.forward(&twin.batch);
            close64(
                &format!("logits of {what}"),
                &logits(&engine.model, &twin.batch.ids, b, 1.0).await,
                &pass.logits,
                2e-5,
            );

            let micro = MicroBatch::assemble(&twin.rows.iter().collect::<Vec<_>>(), b, t);
            assert_eq!(micro.labelled as usize, pass.labels);
            let draft =
                Trainer::record(&engine.model, &engine.adapter.params(), TrainerSettings::new(b, t)).expect("plans");
            let mut trainer = draft.finish(&mut Progress::silent()).await.expect("plans");
            let gradient = trainer.gradient(&micro).await.expect("a gradient");
            let expected = twin.reference.backward(&pass, &twin.batch, 1.0 / pass.labels as f64);
            let found = engine.adapter.matrices(&gradient);
            assert_eq!(found.len(), expected.len());
            for (site, (da, db)) in &expected {
                let module = module_name(*site);
                let (_, a, b) = found.iter().find(|(name, ..)| *name == module).expect("a gradient of every site");
                close64(&format!("dA of {module}, {what}"), &a.values, da, 1e-4);
                close64(&format!("dB of {module}, {what}"), &b.values, db, 1e-4);
            }
        }
    }

    async fn random_models_keep_the_laws_bit_for_bit() {
        for seed in 0..MODELS {
            let twin = twin(100 + seed);
            let Batch { b, t, .. } = twin.batch;
            let v = twin.config.vocabulary;
            let shape = shape_of(seed);
            let device = device(shape).await;
            let Engine { base, adapter, model } = engine(&device, &twin).await;
            let what = format!("{shape:?}, model {seed}, {:?}, {b} x {t}", twin.reference.config);
            let ids = &twin.batch.ids;
            let tuned = logits(&model, ids, b, 1.0).await;
            let plain = logits(&base, ids, b, 1.0).await;
            same_bits(&format!("strength 0 is the base, {what}"), &logits(&model, ids, b, 0.0).await, &plain);

            // The last token of the first sequence changes nothing before it, and nothing in the other sequences.
            let mut other = ids.clone();
            other[t - 1] = (other[t - 1] + 1) % v as u32;
            let changed = logits(&model, &other, b, 1.0).await;
            same_bits(&format!("earlier logits, {what}"), &changed[..(t - 1) * v], &tuned[..(t - 1) * v]);
            same_bits(&format!("other sequences, {what}"), &changed[t * v..], &tuned[t * v..]);

            let merged = adapter.merge(&base).await.expect("a merged model");
            let expected: Vec<f64> = tuned.iter().map(|&x| f64::from(x)).collect();
            close64(&format!("merged is unmerged, {what}"), &logits(&merged, ids, b, 1.0).await, &expected, 2e-5);
            same_bits(&format!("unmerged is the base, {what}"), &logits(&base, ids, b, 1.0).await, &plain);

            // An adapter with B = 0 is the base.
            let mut flat = adapter.read(&device).await.expect("parameters");
            let positions: Vec<f32> = (0..flat.len()).map(|i| i as f32).collect();
            for place in adapter.matrices(&positions).iter().flat_map(|(_, _, b)| &b.values) {
                flat[*place as usize] = 0.0;
            }
            adapter.write(&device, &flat);
            same_bits(&format!("B = 0 is the base, {what}"), &logits(&model, ids, b, 1.0).await, &plain);
        }
    }
}
