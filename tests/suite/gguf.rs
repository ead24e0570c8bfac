//! GGUF files: the numbers that llama.cpp's own library finds in them, models beside transformers, and what is refused.
//! The files are in tests/fixtures/gguf, written by tests/fixtures/make_gguf.py.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde_json::Value;
use tabtune::device::{Format, Shape};
use tabtune::files::blocks::Blocks;
use tabtune::files::safetensors::{Dtype, Entry, Header, to_f32};
use tabtune::files::{Gguf, Source};
use tabtune::model::{Config, Role, Storage, Target};
use tabtune::run::Base;

use crate::bad_input::{FIXTURES, Folder, refused, succeeded, tabtune};
use crate::check::{close, device};
use crate::laws::{CONFIG, MODEL, logits, same_bits};
use crate::tiny::tiny_tokenizer;

const GGUF: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/gguf");
/// As in the script.
const TEXT: &str = "The tide, 1987: a {boat} – it's naïve?\n\n  <|im_start|>\nuser\nHello<|im_end|>";

const ALIGNMENT: usize = 32;

/// The fields and the tensors of a file before it is written.
#[derive(Clone)]
struct File {
    /// Key, type, bytes.
    fields: Vec<(String, u32, Vec<u8>)>,
    tensors: Vec<Tensor>,
}

#[derive(Clone)]
struct Tensor {
    name: String,
    shape: Vec<usize>,
    kind: u32,
    bytes: Vec<u8>,
}

