//! The memory of a run, foretold without its weights and counted while it runs.

use std::collections::HashMap;

use tabtune::device::{Choice, Device, DeviceOptions, Format, Shape, Usage};
use tabtune::error::Error;
use tabtune::files::Source;
use tabtune::files::safetensors::Dtype;
use tabtune::model::{Checkpoint, Config, Storage, Transformer};
use tabtune::run::{Event, Foreseen, Method, Room, Settings, Storing, Unloaded};

use crate::check::{SHAPES, device};
use crate::golden::Case;
use crate::laws::{AGAIN, case};
use crate::tiny::{base_of, whole_run};

/// SmolLM2-135M's shape.
const SMOLLM2: &[u8] = br#"{ "model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536,
    "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "max_position_embeddings": 8192,
    "tie_word_embeddings": true, "rope_theta": 100000.0 }"#;

/// A short run that does everything that runs do.
fn settings_for(config: &Config) -> Settings {
    Settings {
        seq_len: 16,
        batch: 2,
        rank: 4,
        steps: 2,
        eval_every: 1,
        sample_every: 2,
        max_tokens: 3,
        prompt: "The tide".to_string(),
        ..Settings::defaults(config, true)
    }
}

/// Compares what is foretold for a run with the peak that the ledger of its device counts, and returns both.
async fn check(case: &Case, shape: Shape, storage: Storage, change: impl Fn(&mut Settings)) -> [u64; 2] {
    check_model(case.config, case.model, shape, storage, change).await
}

async fn check_model(
    config: &[u8],
    model: &[u8],
    shape: Shape,
    storage: Storage,
    change: impl Fn(&mut Settings),
) -> [u64; 2] {
    let device = device(shape).await;
    let parsed = Config::parse(config).expect("a config");
    let unloaded = Unloaded::new(&device, &parsed, &|spec| storage.format(spec, Dtype::F32)).expect("a model");
    let mut settings = settings_for(&parsed);
    change(&mut settings);
    let foretold = unloaded.memory(&settings).await.expect("the memory of a run");
    assert_eq!([device.buffer_count(), device.peak_bytes() as usize], [0; 2], "the device is not touched");
    let base = base_of(&device, config, model, storage).await;
    whole_run(&base, &settings, None).await;
    let (total, taken) = (foretold.total(), device.peak_bytes());
    let family = parsed.family.model_type;
    let ratio = total as f64 / taken as f64;
    assert!((ratio - 1.0).abs() <= 0.05, "{family} {shape:?} {settings:?}: {foretold:?}, taken {taken}");
    assert_eq!(foretold.weights, base.model.weight_bytes());
    [total, taken]
}

