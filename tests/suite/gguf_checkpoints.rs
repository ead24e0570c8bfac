//! Models that are written as GGUF files, with an adapter merged into them or as they are, and opened again.
//! tests/parity/check_exports.py has llama.cpp itself continue texts with them.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tabtune::adapter::AdapterFiles;
use tabtune::device::Shape;
use tabtune::files::blocks::to_q8_0;
use tabtune::files::gguf_writer::Field;
use tabtune::files::safetensors::to_f32;
use tabtune::files::{Gguf, Source};
use tabtune::model::{Storage, Transformer};
use tabtune::run::{Base, ModelFiles};
use tabtune::text::tokenizer::{GgufMetadata, gguf_metadata};

use crate::bad_input::{FIXTURES, Folder, refused, refused_usage, succeeded, tabtune};
use crate::check::device;
use crate::laws::{ids, logits, same_bits};

async fn open(path: &str) -> Base {
    Base::open(&device(Shape::Cpu).await, Path::new(path), Storage::F32).await.expect("a base")
}

async fn same_logits(what: &str, found: &Base, expected: &Base) {
    let sequence = ids(24, expected.model.config.vocabulary, 5);
    let (found, expected) = (logits(&found.model, &sequence, 2, 1.0).await, logits(&expected.model, &sequence, 2, 1.0));
    same_bits(what, &found, &expected.await);
}

fn merge(args: &[&str]) -> String {
    let (status, _, err) = tabtune(&[&["merge"], args].concat());
    assert_eq!(status, 0, "{err}");
    err
}

fn read(path: &str) -> Gguf {
    pollster::block_on(Gguf::read(&Source::file(Path::new(path)).expect("a file"))).expect("a GGUF file")
}

#[test]
fn a_model_and_its_tokenizer_are_the_same_in_a_gguf_file() {
    let folder = Folder::new("gguf-checkpoints");
    pollster::block_on(async {
        for name in ["llama", "llama3", "linear", "qwen2", "qwen3", "smollm3", "gpt2", "gemma3", "phi3"] {
            let (base, out) = (format!("{FIXTURES}/gguf/{name}.gguf"), folder.path(&format!("{name}.gguf")));
            merge(&["--model", &base, "--out", &out, "--type", "f32"]);
            let (found, expected) = (open(&out).await, open(&base).await);
            same_logits(name, &found, &expected).await;
            let files = async |path: &str| ModelFiles::open(Path::new(path)).await.expect("files");
            let (found, expected) = (files(&out).await, files(&base).await);
            let json = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).expect("JSON");
            assert_eq!(json(&found.tokenizer), json(&expected.tokenizer), "{name}");
            assert_eq!(found.tokenizer_config, expected.tokenizer_config, "{name}");
            assert_eq!(found.generation_config, expected.generation_config, "{name}");
            assert_eq!(json(&found.config), json(&expected.config), "{name}");
        }
    });
}