fn word(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

fn list(kind: u32, values: impl ExactSizeIterator<Item = Vec<u8>>) -> Vec<u8> {
    let count = values.len() as u64;
    [&kind.to_le_bytes()[..], &count.to_le_bytes(), &values.collect::<Vec<_>>().concat()].concat()
}

impl File {
    fn set(&mut self, key: &str, kind: u32, bytes: Vec<u8>) {
        self.fields.retain(|field| field.0 != key);
        self.fields.push((key.to_string(), kind, bytes));
    }

    fn unset(&mut self, key: &str) {
        self.fields.retain(|field| field.0 != key);
    }

    /// A tensor that is a vector.
    fn norm(&mut self) -> &mut Tensor {
        self.tensors.iter_mut().find(|tensor| tensor.name == "output_norm.weight").expect("a norm")
    }

    fn beginning(&self) -> Vec<u8> {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend((self.fields.len() as u64).to_le_bytes());
        for (key, kind, value) in &self.fields {
            bytes.extend([&word(key), &kind.to_le_bytes()[..], value].concat());
        }
        let mut offset = 0_u64;
        for Tensor { name, shape, kind, bytes: data } in &self.tensors {
            bytes.extend(word(name));
            bytes.extend((shape.len() as u32).to_le_bytes());
            bytes.extend(shape.iter().rev().flat_map(|n| (*n as u64).to_le_bytes()));
            bytes.extend([&kind.to_le_bytes()[..], &offset.to_le_bytes()].concat());
            offset += data.len().next_multiple_of(ALIGNMENT) as u64;
        }
        bytes
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.beginning();
        for tensor in &self.tensors {
            bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
            bytes.extend(&tensor.bytes);
        }
        bytes
    }
}

/// llama.cpp's name of a tensor.
fn called(name: &str) -> String {
    let pairs = [
        ("model.layers.", "blk."),
        ("self_attn.o_proj", "attn_output"),
        ("self_attn.", "attn_"),
        ("mlp.", "ffn_"),
        ("_proj", ""),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
    ];
    pairs.iter().fold(name.to_string(), |name, (from, to)| name.replace(from, to))
}

/// The small model as llama.cpp's converter writes it, in f32.
fn tiny() -> File {
    let config: Value =
        serde_json::from_slice(&fs::read(format!("{FIXTURES}/models/llama/config.json")).expect("a file"))
            .expect("JSON");
    let mut file = File { fields: Vec::new(), tensors: Vec::new() };
    file.set("general.architecture", 8, word("llama"));
    for (key, field) in [
        ("block_count", "num_hidden_layers"),
        ("context_length", "max_position_embeddings"),
        ("embedding_length", "hidden_size"),
        ("feed_forward_length", "intermediate_size"),
        ("attention.head_count", "num_attention_heads"),
        ("attention.head_count_kv", "num_key_value_heads"),
    ] {
        let value = config[field].as_u64().expect(field) as u32;
        file.set(&format!("llama.{key}"), 4, value.to_le_bytes().to_vec());
    }
    let heads = config["num_attention_heads"].as_u64().expect("heads") as usize;
    let size = config["hidden_size"].as_u64().expect("a size") as usize / heads;
    let theta = config["rope_theta"].as_f64().or(config["rope_parameters"]["rope_theta"].as_f64()).expect("a base");
    let eps = config["rms_norm_eps"].as_f64().expect("a number");
    for (key, value) in [("rope.freq_base", theta), ("attention.layer_norm_rms_epsilon", eps)] {
        file.set(&format!("llama.{key}"), 6, (value as f32).to_le_bytes().to_vec());
    }
    let tokenizer: Value = serde_json::from_slice(&tiny_tokenizer()).expect("JSON");
    let mut tokens: Vec<(&String, u64)> = tokenizer["model"]["vocab"]
        .as_object()
        .expect("a map")
        .iter()
        .map(|(k, v)| (k, v.as_u64().expect("an id")))
        .collect();
    tokens.sort_by_key(|(_, id)| *id);
    file.set("tokenizer.ggml.model", 8, word("gpt2"));
    file.set("tokenizer.ggml.pre", 8, word("smollm"));
    file.set("tokenizer.ggml.tokens", 9, list(8, tokens.iter().map(|(token, _)| word(token))));
    file.set("tokenizer.ggml.token_type", 9, list(5, tokens.iter().map(|_| 1_i32.to_le_bytes().to_vec())));
    file.set("tokenizer.ggml.merges", 9, list(8, std::iter::empty()));

    let length =
        Header::length(MODEL[..8].try_into().expect("8 bytes"), MODEL.len() as u64, "model").expect("a header");
    let header = Header::parse(&MODEL[8..8 + length as usize], MODEL.len() as u64, "model").expect("a header");
    for entry in header.entries {
        let mut values = Vec::new();
        to_f32(entry.dtype, &MODEL[entry.begin as usize..entry.end as usize], &mut values);
        let cols = *entry.shape.last().expect("a shape");
        let is_rotated = entry.name.contains("q_proj") || entry.name.contains("k_proj");
        let row = |row: usize| {
            // The converter's `permute`: reshape(heads, 2, size / 2, cols).swapaxes(1, 2).
            let (head, i) = (row / size, row % size);
            if is_rotated { head * size + i % 2 * (size / 2) + i / 2 } else { row }
        };
        let rows = values.len() / cols;
        let values = (0..rows).flat_map(|i| &values[row(i) * cols..][..cols]);
        let bytes = values.flat_map(|x| x.to_le_bytes()).collect();
        file.tensors.push(Tensor { name: called(&entry.name), shape: entry.shape, kind: 0, bytes });
    }
    file
}

async fn open(path: &str, storage: Storage) -> Base {
    Base::open(&device(Shape::Cpu).await, Path::new(path), storage).await.expect("a base")
}

/// The numbers of a file of the fixtures, which the script that made it left beside it.
fn numbers(file: &str) -> HashMap<String, Vec<f32>> {
    let bytes = fs::read(format!("{GGUF}/{file}.safetensors")).expect("a file");
    let length = Header::length(bytes[..8].try_into().expect("8 bytes"), bytes.len() as u64, file).expect("a header");
    let header = Header::parse(&bytes[8..8 + length as usize], bytes.len() as u64, file).expect("a header");
    let read = |entry: &Entry| {
        let mut values = Vec::new();
        to_f32(entry.dtype, &bytes[entry.begin as usize..entry.end as usize], &mut values);
        (entry.name.clone(), values)
    };
    header.entries.iter().map(read).collect()
}

fn ids(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|id| *id as u32).collect()
}

