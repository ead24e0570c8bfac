//! Checkpoints as other programs leave them: names, buffers, types, tied tables, and what is no checkpoint at all.

use serde_json::{Map, Value, json};
use tabtune::error::{Error, Result};
use tabtune::files::Source;
use tabtune::model::{Checkpoint, Config, Storage, Target, Transformer};

use crate::check::device;
use crate::laws::{ids, logits, same_bits};
use tabtune::device::Shape;

const TIED: &[u8] = include_bytes!("../fixtures/models/llama-tied/config.json");
const UNTIED: &[u8] = include_bytes!("../fixtures/models/llama/config.json");
const EMBEDDING: &str = "model.embed_tokens.weight";

/// Type and bytes of changed numbers.
type Edit<'a> = &'a dyn Fn(&[f32]) -> (&'static str, Vec<u8>);
/// What a program is, and how it names a tensor.
type Rename<'a> = (&'a str, &'a dyn Fn(&str) -> String);
/// A tensor: name, type, shape, bytes.
type Tensor = (String, &'static str, Vec<usize>, Vec<u8>);

fn config(json: &[u8]) -> Config {
    Config::parse(json).expect("a config")
}

/// Random numbers for every tensor of the model, in f32.
fn tensors(config: &Config) -> Vec<Tensor> {
    let mut random = tabtune::random::SplitMix64(5);
    let tensor = |spec: tabtune::model::TensorSpec| {
        let count = spec.shape.iter().product();
        let bytes = (0..count).flat_map(|_| ((random.unit() - 0.5) as f32).to_le_bytes()).collect();
        (spec.name, "F32", spec.shape, bytes)
    };
    config.tensors().into_iter().map(tensor).collect()
}

fn file(tensors: &[Tensor]) -> Source {
    let (mut header, mut data) = (Map::new(), Vec::new());
    for (name, dtype, shape, bytes) in tensors {
        let offsets = [data.len(), data.len() + bytes.len()];
        header.insert(name.clone(), json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets }));
        data.extend(bytes);
    }
    let header = Value::from(header).to_string();
    let length = header.len() as u64;
    Source::memory("model.safetensors", [&length.to_le_bytes(), header.as_bytes(), &data].concat())
}

fn open(config: &Config, tensors: &[Tensor]) -> Result<Checkpoint> {
    pollster::block_on(Checkpoint::open(config.clone(), &file(tensors)))
}

fn refused(config: &Config, tensors: &[Tensor]) -> Error {
    open(config, tensors).err().expect("it is refused")
}

fn with(tensors: &[Tensor], more: impl IntoIterator<Item = Tensor>) -> Vec<Tensor> {
    tensors.iter().cloned().chain(more).collect()
}

fn numbers(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|x| f32::from_le_bytes(*x)).collect()
}

#[test]
fn a_tensor_has_many_names() {
    let config = config(UNTIED);
    let plain = tensors(&config);
    let bare = |name: &str| name.strip_prefix("model.").unwrap_or(name).to_string();
    let renames: [Rename; 9] = [
        ("as transformers writes it", &|name| name.to_string()),
        ("an inner model that was saved alone", &|name| bare(name)),
        ("DistributedDataParallel", &|name| format!("module.{name}")),
        ("torch.compile", &|name| format!("_orig_mod.{name}")),
        ("both", &|name| format!("module._orig_mod.{name}")),
        ("both, the other way", &|name| format!("_orig_mod.module.{name}")),
        ("an inner model, wrapped", &|name| format!("module.{}", bare(name))),
        ("blocks that were compiled alone", &|name| name.replace("layers.0.", "layers.0._orig_mod.")),
        ("twice", &|name| format!("module.module.{name}")),
    ];
    for (what, rename) in renames {
        let renamed: Vec<Tensor> =
            plain.iter().cloned().map(|(name, dtype, shape, bytes)| (rename(&name), dtype, shape, bytes)).collect();
        let found = open(&config, &renamed).unwrap_or_else(|error| panic!("{what}: {error}"));
        for spec in config.tensors() {
            assert_eq!(found.entry(&spec).name, rename(&spec.name), "{what}");
        }
        // A name in an error is the one in the file.
        let mut wrong = renamed.clone();
        let norm = wrong.iter_mut().find(|tensor| tensor.0.ends_with("norm.weight")).expect("a norm");
        norm.2.insert(0, 1);
        let expected = norm.0.clone();
        assert!(matches!(refused(&config, &wrong), Error::TensorShape { name, .. } if name == expected), "{what}");
    }
}

