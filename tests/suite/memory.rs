//! The memory of a run, foretold without its weights and counted while it runs.

use tabtune::device::{Device, Format, Shape};
use tabtune::files::safetensors::Dtype;
use tabtune::model::{Config, Storage};
use tabtune::run::{Method, Settings, Unloaded};

use crate::check::device;
use crate::golden::Case;
use crate::laws::case;
use crate::tiny::{base_of, whole_run};

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

/// Compares what is foretold for a run with the peak that the ledger of its device counts.
async fn check(case: &Case, shape: Shape, storage: Storage, change: impl Fn(&mut Settings)) {
    let device = device(shape).await;
    let config = Config::parse(case.config).expect("a config");
    let unloaded = Unloaded::new(&device, &config, &|spec| storage.format(spec, Dtype::F32)).expect("a model");
    let mut settings = settings_for(&config);
    change(&mut settings);
    let foretold = unloaded.memory(&settings).await.expect("the memory of a run");
    assert_eq!([device.buffer_count(), device.peak_bytes() as usize], [0; 2], "the device is not touched");
    let base = base_of(&device, case.config, case.model, storage).await;
    whole_run(&base, &settings, None).await;
    let (total, taken) = (foretold.total() as f64, device.peak_bytes() as f64);
    assert!((total / taken - 1.0).abs() <= 0.05, "{} {shape:?} {settings:?}: {foretold:?}, taken {taken}", case.name);
    assert_eq!(foretold.weights, base.model.weight_bytes());
}

crate::device_tests! {
    async fn the_memory_of_a_run_is_known_before_its_weights_are_loaded() {
        for name in ["llama-default", "llama-tied-all-linear", "llama-biases", "llama-wide-head-rank-3"] {
            for storage in [Storage::F32, Storage::F16, Storage::Int8, Storage::Int4] {
                for checkpointing in [false, true] {
                    let change = |settings: &mut Settings| settings.checkpointing = checkpointing;
                    check(case(name), Shape::Cpu, storage, change).await;
                }
            }
        }
        let llama = case("llama-default");
        for checkpointing in [false, true] {
            for storage in [Storage::F32, Storage::F16, Storage::Int4] {
                check(llama, Shape::Direct, storage, |settings| settings.checkpointing = checkpointing).await;
            }
            let full = |settings: &mut Settings| {
                settings.method = Method::Full;
                settings.checkpointing = checkpointing;
            };
            check(llama, Shape::Cpu, Storage::F32, full).await;
        }
        check(llama, Shape::Cpu, Storage::F32, |settings| (settings.sample_every, settings.batch) = (0, 5)).await;
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
        let checkpointed = of(Format::F32, &|settings| settings.checkpointing = true).await;
        assert!(checkpointed.activations < usual.activations && checkpointed.logits == usual.logits);
        let longer = of(Format::F32, &|settings| settings.seq_len = 32).await;
        assert!(longer.activations > usual.activations * 19 / 10, "{longer:?} {usual:?}");
    }
}