#[test]
fn every_type_holds_the_numbers_that_its_own_library_finds_in_it() {
    let path = format!("{GGUF}/blocks.gguf");
    let (bytes, expected) = (fs::read(&path).expect("a file"), numbers("blocks"));
    let source = Source::file(Path::new(&path)).expect("a file");
    let file = pollster::block_on(Gguf::read(&source)).expect("a GGUF file");
    assert_eq!((file.tensors.len(), expected.len()), (11, 11));
    for entry in &file.tensors {
        assert_eq!((entry.dtype.to_string(), &entry.shape[..]), (entry.name.clone(), &[3, 512][..]));
        let mut found = Vec::new();
        to_f32(entry.dtype, &bytes[entry.begin as usize..entry.end as usize], &mut found);
        same_bits(&entry.name, &found, &expected[&entry.name]);
    }
}

#[test]
fn models_compute_what_transformers_computes_with_their_numbers() {
    pollster::block_on(async {
        let models = ["llama", "llama3", "linear", "yarn", "qwen2", "qwen3", "smollm3", "gpt2", "gemma3", "phi3"];
        for model in models {
            let (path, expected) = (format!("{GGUF}/{model}.gguf"), numbers(model));
            let wide = open(&path, Storage::F32).await;
            let found = logits(&wide.model, &ids(&expected["ids"]), 2, 1.0).await;
            close(model, &found, &expected["logits"], 1e-5);
            let text = wide.tokenizer.encode(TEXT, true).expect("ids");
            assert_eq!(text, ids(&expected["text"]), "{model}");
            assert!(wide.tokenizer.has_chat_template(), "{model}");
        }
    });
}

#[test]
fn quantised_matrices_are_stored_as_the_nearest_of_what_a_device_computes_with() {
    let config = Config::parse(CONFIG.as_bytes()).expect("a config");
    let specs = config.tensors();
    let spec = |role| specs.iter().find(|spec| spec.role == role).expect("a tensor");
    let (table, matrix) = (spec(Role::Embedding), spec(Role::Weight(0, Target::Q)));
    for (dtype, as_table, as_matrix) in [
        (Dtype::Blocks(Blocks::Q8_0), Format::Int8, Format::Int8),
        (Dtype::Blocks(Blocks::Q4_0), Format::Int8, Format::Int4),
        (Dtype::Blocks(Blocks::Q4_1), Format::F16, Format::F16),
        (Dtype::Blocks(Blocks::Q6_K), Format::F16, Format::F16),
        (Dtype::BF16, Format::F16, Format::F16),
        (Dtype::F32, Format::F32, Format::F32),
    ] {
        let found = [table, matrix].map(|spec| Storage::AsFile.format(spec, dtype));
        assert_eq!(found, [as_table, as_matrix], "{dtype}");
    }
    pollster::block_on(async {
        let others = "Q4_1 as f16, Q4_K as f16, Q5_0 as f16, Q5_1 as f16, Q5_K as f16, Q6_K as f16";
        for (storage, changes) in [(Storage::AsFile, others), (Storage::F32, "Q4_0 as f32, Q4_1 as f32, ")] {
            let base = open(&format!("{GGUF}/llama.gguf"), storage).await;
            let [warning] = &base.model.warnings[..] else { panic!("{:?}", base.model.warnings) };
            assert!(warning.code == "dequantised" && warning.message.contains(changes), "{warning:?}");
        }
    });
}