#[test]
fn a_merged_gguf_file_is_the_merged_model() {
    let folder = Folder::new("gguf-merged");
    let data = folder.file("text.txt", "The sea is wide. ".repeat(40));
    let mut cases = Vec::new();
    for (fixture, case) in [
        ("llama-odd", "llama-patterns"),
        ("llama-biases", "llama-biases"),
        ("llama-linear", "llama-linear"),
        ("gpt2", "gpt2-all-linear"),
        ("phi3", "phi3-fused"),
    ] {
        for file in ["config.json", "model.safetensors"] {
            let bytes = fs::read(format!("{FIXTURES}/models/{fixture}/{file}")).expect("a fixture");
            folder.file(&format!("{fixture}/{file}"), bytes);
        }
        folder.file(&format!("{fixture}/tokenizer.json"), crate::tiny::tiny_tokenizer());
        cases.push((folder.path(fixture), format!("{FIXTURES}/cases/{case}")));
    }
    for name in ["llama3", "qwen2", "qwen3", "smollm3", "gpt2", "gemma3", "phi3"] {
        let (model, adapter) = (format!("{FIXTURES}/gguf/{name}.gguf"), folder.path(&format!("{name}-adapter")));
        let steps = ["--steps", "2", "--lr", "0.1", "--seq-len", "16", "--rank", "4"];
        succeeded(&[&["train", "--model", &model, "--data", &data, "--out", &adapter], &steps[..]].concat());
        cases.push((model, adapter));
    }
    let out = folder.path("merged.gguf");
    for (model, case) in cases {
        merge(&["--model", &model, "--adapter", &case, "--out", &out, "--type", "f32"]);
        pollster::block_on(async {
            let (found, base) = (open(&out).await, open(&model).await);
            let files = AdapterFiles::open(Path::new(&case)).expect("an adapter");
            let (adapter, _) = base.load_adapter(&files).expect("an adapter");
            let merged = adapter.merge(&base.model).await.expect("a merged model");
            let sequence = ids(24, base.model.config.vocabulary, 5);
            let of = async |model: &Transformer| logits(model, &sequence, 2, 1.0).await;
            let (found, expected, base) = (of(&found.model).await, of(&merged).await, of(&base.model).await);
            same_bits(&model, &found, &expected);
            let far = found.iter().zip(&base).map(|(a, b)| (a - b).abs()).fold(0.0_f32, f32::max);
            assert!(far > 1e-3, "{model}: the adapter does something");
        });
    }
}

#[test]
fn a_tokenizer_of_pieces_is_written_where_scores_stand_for_its_merges() {
    let open = |name: &str| {
        let path = format!("{FIXTURES}/gguf/{name}.gguf");
        pollster::block_on(ModelFiles::open(Path::new(&path))).expect("files")
    };
    let written = |name: &str, change: &dyn Fn(&mut Value)| {
        let mut files = open(name);
        let mut tokenizer: Value = serde_json::from_slice(&files.tokenizer).expect("JSON");
        change(&mut tokenizer);
        files.tokenizer = tokenizer.to_string().into_bytes();
        gguf_metadata(&files.small(), 320)
    };
    type Change<'a> = &'a dyn Fn(&mut Value);
    let changes: [(&str, &str, Change); 7] = [
        ("phi3", "merges are not those of scores", &|it| {
            let merges = it["model"]["merges"].as_array_mut().expect("merges");
            merges.push(merges[0].clone());
        }),
        ("gemma3", "merges are not those of scores", &|it| {
            it["model"]["merges"].as_array_mut().expect("merges").pop();
        }),
        ("gpt2", "`<|im_end|>` takes the white space", &|it| it["added_tokens"][2]["rstrip"] = true.into()),
        ("phi3", "`<|im_end|>` takes the white space", &|it| it["added_tokens"][3]["rstrip"] = false.into()),
        ("gpt2", "`<|im_end|>` is found only as a whole word", &|it| {
            it["added_tokens"][2]["single_word"] = true.into()
        }),
        ("phi3", "otherwise than SentencePiece", &|it| it["normalizer"] = json!({ "type": "NFC" })),
        ("gpt2", "splits text otherwise than gpt-2", &|it| {
            it["pre_tokenizer"] = json!({ "type": "Digits", "individual_digits": false })
        }),
    ];
    for (name, words, change) in changes {
        let error = written(name, change).err().unwrap_or_else(|| panic!("{name}: {words}"));
        assert!(error.code() == "not_yet" && error.to_string().contains(words), "{name}, {words}: {error}");
    }
    let add = |it: &mut Value, id: u32, name: &str| {
        it["added_tokens"].as_array_mut().expect("tokens").push(json!({
            "id": id, "content": name, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        }));
    };
    let codes = |name: &str, change: &dyn Fn(&mut Value)| {
        let warnings = written(name, change).expect("metadata").warnings;
        warnings.into_iter().map(|warning| (warning.code, warning.message)).collect::<Vec<_>>()
    };
    let left_out = codes("gemma3", &|it| add(it, 320, "<picture>"));
    assert!(left_out.len() == 1 && left_out[0].0 == "token_left_out" && left_out[0].1.contains("<picture>"));
    assert_eq!(codes("qwen2", &|_| {})[0].0, "not_composed");
    assert_eq!(codes("gpt2", &|it| it["normalizer"] = json!({ "type": "Sequence", "normalizers": [] })), []);
}