/// OpenAI's own files have no prefix and hold the masks of attention.
#[test]
fn gpt2_is_read_with_and_without_its_prefix_and_with_its_masks() {
    let config = config(include_bytes!("../fixtures/models/gpt2/config.json"));
    let plain = tensors(&config);
    let bare = |name: &str| name.strip_prefix("transformer.").unwrap_or(name).to_string();
    let mask = |name: &str, dtype: &'static str, bytes: usize| -> Tensor {
        (name.to_string(), dtype, vec![1, 1, 2, 2], vec![0; 4 * bytes])
    };
    let masks = ["h.0.attn.bias", "h.1.attn.masked_bias", "transformer.h.1.attn.bias"]
        .map(|name| [("U8", 1), ("BOOL", 1), ("F32", 4)].map(|(dtype, bytes)| mask(name, dtype, bytes)));
    let without: Vec<Tensor> =
        plain.iter().cloned().map(|(name, dtype, shape, bytes)| (bare(&name), dtype, shape, bytes)).collect();
    assert_eq!(without[1].0, "wpe.weight");
    for renamed in [&plain, &without] {
        for mask in masks.iter().flatten() {
            let found = open(&config, &with(renamed, [mask.clone()])).expect("a checkpoint");
            for (spec, (name, ..)) in config.tensors().iter().zip(renamed) {
                assert_eq!(&found.entry(spec).name, name);
            }
        }
    }
}

#[test]
fn two_names_of_one_tensor_are_both_named() {
    let config = config(UNTIED);
    let plain = tensors(&config);
    for (first, second) in [
        ("model.norm.weight", "norm.weight"),
        ("lm_head.weight", "module.lm_head.weight"),
        ("model.embed_tokens.weight", "_orig_mod.model.embed_tokens.weight"),
        ("model.layers.1.mlp.up_proj.weight", "layers.1.mlp.up_proj.weight"),
        ("model.layers.0.self_attn.q_proj.weight", "model.layers.0._orig_mod.self_attn.q_proj.weight"),
    ] {
        let copy = plain.iter().find(|tensor| tensor.0 == first).expect(first).clone();
        let error = refused(&config, &with(&plain, [(second.to_string(), copy.1, copy.2, copy.3)])).to_string();
        assert!(error.contains(&format!("`{first}`")) && error.contains(&format!("`{second}`")), "{error}");
    }
}

#[test]
fn buffers_are_ignored_wherever_they_are_and_whatever_they_hold() {
    for json in [TIED, UNTIED] {
        let config = config(json);
        let plain = tensors(&config);
        for name in [
            "model.layers.0.self_attn.rotary_emb.inv_freq",
            "layers.1.self_attn.rotary_emb.inv_freq",
            "model.rotary_emb.inv_freq",
            "rotary_emb.original_inv_freq",
            "module.model.rotary_emb.cos_cached",
            "model.position_ids",
            "position_ids",
            "model.layers.0.attn.bias",
            "transformer.h.0.attn.masked_bias",
            "model.layers.1.attention.bias",
            "_orig_mod.model.causal_mask",
        ] {
            for (dtype, bytes) in [("F32", 4), ("I64", 8), ("BOOL", 1), ("F64", 8), ("U8", 1), ("BF16", 2)] {
                let buffer = (name.to_string(), dtype, vec![1, 2], vec![0; 2 * bytes]);
                let found = open(&config, &with(&plain, [buffer]));
                assert!(found.is_ok(), "{name} {dtype}: {:?}", found.err());
            }
        }
        for name in ["model.layers.0.self_attn.q_proj.bias", "model.layers.0.self_attn.bias", "lm_head.bias", "x"] {
            let error = refused(&config, &with(&plain, [(name.to_string(), "F32", vec![1], vec![0; 4])]));
            assert!(matches!(&error, Error::TensorUnknown { name: found, .. } if found == name), "{error}");
        }
    }
}

