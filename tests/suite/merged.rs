//! Models with an adapter merged into them, as files that are written one by one. tests/parity/check_merge.py compares
//! them with PEFT's merge and, those that a tab writes, with the command line's.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tabtune::adapter::AdapterFiles;
use tabtune::device::Shape;
use tabtune::files::Source;
use tabtune::files::safetensors::{Dtype, encode, to_f32};
use tabtune::model::{Storage, Transformer};
use tabtune::run::{Base, MergeOptions, Merged, ModelFiles};

use crate::bad_input::{FIXTURES, Folder, refused, refused_usage, succeeded};
use crate::check::{close, device};
use crate::golden::Case;
use crate::laws::{FAMILIES, case, ids, logits, same_bits};
use crate::tiny::tiny_tokenizer;

fn options(format: &str, kind: Option<&str>, strength: f64) -> MergeOptions {
    MergeOptions { strength, format: format.to_string(), kind: kind.map(str::to_string) }
}

fn files_of(case: &Case) -> ModelFiles {
    ModelFiles {
        config: case.config.to_vec(),
        tokenizer: tiny_tokenizer(),
        tokenizer_config: None,
        generation_config: None,
        chat_template: None,
        weights: Source::memory("model.safetensors", case.model.to_vec()),
    }
}

/// The bytes of one file, which are as many as it says.
async fn written(merged: &Merged<'_>, name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut write = |piece: &[u8]| {
        bytes.extend_from_slice(piece);
        Ok(())
    };
    merged.write(name, &mut write).await.expect("a file");
    let said = merged.files().find(|(file, _)| *file == name).expect("a file").1;
    assert_eq!(bytes.len() as u64, said, "{name}");
    bytes
}

fn torch_dtype(config: &[u8]) -> Value {
    serde_json::from_slice::<Value>(config).expect("JSON")["torch_dtype"].clone()
}

#[test]
fn a_checkpoint_in_another_type_is_the_model_that_was_merged() {
    pollster::block_on(async {
        let device = device(Shape::Cpu).await;
        for name in FAMILIES.into_iter().chain(["llama-patterns", "llama-layer-1", "phi3-fused"]) {
            let case = case(name);
            let (files, adapter) = (files_of(case), case.files());
            let base = case.model(&device).await;
            let (attached, flat) = adapter.load(&device, &base.config).expect("an adapter");
            attached.write(&device, &flat);
            let sequence = ids(24, 96, 5);
            let expected = logits(&attached.merge(&base).await.expect("a model"), &sequence, 2, 1.0).await;
            for (kind, dtype, tolerance) in [("f32", "float32", 1e-5), ("f16", "float16", 2e-2)] {
                let merged = files.merged("base", &adapter, &options("safetensors", Some(kind), 1.0)).await;
                let merged = merged.expect("a merged model");
                assert_eq!(torch_dtype(&written(&merged, "config.json").await), dtype);
                assert_eq!(written(&merged, "tokenizer.json").await, tiny_tokenizer());
                let source = Source::memory("merged", written(&merged, "model.safetensors").await);
                let config = base.config.clone();
                let loaded = Transformer::load(&device, config, &source, Storage::F32, &mut |_, _| {}).await;
                let found = logits(&loaded.expect("a model"), &sequence, 2, 1.0).await;
                close(name, &found, &expected, tolerance);
            }
        }
    });
}

#[test]
fn numbers_are_rounded_once() {
    let rounded = |dtype: Dtype, x: f64| {
        let (mut bytes, mut found) = (Vec::new(), Vec::new());
        assert!(encode(dtype, &[x, -x], &mut bytes), "{x} in {dtype}");
        to_f32(dtype, &bytes, &mut found);
        assert_eq!(found[0], -found[1]);
        f64::from(found[0])
    };
    for (dtype, bits) in [(Dtype::F16, 10), (Dtype::BF16, 7)] {
        let step = 0.5_f64.powi(bits);
        for least in [0.5_f64.powi(30), 0.5_f64.powi(45)] {
            // Nearer to one neighbour by less than f32 can say, or than the upper half of an f64 can.
            assert_eq!(rounded(dtype, 1.0 + step / 2.0 + least), 1.0 + step, "{dtype}");
            assert_eq!(rounded(dtype, 1.0 + step * 1.5 - least), 1.0 + step, "{dtype}");
        }
        assert_eq!(rounded(dtype, 1.0 + step / 2.0), 1.0, "{dtype}: ties go to the even one");
        assert_eq!(rounded(dtype, 1.0 + step * 1.5), 1.0 + step * 2.0, "{dtype}");
    }
    assert_eq!(rounded(Dtype::F16, 0.5_f64.powi(25) * (1.0 + 1e-12)), 0.5_f64.powi(24), "the smallest number");
    for beyond in [65520.0, 1e300, f64::INFINITY, f64::NAN] {
        assert!(!encode(Dtype::F16, &[beyond], &mut Vec::new()), "{beyond}");
    }
    assert_eq!(rounded(Dtype::F16, 65519.99), 65504.0);
}