crate::device_tests! {
    async fn the_memory_of_a_run_is_known_before_its_weights_are_loaded() {
        let llamas = ["llama-default", "llama-tied-all-linear", "llama-biases", "llama-wide-head-rank-3"];
        for name in llamas.into_iter().chain([
            "mistral",
            "qwen2",
            "qwen3",
            "smollm3",
            "gpt2-all-linear",
            "gemma3-wide-head",
            "phi3-fused",
        ]) {
            for storage in [Storage::F32, Storage::F16, Storage::Int8, Storage::Int4] {
                for (lean, checkpointing) in AGAIN {
                    let change =
                        |settings: &mut Settings| (settings.lean, settings.checkpointing) = (lean, checkpointing);
                    check(case(name), Shape::Cpu, storage, change).await;
                }
            }
            check(case(name), Shape::Cpu, Storage::F32, |settings| settings.method = Method::Full).await;
        }
        let llama = case("llama-default");
        for (lean, checkpointing) in AGAIN {
            let change = |settings: &mut Settings| (settings.lean, settings.checkpointing) = (lean, checkpointing);
            for storage in [Storage::F32, Storage::F16, Storage::Int4] {
                check(llama, Shape::Direct, storage, change).await;
            }
            let full = |settings: &mut Settings| {
                change(settings);
                settings.method = Method::Full;
            };
            check(llama, Shape::Cpu, Storage::F32, full).await;
        }
        check(llama, Shape::Cpu, Storage::F32, |settings| (settings.sample_every, settings.batch) = (0, 5)).await;
    }

    /// Prints what is foretold and what is counted for eight runs: `cargo test --test suite -- --ignored --nocapture
    /// foretold_and_counted`.
    #[ignore = "it prints a table, and some of the runs take minutes"]
    async fn memory_is_foretold_and_counted() {
        let config = Config::parse(SMOLLM2).expect("a config");
        let zeros = Transformer::zeros(&device(Shape::Cpu).await, config, &|_| Format::F16).expect("a model");
        let numbers = zeros.checkpoint(&HashMap::new()).await.expect("a checkpoint");
        let smollm2 = (SMOLLM2, &numbers[..]);
        let of = |name: &str| (case(name).config, case(name).model);
        for ((config, model), storage, batch, seq_len, (lean, checkpointing)) in [
            (smollm2, Storage::F16, 4, 512, (false, true)),
            (smollm2, Storage::Int4, 4, 512, (true, true)),
            (smollm2, Storage::F16, 1, 128, (false, false)),
            (smollm2, Storage::Int8, 1, 128, (true, false)),
            (of("qwen3"), Storage::F32, 2, 16, (false, false)),
            (of("gemma3-wide-head"), Storage::Int8, 2, 32, (true, false)),
            (of("gpt2-all-linear"), Storage::F16, 4, 32, (false, true)),
            (of("phi3-fused"), Storage::Int4, 4, 32, (true, true)),
        ] {
            let change = |settings: &mut Settings| {
                (settings.batch, settings.seq_len) = (batch, seq_len);
                (settings.lean, settings.checkpointing) = (lean, checkpointing);
                (settings.steps, settings.holdout) = (1, 0.0);
            };
            let [foretold, counted] = check_model(config, model, Shape::Cpu, storage, change).await;
            let family = Config::parse(config).expect("a config").family.model_type;
            println!(
                "{family} {} {batch} x {seq_len} lean {lean} checkpointing {checkpointing}: {foretold} {counted}",
                storage.name()
            );
        }
    }

    async fn every_part_of_the_memory_follows_its_settings() {
        let config = Config::parse(case("llama-default").config).expect("a config");
        let device = Device::dry(Shape::Cpu);
        let of = async |format: Format, change: &dyn Fn(&mut Settings)| {
            let mut settings = settings_for(&config);
            change(&mut settings);
            let unloaded = Unloaded::new(&device, &config, &|_| format).expect("a model");
            unloaded.memory(&settings).await.expect("the memory of a run")
        };
        let usual = of(Format::F32, &|_| {}).await;
        assert_eq!(usual.cache as usize, 2 * config.layers * config.context * config.heads.key * config.heads.size * 4);
        assert_eq!(usual.rope as usize, config.context * config.heads.size * 4);
        assert_eq!(of(Format::F32, &|settings| settings.sample_every = 0).await.cache, 0);
        assert!(of(Format::F16, &|_| {}).await.weights < usual.weights * 6 / 10);
        let wider = of(Format::F32, &|settings| settings.rank = 8).await;
        assert!(wider.adapter > usual.adapter * 19 / 10 && wider.weights == usual.weights, "{wider:?} {usual:?}");
        let lean = of(Format::F32, &|settings| settings.lean = true).await;
        let checkpointed = of(Format::F32, &|settings| settings.checkpointing = true).await;
        assert!(checkpointed.activations < lean.activations && lean.activations < usual.activations);
        assert_eq!([lean.logits, checkpointed.logits], [usual.logits; 2]);
        let longer = of(Format::F32, &|settings| settings.seq_len = 32).await;
        assert!(longer.activations > usual.activations * 19 / 10, "{longer:?} {usual:?}");
    }

    /// A device that has less memory than a run asks for: the run takes the same steps in smaller parts, and says so.
    async fn a_run_that_does_not_fit_takes_the_same_steps_in_smaller_parts() {
        let llama = case("llama-default");
        let settings = settings_for(&Config::parse(llama.config).expect("a config"));
        let losses = |events: &[Event]| -> Vec<f64> {
            let loss = |event: &Event| match event {
                Event::Step { loss, .. } => Some(*loss),
                _ => None,
            };
            events.iter().filter_map(loss).collect()
        };
        for (shape, others) in [(Shape::Cpu, false), (Shape::Direct, false), (Shape::Cpu, true)] {
            let roomy = base_of(&device(shape).await, llama.config, llama.model, Storage::F32).await;
            let (usual, _) = whole_run(&roomy, &settings, None).await;
            let peak = roomy.model.device.peak_bytes();
            let limit = if others { peak } else { peak * 19 / 20 };
            let options = DeviceOptions { shape: Some(shape), max_memory: Some(limit), ..DeviceOptions::default() };
            let device = Device::new(options).await.expect("a device");
            let base = base_of(&device, llama.config, llama.model, Storage::F32).await;
            // What somebody else holds is not there for the run.
            let _held = others.then(|| device.buffer("others", peak / 20, Usage::Storage).expect("a buffer"));
            let (events, _) = whole_run(&base, &settings, None).await;
            let less = |event: &Event| matches!(event, Event::Warning { code, .. } if code == "less_memory");
            assert!(events.iter().any(less) && !usual.iter().any(less), "{shape:?}: {events:?}");
            assert!(device.peak_bytes() <= limit, "{shape:?}");
            for (found, expected) in losses(&events).iter().zip(losses(&usual)) {
                assert!((found / expected - 1.0).abs() < 1e-5, "{shape:?}: {found} {expected}");
            }
        }
    }

    /// The chunks of the head are counted, and small again where a lean run must fit.
    async fn a_card_takes_large_chunks_of_the_head_where_there_is_room() {
        let config = Config::parse(SMOLLM2).expect("a config");
        for (shape, lean, rows) in [(Shape::Tiled, false, 512), (Shape::Tiled, true, 80), (Shape::Direct, false, 80)] {
            let unloaded = Unloaded::new(&Device::dry(shape), &config, &|_| Format::F16).expect("a model");
            let settings = Settings { seq_len: 512, batch: 4, lean, sample_every: 0, ..settings_for(&config) };
            let memory = unloaded.memory(&settings).await.expect("the memory of a run");
            assert_eq!(memory.logits, rows * 49_152 * 4, "{shape:?}, lean: {lean}");
            let run = Settings { lean: true, ..settings.clone() };
            let limit = unloaded.memory(&run).await.expect("the memory of a run").total();
            let fitted = unloaded.fit(&settings, Room::Bytes(limit)).await.expect("a run");
            assert!(fitted.settings.lean && !fitted.settings.checkpointing, "{shape:?}: {fitted:?}");
        }
    }

    /// Dropout draws for each micro-batch, so smaller ones would be other steps.
    async fn a_run_with_dropout_is_not_cut_into_smaller_micro_batches() {
        let config = Config::parse(case("llama-default").config).expect("a config");
        let unloaded = Unloaded::new(&Device::dry(Shape::Cpu), &config, &|_| Format::F32).expect("a model");
        let smaller = Settings { lean: true, checkpointing: true, batch: 1, accumulate: 2, ..settings_for(&config) };
        let limit = unloaded.memory(&smaller).await.expect("the memory of a run").total();
        let fitted = unloaded.fit(&settings_for(&config), Room::Bytes(limit)).await.expect("a run");
        assert_eq!((fitted.settings.batch, fitted.settings.accumulate), (1, 2));
        let refused = unloaded.fit(&Settings { dropout: 0.1, ..settings_for(&config) }, Room::Bytes(limit)).await;
        assert_eq!(refused.expect_err("the same steps need more").code(), "memory_limit");
    }

    async fn full_fine_tuning_that_does_not_fit_is_refused_with_what_an_adapter_needs() {
        let config = Config::parse(case("llama-default").config).expect("a config");
        let unloaded = Unloaded::new(&Device::dry(Shape::Cpu), &config, &|_| Format::F32).expect("a model");
        let needed = unloaded.memory(&settings_for(&config)).await.expect("the memory of a run").total();
        let full = Settings { method: Method::Full, ..settings_for(&config) };
        let Err(Error::MemoryLimit { advice, .. }) = unloaded.fit(&full, Room::Bytes(needed)).await else {
            panic!("it needs more")
        };
        assert!(advice.ends_with(&format!("with the method lora the run needs {needed}")), "{advice}");
    }

    async fn a_buffer_beyond_the_memory_is_refused_by_its_name() {
        for shape in SHAPES {
            let options = DeviceOptions { shape: Some(shape), max_memory: Some(1 << 20), ..DeviceOptions::default() };
            let device = Device::new(options).await.expect("a device");
            assert_eq!(device.room(1 << 30).await, 1 << 20);
            let half = device.buffer("half", 1 << 19, Usage::Storage).expect("a buffer");
            assert_eq!(device.room(1 << 30).await, 1 << 19);
            let refused = device.buffer("too much", (1 << 19) + 16, Usage::Storage).map(|_| ());
            let Err(Error::OutOfMemory { what }) = refused else { panic!("{refused:?}") };
            assert!(what.contains("too much"), "{what}");
            drop(half);
            assert_eq!((device.room(1 << 30).await, device.peak_bytes()), (1 << 20, 1 << 19));
        }
    }

    /// An activation of [64, 80] needs 20,480 bytes, which no binding holds: the run takes its rows in two parts.
    async fn an_activation_that_no_binding_holds_is_cut_by_rows() {
        let llama = case("llama-default");
        let options = DeviceOptions { max_activation: Some(12_000), choice: Choice::Cpu, ..DeviceOptions::default() };
        let device = Device::new(options).await.expect("a device");
        let base = base_of(&device, llama.config, llama.model, Storage::F32).await;
        let settings =
            Settings { batch: 4, rank: 1, targets: "q_proj".to_string(), ..settings_for(&base.model.config) };
        let (events, _) = whole_run(&base, &settings, None).await;
        let batches = events.iter().filter_map(|event| match event {
            Event::Config { settings, .. } => Some((settings.batch, settings.accumulate)),
            _ => None,
        });
        assert_eq!(batches.collect::<Vec<_>>(), [(2, 2)]);
        assert!(events.iter().any(|event| matches!(event, Event::Warning { code, .. } if code == "less_memory")));
    }

    /// Before its weights are read: as in the file if a usual run fits, in fewer bits if it does so then, for the
    /// shortest rows if none does, and not at all if even they do not fit.
    async fn a_model_is_stored_so_that_some_run_fits() {
        let llama = case("llama-default");
        let source = Source::memory("model.safetensors", llama.model.to_vec());
        let config = Config::parse(llama.config).expect("a config");
        let checkpoint = Checkpoint::open(config.clone(), &source).await.expect("a checkpoint");
        let with = |bytes: u64| DeviceOptions { max_memory: Some(bytes), choice: Choice::Cpu, ..Default::default() };
        let chosen = async |bytes: u64| {
            let device = Device::new(with(bytes)).await.expect("a device");
            let usual = Settings::defaults(&checkpoint.config, device.software);
            let foreseen = Foreseen::of(&device, &checkpoint, Storage::AsFile, &usual, 0).await?;
            assert!(foreseen.memory.total() <= bytes, "{foreseen:?}");
            Ok::<_, Error>(foreseen.storing)
        };
        let taken = async |storage: Storage, settings: &Settings| {
            let unloaded = Unloaded::of(&Device::dry(Shape::Cpu), &checkpoint, storage).expect("a model");
            unloaded.memory(settings).await.expect("the memory of a run").total()
        };
        let usual = Settings::defaults(&config, true);
        let smallest = Settings { lean: true, checkpointing: true, batch: 1, accumulate: usual.batch, ..usual.clone() };
        let shortest = Settings { seq_len: 16, ..smallest.clone() };
        let as_file = Storing { storage: Storage::AsFile, warning: None };
        assert_eq!(chosen(taken(Storage::AsFile, &usual).await).await, Ok(as_file));
        let fewer = chosen(taken(Storage::Int4, &smallest).await).await.expect("a storage");
        assert!(fewer.storage == Storage::Int4 && fewer.warning.is_some(), "{fewer:?}");
        let least = taken(Storage::Int4, &shortest).await;
        assert!(least < taken(Storage::Int4, &smallest).await);
        assert_eq!(chosen(least).await.expect("a storage").storage, Storage::Int4);
        assert_eq!(chosen(1000).await.expect_err("there is no room").code(), "memory_limit");
    }
}