#[test]
fn the_command_line_takes_a_file_in_place_of_a_folder() {
    let folder = Folder::new("gguf-cli");
    let (path, out) = (format!("{GGUF}/llama.gguf"), folder.path("out"));
    let data = folder.file("text.txt", "The sea is wide. ".repeat(40));
    let short = ["--model", &path, "--data", &data, "--seq-len", "16"];
    let (status, out_text, err) = tabtune(&["info", "--model", &path]);
    assert!(status == 0 && err.contains("warning[dequantised]"), "{err}");
    assert!(out_text.contains("llama.gguf: llama with"), "{out_text}");
    let (status, _, err) = tabtune(&[&["train", "--out", &out, "--steps", "2"], &short[..]].concat());
    assert!(status == 0 && err.contains("warning[dequantised]"), "{err}");
    succeeded(&[&["eval", "--adapter", &out], &short[..]].concat());
    succeeded(&["generate", "--model", &path, "--adapter", &out, "--prompt", "The sea", "--max-tokens", "2"]);

    let copy = folder.file("Q.GGUF", fs::read(&path).expect("a file"));
    succeeded(&["info", "--model", &copy]);
    let stored = folder.file("sha256-0f1e", fs::read(&path).expect("a file"));
    succeeded(&["info", "--model", &stored]);
    let merged = folder.path("merged");
    let full = [&["train", "--method", "full", "--out", &merged, "--steps", "2"], &short[..]].concat();
    succeeded(&full);
    let again = ["--model", &merged, "--data", &data, "--seq-len", "16"];
    succeeded(&[&["eval"], &again[..]].concat());
    succeeded(&["generate", "--model", &merged, "--prompt", "The sea", "--max-tokens", "2"]);
}

#[test]
fn every_fault_is_named() {
    type Change = fn(&mut File);
    let folder = Folder::new("gguf-faults");
    let cases: [(Change, &str, &[&str]); 28] = [
        (|file| file.set("general.architecture", 8, word("mamba")), "unsupported_model", &["mamba"]),
        (|file| file.set("general.type", 8, word("adapter")), "gguf", &["it holds no model", "adapter"]),
        (|file| file.set("split.count", 2, vec![3, 0]), "gguf", &["it is one of 3 parts"]),
        (
            |file| file.set("llama.rope.scaling.type", 8, word("longrope")),
            "unsupported_field",
            &["llama.rope.scaling.type"],
        ),
        (|file| file.set("llama.rope.scaling.type", 4, vec![1, 0, 0, 0]), "unsupported_field", &["rope.scaling.type"]),
        (
            |file| file.set("llama.rope.freq_base", 6, vec![0, 0, 0xc0, 0x7f]),
            "gguf",
            &["freq_base` is no finite number"],
        ),
        (|file| file.set("tokenizer.ggml.add_bos_token", 0, vec![1]), "tokenizer", &["add_bos_token` is 1"]),
        (|file| file.unset("llama.block_count"), "gguf", &["lacks `llama.block_count`"]),
        (|file| file.set("llama.logit_scale", 6, vec![0; 4]), "unsupported_field", &["llama.logit_scale"]),
        (|file| file.set("llama.expert_count", 4, vec![8, 0, 0, 0]), "unsupported_field", &["llama.expert_count"]),
        (
            |file| file.set("llama.rope.dimension_count", 4, vec![4, 0, 0, 0]),
            "unsupported_field",
            &["llama.rope.dimension_count"],
        ),
        (
            |file| file.set("llama.attention.sliding_window", 4, vec![4, 0, 0, 0]),
            "unsupported_field",
            &["llama.attention.sliding_window"],
        ),
        (
            |file| file.set("llama.attention.head_count_kv", 4, vec![3, 0, 0, 0]),
            "gguf",
            &["`llama.attention.head_count_kv`: it must divide llama.attention.head_count"],
        ),
        (
            |file| file.set("llama.block_count", 4, vec![0; 4]),
            "gguf",
            &["`llama.block_count`: expected a whole number"],
        ),
        (
            |file| {
                let factors = Tensor { name: "rope_factors_long.weight".to_string(), ..file.norm().clone() };
                file.tensors.push(factors);
            },
            "tensor_unknown",
            &["rope_factors_long.weight"],
        ),
        (|file| file.set("tokenizer.ggml.model", 8, word("bert")), "tokenizer", &["`tokenizer.ggml.model`", "bert"]),
        (|file| file.set("tokenizer.ggml.model", 8, word("llama")), "tokenizer", &["no list `tokenizer.ggml.scores`"]),
        (
            |file| file.set("tokenizer.ggml.remove_extra_whitespaces", 7, vec![1]),
            "tokenizer",
            &["`tokenizer.ggml.remove_extra_whitespaces`"],
        ),
        (
            |file| file.set("tokenizer.ggml.pre", 8, word("falcon")),
            "tokenizer",
            &["`tokenizer.ggml.pre`", "falcon", "tekken"],
        ),
        (|file| file.set("tokenizer.ggml.eos_token_id", 4, vec![96, 0, 0, 0]), "tokenizer", &["eos_token_id` = 96"]),
        (|file| file.fields.push(file.fields[0].clone()), "gguf", &["the metadata names `general.architecture` twice"]),
        (|file| file.set("x", 9, list(9, std::iter::empty())), "gguf", &["`x` is a list of lists"]),
        (|file| file.set("x", 13, vec![]), "gguf", &["`x` has the type 13"]),
        (|file| file.set("general.alignment", 4, vec![33, 0, 0, 0]), "gguf", &["general.alignment"]),
        (|file| file.tensors.push(file.tensors[0].clone()), "gguf", &["two of its tensors have one name"]),
        (|file| file.norm().kind = 8, "gguf", &["norm.weight` is no matrix, as its type Q8_0 needs"]),
        (|file| drop(file.tensors.pop()), "tensor_missing", &[]),
        (|file| file.tensors[0].name.push('x'), "tensor", &[]),
    ];
    for (at, (change, code, words)) in cases.into_iter().enumerate() {
        let mut file = tiny();
        change(&mut file);
        let path = folder.file(&format!("{at}.gguf"), file.bytes());
        if code == "tensor" {
            let (status, _, err) = tabtune(&["info", "--model", &path]);
            assert!(status == 1 && err.contains("error[tensor_"), "{err}");
        } else {
            refused(&["info", "--model", &path], code, words);
        }
    }
    for (kind, name) in
        [(10, "Q2_K"), (23, "IQ4_XS"), (20, "IQ4_NL"), (24, "I8"), (28, "F64"), (39, "MXFP4"), (77, "77")]
    {
        let mut file = tiny();
        file.tensors[3].kind = kind;
        let words = [format!("`{}`", file.tensors[3].name), format!("has the type {name}, which is not read")];
        let path = folder.file("type.gguf", file.bytes());
        refused(&["info", "--model", &path], "gguf", &words.each_ref().map(String::as_str));
    }
}