#[test]
fn a_strength_is_a_factor_on_what_is_merged_and_at_0_the_base_stays_as_it_is() {
    pollster::block_on(async {
        let device = device(Shape::Cpu).await;
        let case = case("llama-patterns");
        let (files, adapter) = (files_of(case), case.files());
        let base = case.model(&device).await;
        let (attached, flat) = adapter.load(&device, &base.config).expect("an adapter");
        attached.write(&device, &flat);
        let (model, sequence) = (attached.attach(&base), ids(24, 96, 5));
        for strength in [0.5, -1.0, 1.5] {
            let merged = files.merged("base", &adapter, &options("safetensors", None, strength)).await;
            let bytes = written(&merged.expect("a merged model"), "model.safetensors").await;
            let source = Source::memory("merged", bytes);
            let config = base.config.clone();
            let loaded = Transformer::load(&device, config, &source, Storage::F32, &mut |_, _| {}).await;
            let found = logits(&loaded.expect("a model"), &sequence, 2, 1.0).await;
            let expected = logits(&model, &sequence, 2, strength as f32).await;
            close(&format!("strength {strength}"), &found, &expected, 1e-5);
        }
        let merged = files.merged("base", &adapter, &options("safetensors", None, 0.0)).await.expect("a merged model");
        assert!(written(&merged, "model.safetensors").await == case.model, "the base, byte for byte");
        assert_eq!(written(&merged, "config.json").await, case.config);
        for (options, setting) in [
            (options("safetensors", None, f64::NAN), "strength"),
            (options("safetensors", Some("q8_0"), 1.0), "type"),
            (options("gguf", Some("q4_0"), 1.0), "type"),
            (options("onnx", None, 1.0), "format"),
        ] {
            let error = files.merged("base", &adapter, &options).await.err().expect("a refusal");
            assert!(error.code() == "setting" && error.to_string().contains(setting), "{error}");
        }
    });
}

#[test]
fn the_command_line_writes_a_checkpoint_from_any_base_in_any_type() {
    let folder = Folder::new("merged-types");
    let data = folder.file("text.txt", "The sea is wide. ".repeat(40));
    let read = |path: String| fs::read(path).expect("a file");
    for name in ["llama", "qwen3", "gpt2", "gemma3", "phi3"] {
        let (model, adapter) = (format!("{FIXTURES}/gguf/{name}.gguf"), folder.path(&format!("{name}-adapter")));
        let steps = ["--steps", "2", "--lr", "0.1", "--seq-len", "16", "--rank", "4"];
        succeeded(&[&["train", "--model", &model, "--data", &data, "--out", &adapter], &steps[..]].concat());
        let (wide, usual) = (folder.path(&format!("{name}-f32")), folder.path(&format!("{name}-usual")));
        let both = ["merge", "--model", &model, "--adapter", &adapter];
        succeeded(&[&both[..], &["--out", &wide, "--type", "f32"]].concat());
        succeeded(&[&both[..], &["--out", &usual]].concat());
        assert_eq!(torch_dtype(&read(format!("{wide}/config.json"))), "float32");
        assert_eq!(torch_dtype(&read(format!("{usual}/config.json"))), "float16");
        assert!(!Path::new(&format!("{wide}/model.safetensors.part")).exists());
        pollster::block_on(async {
            let device = device(Shape::Cpu).await;
            let open = async |path: &str| Base::open(&device, Path::new(path), Storage::F32).await.expect("a base");
            let base = open(&model).await;
            let files = AdapterFiles::open(Path::new(&adapter)).expect("an adapter");
            let (attached, _) = base.load_adapter(&files).expect("an adapter");
            let sequence = ids(24, base.model.config.vocabulary, 5);
            let expected = logits(&attached.merge(&base.model).await.expect("a model"), &sequence, 2, 1.0).await;
            let found = logits(&open(&wide).await.model, &sequence, 2, 1.0).await;
            match name {
                // B A is added to the transpose, in another order.
                "gpt2" => {
                    close(name, &found, &expected, 1e-5);
                }
                _ => same_bits(name, &found, &expected),
            }
            close(name, &logits(&open(&usual).await.model, &sequence, 2, 1.0).await, &expected, 5e-2);
        });
        refused(&[&both[..], &["--out", &wide, "--type", "f32"]].concat(), "setting", &["out", "empty"]);
        let none = folder.path("none");
        refused(&[&both[..], &["--out", &none, "--type", "q8_0"]].concat(), "setting", &["f32 or f16"]);
        refused(&[&both[..], &["--out", &none, "--strength", "inf"]].concat(), "setting", &["strength"]);
        assert!(!Path::new(&none).exists(), "a refused merge leaves nothing behind");
    }
    let model = format!("{FIXTURES}/gguf/llama.gguf");
    refused_usage(&["merge", "--model", &model, "--out", &folder.path("x"), "--type", "f16"], "--adapter");
}