#[test]
fn tensors_of_other_types_are_named_with_their_type() {
    let config = config(UNTIED);
    let plain = tensors(&config);
    for (name, dtype, bytes) in [
        ("model.layers.0.mlp.up_proj.weight", "I8", 1),
        ("model.layers.1.self_attn.q_proj.weight", "F8_E4M3", 1),
        ("model.embed_tokens.weight", "F64", 8),
        ("lm_head.weight", "U8", 1),
        ("model.norm.weight", "I64", 8),
        ("model.layers.1.input_layernorm.weight", "BOOL", 1),
    ] {
        let mut wrong = plain.clone();
        let tensor = wrong.iter_mut().find(|tensor| tensor.0 == name).expect(name);
        let count: usize = tensor.2.iter().product();
        (tensor.1, tensor.3) = (dtype, vec![0; count * bytes]);
        let error = refused(&config, &wrong);
        assert!(error.to_string().contains(name) && error.to_string().contains(dtype), "{error}");
        assert!(!error.hint().contains("ownload"), "{}", error.hint());
    }
}

#[test]
fn a_quantised_checkpoint_is_called_one() {
    let model = config(UNTIED);
    let plain = tensors(&model);
    let q = "model.layers.0.self_attn.q_proj";
    for (name, dtype, bytes) in [
        (format!("{q}.weight.absmax"), "F32", 4),
        (format!("{q}.weight.quant_state.bitsandbytes__nf4"), "U8", 1),
        (format!("{q}.SCB"), "F32", 4),
        (format!("{q}.qweight"), "I32", 4),
        (format!("{q}.g_idx"), "I32", 4),
        (format!("{q}.scales"), "F16", 2),
        (format!("{q}.weight_scale_inv"), "F32", 4),
    ] {
        let error = refused(&model, &with(&plain, [(name.clone(), dtype, vec![1], vec![0; bytes])]));
        assert!(matches!(&error, Error::Quantised { what } if what.contains(&name)), "{error}");
    }
    let json: Value = serde_json::from_slice(UNTIED).expect("JSON");
    for (field, value, word) in [
        ("quantization_config", json!({ "quant_method": "gptq", "bits": 4 }), "gptq"),
        ("quantization_config", json!({ "quant_method": "fp8" }), "fp8"),
        ("quantization_config", json!({ "load_in_4bit": true }), "bitsandbytes"),
        ("quantization_config", json!({}), "quantization_config"),
        ("quantization", json!({ "group_size": 64, "bits": 4 }), "quantization"),
        ("compression_config", json!({ "format": "pack-quantized" }), "compression_config"),
    ] {
        let mut json = json.clone();
        json[field] = value;
        let error = Config::parse(json.to_string().as_bytes()).expect_err(word);
        assert!(matches!(&error, Error::Quantised { what } if what.contains(word)), "{error}");
        json["model_type"] = json!("mamba");
        let error = Config::parse(json.to_string().as_bytes()).expect_err(word);
        assert!(matches!(error, Error::UnsupportedModel { .. }), "the family comes first: {error}");
    }
}