#[test]
fn a_file_that_is_cut_or_goes_on_is_refused_wherever_that_is() {
    let (folder, file) = (Folder::new("gguf-cut"), tiny());
    let (bytes, beginning) = (file.bytes(), file.beginning().len());
    for length in [0, 3, 4, 7, 12, 23, 24, 40, beginning / 2, beginning - 1] {
        let path = folder.file("cut.gguf", &bytes[..length]);
        refused(&["info", "--model", &path], "gguf", &["cut.gguf"]);
    }
    for length in [beginning, bytes.len() - 1] {
        refused(&["info", "--model", &folder.file("cut.gguf", &bytes[..length])], "gguf", &["its tensors end at byte"]);
    }
    let longer = [&bytes[..], &[0; 64]].concat();
    refused(&["info", "--model", &folder.file("long.gguf", longer)], "gguf", &["its tensors end at byte"]);
    for (at, value, words) in [
        (4, 1_u64, "it has the version 1"),
        (4, 3 << 24, "big-endian"),
        (8, 20_001, "claims 20001 tensors"),
        (16, u64::MAX, "a string in it claims"),
    ] {
        let mut wrong = bytes.clone();
        let width = if at == 4 { 4 } else { 8 };
        wrong[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        refused(&["info", "--model", &folder.file("wrong.gguf", wrong)], "gguf", &[words]);
    }
}
