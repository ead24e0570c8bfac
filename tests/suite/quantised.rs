//! Frozen weights that are stored in int8 and int4: their rounding is ggml's, and a model computes with the numbers
//! that they stand for.

use std::collections::HashMap;
use std::rc::Rc;

#[cfg(not(target_arch = "wasm32"))]
use tabtune::device::blocks::quantise;
use tabtune::device::{Device, DeviceOptions, Format, Shape, Stored};
use tabtune::error::Error;
use tabtune::files::Source;
use tabtune::files::safetensors::write;
use tabtune::model::{Config, Storage, Transformer};
use tabtune::plan::Progress;
use tabtune::run::Settings;
use tabtune::train::{Trainer, TrainerSettings};

use crate::check::{MODEL_SHAPES, close, device};
use crate::golden::Case;
use crate::laws::{CONFIG, MODEL, case, decoding_equals_forward, logits, same_bits};
use crate::tiny::{base_of, tiny_settings, whole_run};

const STORAGES: [Storage; 2] = [Storage::Int8, Storage::Int4];

async fn load(device: &Rc<Device>, config: &[u8], bytes: Vec<u8>, storage: Storage) -> Result<Transformer, Error> {
    let source = Source::memory("model.safetensors", bytes);
    Transformer::load(device, Config::parse(config).expect("a config"), &source, storage, &mut |_, _| {}).await
}

/// The logits of a case's rows with its adapter, and the gradient of one micro-batch.
async fn outcome(case: &Case, base: &Transformer, again: bool) -> (Vec<f32>, Vec<f32>) {
    let facts = case.facts();
    let (adapter, flat) = case.files().load(&base.device, &base.config).expect("an adapter");
    adapter.write(&base.device, &flat);
    let model = adapter.attach(base);
    let settings =
        TrainerSettings { lean: again, checkpointing: again, ..TrainerSettings::new(facts.batch, facts.seq_len) };
    let draft = Trainer::record(&model, &adapter.params(), settings).expect("plans");
    let mut trainer = draft.finish(&mut Progress::silent()).await.expect("plans");
    let gradient = trainer.gradient(&facts.micro()).await.expect("a gradient");
    (logits(&model, &facts.micro().tokens, facts.batch, 1.0).await, gradient)
}

/// gguf-py rounded the same numbers: Gaussian ones, ties, zeros, equal magnitudes, subnormal scales.
#[cfg(not(target_arch = "wasm32"))]
#[test]
fn numbers_are_rounded_as_ggml_rounds_them() {
    let file = safetensors::SafeTensors::deserialize(include_bytes!("../fixtures/quantised/ggml/blocks.safetensors"))
        .expect("safetensors");
    let bytes = |name: &str| file.tensor(name).expect("a tensor").data().to_vec();
    let values: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes("values"));
    for (format, name) in [(Format::Int8, "q8_0"), (Format::Int4, "q4_0")] {
        let (found, expected) = (quantise(format, &values), bytes(name));
        assert_eq!(found.len(), expected.len());
        let size = expected.len() * 32 / values.len();
        for (i, (found, expected)) in found.chunks(size).zip(expected.chunks(size)).enumerate() {
            assert_eq!(found, expected, "{name}, block {i}: {:?}", &values[32 * i..][..32]);
        }
    }
}