#[test]
fn the_table_of_a_tied_model_may_have_either_name_or_both() {
    let config = config(TIED);
    let plain = tensors(&config);
    let table = plain.iter().find(|tensor| tensor.0 == EMBEDDING).expect("a table").clone();
    let head = |edit: Edit| -> Tensor {
        let (dtype, bytes) = edit(&numbers(&table.3));
        ("lm_head.weight".to_string(), dtype, table.2.clone(), bytes)
    };
    let as_is = |x: &[f32]| ("F32", x.iter().flat_map(|x| x.to_le_bytes()).collect());
    let rounded = |x: &[f32]| ("BF16", x.iter().flat_map(|x| half::bf16::from_f32(*x).to_le_bytes()).collect());
    let last = |x: &[f32]| {
        let mut x = x.to_vec();
        *x.last_mut().expect("a number") += 1.0;
        ("F32", x.iter().flat_map(|x| x.to_le_bytes()).collect())
    };
    let differs = |found: &Checkpoint| found.warnings.iter().any(|warning| warning.code == "head_differs");
    for (what, tensors, is_tied) in [
        ("no head", plain.clone(), true),
        ("the same", with(&plain, [head(&as_is)]), true),
        ("the same, wrapped", with(&plain, [head(&as_is)]).into_iter().map(wrapped).collect(), true),
        ("rounded", with(&plain, [head(&rounded)]), false),
        ("one number", with(&plain, [head(&last)]), false),
    ] {
        let found = open(&config, &tensors).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!((found.config.tied, differs(&found)), (is_tied, !is_tied), "{what}: {:?}", found.warnings);
    }
    // Numbers that both types hold are the same numbers.
    let exact: Vec<u8> =
        numbers(&table.3).iter().flat_map(|x| half::bf16::from_f32(*x).to_f32().to_le_bytes()).collect();
    let exactly =
        |tensor: Tensor| if tensor.0 == EMBEDDING { (tensor.0, "F32", tensor.2, exact.clone()) } else { tensor };
    let same: Vec<Tensor> = with(&plain, [head(&rounded)]).into_iter().map(exactly).collect();
    assert!(open(&config, &same).expect("a checkpoint").config.tied);

    let only = |name: &str| -> Vec<Tensor> {
        let rename = |tensor: Tensor| {
            if tensor.0 == EMBEDDING { (name.to_string(), tensor.1, tensor.2, tensor.3) } else { tensor }
        };
        plain.iter().cloned().map(rename).collect()
    };
    for name in ["lm_head.weight", "module.lm_head.weight"] {
        let found = open(&config, &only(name)).expect(name);
        let spec = &found.config.tensors()[0];
        assert_eq!((spec.name.as_str(), found.entry(spec).name.as_str(), found.config.tied), (EMBEDDING, name, true));
    }
    let mut short = head(&as_is);
    (short.2, short.3) = (vec![1, 2], vec![0; 8]);
    let error = refused(&config, &with(&plain, [short]));
    assert!(matches!(&error, Error::TensorShape { name, .. } if name == "lm_head.weight"), "{error}");
    let untied = self::config(UNTIED);
    let without: Vec<Tensor> = tensors(&untied).into_iter().filter(|tensor| tensor.0 != EMBEDDING).collect();
    assert!(matches!(refused(&untied, &without), Error::TensorMissing { name, .. } if name == EMBEDDING));
}

fn wrapped((name, dtype, shape, bytes): Tensor) -> Tensor {
    (format!("module.{name}"), dtype, shape, bytes)
}

#[test]
fn a_head_that_differs_is_computed_with() {
    pollster::block_on(async {
        let device = device(Shape::Direct).await;
        let tied = config(TIED);
        let untied = Config { tied: false, ..tied.clone() };
        let tensors = tensors(&untied);
        let load = async |config: &Config| {
            let (source, storage) = (file(&tensors), Storage::default());
            let model = Transformer::load(&device, config.clone(), &source, storage, &mut |_, _| {}).await;
            model.expect("a model")
        };
        let (found, expected) = (load(&tied).await, load(&untied).await);
        assert_eq!((found.warnings.len(), expected.warnings.len()), (1, 0));
        assert_eq!(found.config, untied);
        let sequence = ids(20, tied.vocabulary, 3);
        same_bits("head", &logits(&found, &sequence, 2, 1.0).await, &logits(&expected, &sequence, 2, 1.0).await);
    });
}