#[test]
fn ids_without_a_token_have_names_that_no_token_has() {
    let path = format!("{FIXTURES}/gguf/gpt2.gguf");
    let files = pollster::block_on(ModelFiles::open(Path::new(&path))).expect("files");
    let tokenizer = String::from_utf8(files.tokenizer).expect("UTF-8");
    let named = tokenizer.replace("<|im_start|>", "[PAD321]");
    let files = ModelFiles { tokenizer: named.into_bytes(), ..files };
    let GgufMetadata { metadata, .. } = gguf_metadata(&files.small(), 323).expect("metadata");
    let tokens = metadata.iter().find_map(|(key, field)| match field {
        Field::Words(words) if key == "tokenizer.ggml.tokens" => Some(words),
        _ => None,
    });
    let tokens = tokens.expect("tokens");
    assert_eq!(tokens[1], "[PAD321]");
    assert_eq!(tokens[320..], ["[PAD320]", "[[PAD321]]", "[PAD322]"]);
}

#[test]
fn llama_cpp_knows_a_phi_3_by_its_name() {
    let folder = Folder::new("gguf-names");
    for (name, own, written) in
        [("phi3", "story", "phi-3 story.gguf"), ("phi3", "My-PHI3", "My-PHI3.gguf"), ("gemma3", "story", "story.gguf")]
    {
        let bytes = fs::read(format!("{FIXTURES}/gguf/{name}.gguf")).expect("a fixture");
        folder.file(&format!("{own}.gguf"), bytes);
        let out = folder.path("new/folder/out.gguf");
        merge(&["--model", &folder.path(&format!("{own}.gguf")), "--out", &out]);
        assert_eq!(read(&out).metadata["general.name"], json!(written));
    }
}

#[test]
fn transformers_is_told_what_a_gguf_file_says_of_its_tokens() {
    let path = format!("{FIXTURES}/gguf/llama.gguf");
    let files = pollster::block_on(ModelFiles::open(Path::new(&path))).expect("files");
    let config: Value = serde_json::from_slice(&files.config).expect("JSON");
    assert_eq!((&config["bos_token_id"], &config["pad_token_id"]), (&json!(1), &Value::Null));
    let tokenizer: Value = serde_json::from_slice(&files.tokenizer_config.expect("a file")).expect("JSON");
    assert_eq!(tokenizer["tokenizer_class"], "PreTrainedTokenizerFast");
    assert_eq!(tokenizer["bos_token"], "<|im_start|>");
}

#[test]
fn a_window_that_llama_cpp_ignores_is_said() {
    let folder = Folder::new("gguf-window");
    for (name, is_said) in [("phi3", true), ("gemma3", false)] {
        let model = format!("{FIXTURES}/gguf/{name}.gguf");
        let said = merge(&["--model", &model, "--out", &folder.path("out.gguf"), "--type", "f32"]);
        assert_eq!(said.contains("warning[window_ignored]"), is_said, "{name}: {said}");
    }
}