crate::device_tests! {
    /// As f32, of which they are exact products, the same numbers give the same bits, except that a card adds up the
    /// gradients of siblings in another order where one format lets them be stacked and the other does not.
    async fn quantised_weights_give_the_results_of_their_numbers() {
        for &shape in MODEL_SHAPES {
            let device = device(shape).await;
            for (name, storage) in [
                ("llama-all-linear", Storage::Int8),
                ("llama-tied-all-linear", Storage::Int4),
                ("gpt2-all-linear", Storage::Int8),
                ("phi3-all-linear", Storage::Int4),
            ] {
                let case = case(name);
                let stored = load(&device, case.config, case.model.to_vec(), storage).await.expect("a model");
                let numbers = stored.checkpoint(&HashMap::new()).await.expect("a checkpoint");
                let plain = load(&device, case.config, numbers, Storage::F32).await.expect("a model");
                assert!(stored.weight_bytes() * 2 < plain.weight_bytes(), "{name} {storage:?}");
                let [found, expected] = [outcome(case, &stored, false).await, outcome(case, &plain, false).await];
                same_bits("logits", &found.0, &expected.0);
                match shape {
                    Shape::Tiled => {
                        close("gradient", &found.1, &expected.1, 1e-5);
                    }
                    Shape::Direct | Shape::Cpu => same_bits("gradient", &found.1, &expected.1),
                }
                let again = outcome(case, &stored, true).await;
                same_bits("gradient, made again", &again.1, &found.1);
            }
        }
    }

    /// Blocks of other programs need not have the largest number that there is, by which their scale would be found.
    async fn blocks_are_stored_as_they_are() {
        let device = device(Shape::Cpu).await;
        for format in [Format::Int8, Format::Int4] {
            let stored = Stored::new(&device, "blocks", 5, 96, format).expect("a matrix");
            let (mut blocks, mut expected) = (Vec::new(), Vec::new());
            for i in 0..15u8 {
                let scale = half::f16::from_f32(f32::from(i) - 7.3);
                blocks.extend(scale.to_le_bytes());
                let byte = |j: u8| (i * 16 + j) % if format == Format::Int8 { 100 } else { 112 };
                let numbers: Vec<i8> = match format {
                    Format::Int8 => (0..32).map(|j| byte(j) as i8).collect(),
                    _ => (0..32).map(|j| (if j < 16 { byte(j) & 15 } else { byte(j - 16) >> 4 }) as i8 - 8).collect(),
                };
                blocks.extend((0..if format == Format::Int8 { 32 } else { 16 }).map(byte));
                expected.extend(numbers.iter().map(|number| scale.to_f32() * f32::from(*number)));
            }
            let size = blocks.len() / 5;
            stored.upload_blocks(&device, 0, &blocks[..4 * size]);
            stored.upload_blocks(&device, 4, &blocks[4 * size..]);
            same_bits("numbers", &stored.download(&device).await.expect("numbers"), &expected);
        }
    }

    /// Matrices that a file has as [in, out], fused ones, scaled embeddings, norms of heads.
    async fn every_family_computes_with_quantised_weights() {
        let device = device(Shape::Cpu).await;
        for name in ["gpt2-all-linear", "gpt2-odd-c-proj", "gemma3-all-linear", "phi3-fused", "qwen3", "smollm3"] {
            for storage in STORAGES {
                let case = case(name);
                let stored = load(&device, case.config, case.model.to_vec(), storage).await.expect("a model");
                let numbers = stored.checkpoint(&HashMap::new()).await.expect("a checkpoint");
                let plain = load(&device, case.config, numbers, Storage::F32).await.expect("a model");
                assert!(stored.weight_bytes() < plain.weight_bytes(), "{name} {storage:?}");
                let [found, expected] = [outcome(case, &stored, false).await, outcome(case, &plain, false).await];
                same_bits(&format!("logits of {name}"), &found.0, &expected.0);
                same_bits(&format!("gradient of {name}"), &found.1, &expected.1);
            }
        }
    }

    async fn quantised_weights_in_slabs_give_the_same_logits_and_gradient() {
        for &shape in MODEL_SHAPES {
            for (name, storage) in [("llama-all-linear", Storage::Int4), ("llama-tied-all-linear", Storage::Int8)] {
                let case = case(name);
                let mut outcomes = Vec::new();
                for max_binding in [None, Some(5000)] {
                    let options = DeviceOptions { shape: Some(shape), max_binding, ..DeviceOptions::default() };
                    let device = Device::new(options).await.expect("a device");
                    let base = load(&device, case.config, case.model.to_vec(), storage).await.expect("a model");
                    assert_eq!(base.head().slabs.len() > 2, max_binding.is_some());
                    assert_eq!(base.head().slabs[0].stored.format, Format::Int8);
                    outcomes.push(outcome(case, &base, false).await);
                }
                close("logits", &outcomes[1].0, &outcomes[0].0, 1e-6);
                close("gradient", &outcomes[1].1, &outcomes[0].1, 1e-5);
            }
        }
    }

    async fn decoding_from_quantised_weights_equals_the_full_forward() {
        for &shape in MODEL_SHAPES {
            for storage in STORAGES {
                let base = load(&device(shape).await, CONFIG.as_bytes(), MODEL.to_vec(), storage).await;
                decoding_equals_forward(&base.expect("a model"), &[0, 1, 31, 63]).await;
            }
        }
    }

    async fn what_a_run_was_trained_on_is_in_its_adapter() {
        for storage in STORAGES {
            let base = base_of(&device(Shape::Cpu).await, CONFIG.as_bytes(), MODEL, storage).await;
            let (_, outcome) = whole_run(&base, &Settings { steps: 1, ..tiny_settings(&base) }, None).await;
            let kept = outcome.kept.expect("an adapter");
            let origin = kept.files.adapter().expect("an adapter").origin().expect("an origin");
            assert_eq!(origin.weights, Some(storage));
        }
    }

    /// 80 numbers enter `down_proj`. The rest are whole groups, and the embedding and the head keep eight bits.
    async fn a_matrix_that_is_not_whole_groups_stays_f16_and_is_named_once() {
        let device = device(Shape::Cpu).await;
        for storage in STORAGES {
            let base = load(&device, CONFIG.as_bytes(), MODEL.to_vec(), storage).await.expect("a model");
            let warnings: Vec<_> = base.warnings.iter().map(|warning| (warning.code, &warning.message)).collect();
            let [("weights_in_f16", message)] = warnings.as_slice() else { panic!("{warnings:?}") };
            assert!(message.starts_with("`model.layers.0.mlp.down_proj.weight` and 1 more "), "{message}");
            assert!(message.contains(storage.name()), "{message}");
            assert_eq!(base.storage, storage);
        }
        // No row of this one is whole groups, so nothing of it is int8.
        let odd = case("llama-odd-rank-5");
        let odd = load(&device, odd.config, odd.model.to_vec(), Storage::Int8).await.expect("a model");
        assert_eq!(odd.storage, Storage::F16);
        let base = load(&device, CONFIG.as_bytes(), MODEL.to_vec(), Storage::F16).await.expect("a model");
        assert!(base.warnings.is_empty(), "{:?}", base.warnings);
    }

    async fn numbers_beyond_a_format_are_refused_and_auto_goes_to_f32() {
        let device = device(Shape::Cpu).await;
        let config = Config::parse(CONFIG.as_bytes()).expect("a config");
        let checkpoint = |large: f32| {
            let specs = config.tensors();
            let values = specs.iter().map(|spec| vec![0.5; spec.shape.iter().product()]);
            let mut values: Vec<Vec<f32>> = values.collect();
            values[0][7] = large;
            let tensors = specs.iter().zip(&values);
            let tensors: Vec<_> =
                tensors.map(|(spec, values)| (spec.name.clone(), spec.shape.clone(), values.as_slice())).collect();
            write(&tensors, &[])
        };
        for (storage, most) in
            [(Storage::F16, 65504.0), (Storage::Int8, 65504.0 * 127.0), (Storage::Int4, 65504.0 * 127.0)]
        {
            load(&device, CONFIG.as_bytes(), checkpoint(most), storage).await.expect("a model");
            let error = load(&device, CONFIG.as_bytes(), checkpoint(most * 1.01), storage).await.map(|_| ());
            let Err(Error::Setting { name, expected, .. }) = error else { panic!("{storage:?}: {error:?}") };
            assert!(name == "weights" && expected.contains("`model.embed_tokens.weight`"), "{expected}");
        }

        for (large, storage) in [(60_000.0, Storage::F16), (1e5, Storage::F32)] {
            let bytes = in_bf16(&checkpoint(large));
            let base = load(&device, CONFIG.as_bytes(), bytes.clone(), Storage::AsFile).await.expect("a model");
            assert_eq!(base.storage, storage);
            let said = base.warnings.iter().any(|w| w.code == "weights_in_f32" && w.message.contains("embed_tokens"));
            assert_eq!(said, storage == Storage::F32, "{:?}", base.warnings);
            let kept = base.head().download(&device).await.expect("numbers");
            assert_eq!(kept[0], 0.5);
        }
    }
}

/// The same checkpoint, of f32, in bf16.
fn in_bf16(file: &[u8]) -> Vec<u8> {
    let length = u64::from_le_bytes(*file.first_chunk().expect("a length")) as usize;
    let mut header: serde_json::Value = serde_json::from_slice(&file[8..8 + length]).expect("a header");
    for (_, tensor) in header.as_object_mut().expect("an object").iter_mut().filter(|(name, _)| *name != "__metadata__")
    {
        tensor["dtype"] = "BF16".into();
        let ends: Vec<u64> =
            tensor["data_offsets"].as_array().expect("two").iter().filter_map(|n| n.as_u64()).collect();
        tensor["data_offsets"] = serde_json::json!([ends[0] / 2, ends[1] / 2]);
    }
    let header = header.to_string();
    let numbers: Vec<f32> = bytemuck::pod_collect_to_vec(&file[8 + length..]);
    let data: Vec<u8> = numbers.iter().flat_map(|x| half::bf16::from_f32(*x).to_le_bytes()).collect();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}