/// Matrices of GPT-2 are transposed in panels of at most 4,194,304 numbers.
#[test]
fn a_matrix_of_several_panels_is_transposed_whole() {
    pollster::block_on(async {
        let json = json!({ "model_type": "gpt2", "vocab_size": 8, "n_embd": 1024, "n_inner": 4112, "n_layer": 1,
            "n_head": 16, "n_positions": 4 });
        let config = config(json.to_string().as_bytes());
        let tensors = tensors(&config);
        let device = device(Shape::Cpu).await;
        let model = Transformer::load(&device, config.clone(), &file(&tensors), Storage::F32, &mut |_, _| {}).await;
        let model = model.expect("a model");
        for target in [Target::Up, Target::Down] {
            let found = model.linear(0, target).weight.download(&device).await.expect("numbers");
            let name = config.weight(0, target).name;
            let (.., bytes) = tensors.iter().find(|tensor| tensor.0 == name).expect("a tensor");
            let (outputs, inputs) = target.shape(&config);
            assert_eq!(found.len(), 1024 * 4112);
            let stored = numbers(bytes);
            let differs = (0..found.len()).find(|i| found[*i] != stored[i % inputs * outputs + i / inputs]);
            assert_eq!(differs, None, "{name}");
        }
    });
}

#[test]
fn a_file_of_another_kind_is_called_what_it_is() {
    let config = config(UNTIED);
    for (bytes, words) in [
        (&b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"[..], ["Git LFS", "git lfs pull"]),
        (b"PK\x03\x04\x00\x00\x08\x08archive/data.pkl", ["PyTorch", "safetensors"]),
        (b"\x80\x02}q\x00X\x06\x00\x00\x00weight", ["pickle", "safetensors"]),
        (b"GGUF\x03\x00\x00\x00\x00\x00\x00\x00", ["GGUF", "its own name"]),
        (b"<!DOCTYPE html><html><head>", ["web page", "download"]),
        (b"<html>\n<body>Not found", ["web page", "download"]),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", ["gzip", "unpack"]),
    ] {
        let source = Source::memory("model.safetensors", bytes.to_vec());
        let error = pollster::block_on(Checkpoint::open(config.clone(), &source)).err().expect("no checkpoint");
        assert_eq!(error.code(), "not_safetensors");
        assert!(words.iter().all(|word| error.to_string().contains(word)), "{error}");
    }
}

#[test]
fn what_nobody_reads_of_a_config_may_be_anything_that_python_writes() {
    let text = std::str::from_utf8(UNTIED).expect("text");
    let config = config(UNTIED);
    for (from, to) in [
        ("{", "{\"loss\": NaN,"),
        ("{", "{\"task_specific_params\": {\"x\": [Infinity, -Infinity, NaN]},"),
        ("{", "\u{feff}{"),
        ("{", "\u{feff}\n{\"a\": -Infinity,"),
        ("{", "{\"note\": \"NaN\","),
    ] {
        assert_eq!(Config::parse(text.replacen(from, to, 1).as_bytes()), Ok(config.clone()), "{to}");
    }
    for (from, to, words) in [
        ("\"hidden_size\": 32", "\"hidden_size\": NaN", ["hidden_size", "found NaN"]),
        ("\"rms_norm_eps\": 1e-05", "\"rms_norm_eps\": Infinity", ["rms_norm_eps", "found Infinity"]),
        ("\"hidden_act\": \"silu\"", "\"hidden_act\": NaN", ["hidden_act", "= NaN"]),
        ("\"tie_word_embeddings\": false", "\"tie_word_embeddings\": -Infinity", ["tie_word", "found -Infinity"]),
        ("{", "{\"x\": NaN,}", ["(file)", "line 1 column 11"]),
    ] {
        assert!(text.contains(from), "{from}");
        let error = Config::parse(text.replacen(from, to, 1).as_bytes()).expect_err(to).to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
}