#[test]
fn matrices_are_in_the_type_that_was_asked_for() {
    let folder = Folder::new("gguf-types");
    let base = format!("{FIXTURES}/gguf/llama.gguf");
    let [a, b, c, f16] = ["a/m.gguf", "b/m.gguf", "c/m.gguf", "f16.gguf"].map(|name| folder.path(name));
    for path in ["a", "b", "c"] {
        fs::create_dir_all(folder.path(path)).expect("a folder");
    }
    merge(&["--model", &base, "--out", &f16]);
    merge(&["--model", &f16, "--out", &a, "--type", "q8_0"]);
    merge(&["--model", &a, "--out", &b, "--type", "q8_0"]);
    merge(&["--model", &b, "--out", &c, "--type", "q8_0"]);
    let file = |path: &str| fs::read(path).expect("a file");
    assert_eq!(file(&b), file(&c), "what is rounded once is not rounded again");
    for (path, number, matrix) in [(&f16, 1, "F16"), (&a, 7, "Q8_0")] {
        let (gguf, bytes) = (read(path), file(path));
        assert_eq!(gguf.metadata["general.file_type"], json!(number));
        for entry in &gguf.tensors {
            let expected = if entry.shape.len() == 1 { "F32" } else { matrix };
            assert_eq!(entry.dtype.to_string(), expected, "{}", entry.name);
            let mut values = Vec::new();
            to_f32(entry.dtype, &bytes[entry.begin as usize..entry.end as usize], &mut values);
            assert!(values.iter().any(|x| *x != 0.0), "{}", entry.name);
        }
    }
    // The built-in model's down_proj has rows of 688.
    let out = folder.path("base.gguf");
    let said = merge(&["--out", &out, "--type", "q8_0"]);
    assert!(said.contains("warning[f16_instead]") && said.contains("down_proj"), "{said}");
    assert!(read(&out).tensors.iter().any(|entry| entry.dtype.to_string() == "F16"));
}

#[test]
fn q8_0_rounds_to_the_nearest_of_255_steps() {
    let mut bytes = Vec::new();
    let numbers: Vec<f64> = (0..64).map(|i| f64::from(i - 40) * 0.37).collect();
    assert!(to_q8_0(&numbers, &mut bytes));
    assert_eq!(bytes.len(), 68);
    let mut found = Vec::new();
    to_f32(tabtune::files::safetensors::Dtype::Blocks(tabtune::files::blocks::Blocks::Q8_0), &bytes, &mut found);
    for (block, own) in numbers.chunks(32).zip(found.chunks(32)) {
        let most = block.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
        for (x, y) in block.iter().zip(own) {
            assert!((x - f64::from(*y)).abs() <= most / 127.0 * 0.51, "{x} became {y}");
        }
    }
    assert!(!to_q8_0(&[1e9; 32], &mut bytes), "a scale beyond f16");
}

#[test]
fn what_cannot_be_written_is_refused_and_leaves_nothing() {
    let folder = Folder::new("gguf-refused");
    let model = folder.model("model");
    let out = folder.path("out.gguf");
    for (fixture, words) in
        [("llama-yarn", "yarn"), ("gemma3_text", "rope or windows in another order"), ("mistral", "sliding window")]
    {
        let changed = folder.path(fixture);
        for file in ["config.json", "model.safetensors"] {
            let bytes = fs::read(format!("{FIXTURES}/models/{fixture}/{file}")).expect("a fixture");
            folder.file(&format!("{fixture}/{file}"), bytes);
        }
        folder.file(&format!("{fixture}/tokenizer.json"), crate::tiny::tiny_tokenizer());
        refused(&["merge", "--model", &changed, "--out", &out], "not_yet", &["a GGUF file of a", words]);
    }
    let tokenizer = String::from_utf8(crate::tiny::tiny_tokenizer()).expect("UTF-8");
    folder.file("model/tokenizer.json", tokenizer.replace("\"use_regex\":true", "\"use_regex\":false"));
    refused(&["merge", "--model", &model, "--out", &out], "not_yet", &["splits text otherwise than gpt-2"]);
    folder.file("model/tokenizer.json", tokenizer);
    let other = format!("{FIXTURES}/cases/qwen3");
    refused(&["merge", "--model", &model, "--adapter", &other, "--out", &out], "adapter_mismatch", &["self_attn"]);
    merge(&["--model", &model, "--out", &out]);
    refused(&["merge", "--model", &out, "--out", &out], "setting", &["another file than --model"]);
    let part = folder.path("b.gguf.part");
    fs::copy(&out, &part).expect("a copy");
    refused(&["merge", "--model", &part, "--out", &folder.path("b.gguf")], "setting", &["another file than --model"]);
    assert_eq!(fs::read(&part).expect("the file"), fs::read(&out).expect("the file"), "nothing is lost");
    refused_usage(&["merge", "--model", &model, "--out", &folder.path("x")], "--adapter");
    assert!(!Path::new(&format!("{out}.part")).exists());
}
