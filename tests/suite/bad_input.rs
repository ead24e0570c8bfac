//! Bad input, which is refused by name, and what good input gives: in the library, and on the command line as a person
//! uses it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tabtune::error::Error;
use tabtune::files::safetensors::write;
use tabtune::model::Config;
use tabtune::text::dataset::{Dataset, DatasetOptions, PAGE_LIMIT};
use tabtune::text::{Document, Tokenizer, TokenizerFiles, check_size};

const BASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/www/public/base");
pub const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
const SHORT: [&str; 6] = ["--batch", "2", "--seq-len", "16", "--steps", "3"];

/// A folder for one test, removed at its end.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("tabtune-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        fs::create_dir_all(self.0.join(name).parent().expect("a folder")).expect("a folder");
        fs::write(self.0.join(name), bytes).expect("a file");
        self.path(name)
    }

    /// A small model that runs: a fixture's weights with a tokenizer that fits them.
    pub fn model(&self, name: &str) -> String {
        for file in ["config.json", "model.safetensors"] {
            self.file(
                &format!("{name}/{file}"),
                fs::read(format!("{FIXTURES}/models/llama/{file}")).expect("a fixture"),
            );
        }
        self.file(&format!("{name}/tokenizer.json"), crate::tiny::tiny_tokenizer());
        self.path(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Exit status, standard output, standard error.
pub fn tabtune(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tabtune")).args(args).output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let (out, err) = (text(output.stdout), text(output.stderr));
    (output.status.code().unwrap_or_else(|| panic!("{args:?} was killed: {err}")), out, err)
}

/// Exit status 1, nothing on standard output, one error with its code, `words` and a hint on standard error.
pub fn refused(args: &[&str], code: &str, words: &[&str]) {
    let (status, out, err) = tabtune(args);
    assert_eq!((status, out.as_str()), (1, ""), "{args:?}: {err}");
    let message: Vec<&str> = err.lines().skip_while(|line| !line.starts_with("error[")).collect();
    assert_eq!(err.matches("error[").count(), 1, "{args:?}: {err}");
    assert!(message[0].starts_with(&format!("error[{code}]: ")), "{args:?}: {err}");
    assert!(
        message.len() == 2 && message[1].ends_with('.'),
        "{args:?}: one line should say what is wrong, one what to do: {err}"
    );
    for word in words {
        assert!(message[0].contains(word), "{args:?}: `{word}` is missing in {err}");
    }
}

pub fn refused_usage(args: &[&str], word: &str) {
    let (status, out, err) = tabtune(args);
    assert_eq!((status, out.as_str()), (2, ""), "{args:?}: {err}");
    assert!(err.contains(word) && !err.contains("panicked"), "{args:?}: {err}");
}

pub fn succeeded(args: &[&str]) -> String {
    let (status, out, err) = tabtune(args);
    assert_eq!(status, 0, "{args:?}: {err}");
    out
}

/// The arguments of a short `tabtune train` with a text, an output folder and `more`.
fn train<'a>(data: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["train", "--data", data, "--out", out][..], &SHORT, more].concat()
}

fn text() -> String {
    (0..60).map(|i| format!("On day {i} the cook found {} spoons in the harbour.\n", i * i % 23)).collect()
}

fn tokenizer() -> Tokenizer {
    let read = |name: &str| fs::read(format!("{BASE}/{name}")).expect("a file of the base");
    let (tokenizer, names, config) = (read("tokenizer.json"), read("tokenizer_config.json"), read("config.json"));
    let files = TokenizerFiles {
        tokenizer: &tokenizer,
        tokenizer_config: Some(&names),
        generation_config: None,
        chat_template: None,
        config: &config,
    };
    Tokenizer::from_files(&files).expect("a tokenizer")
}

#[test]
fn texts_that_cannot_be_used_are_refused_by_name() {
    let folder = Folder::new("texts");
    let out = folder.path("out");
    let refused_text = |name: &str, bytes: &[u8], code: &str, words: &[&str]| {
        refused(&train(&folder.file(name, bytes), &out, &[]), code, words);
    };
    refused_text("empty.txt", b"", "text_empty", &[]);
    refused_text("blank.txt", b" \n\t\n", "text_empty", &[]);
    let found = tokenizer().encode("A cook.", true).expect("ids").len() + 1;
    refused_text("short.txt", b"A cook.", "text_too_short", &["has 2 words", &format!("({found} tokens"), "needs 17"]);
    refused_text("latin.txt", b"a caf\xe9 by the sea", "text_not_utf8", &["latin.txt", "byte 5"]);
    refused_text(
        "lines.jsonl",
        b"{\"text\": \"one\"}\n{\"text\": \"two\"}\n{\"text\": thr\n",
        "data_line",
        &["line 3"],
    );
    refused_text(
        "keys.jsonl",
        b"{\"text\": \"one\"}\n\n{\"words\": \"two\"}\n",
        "unknown_columns",
        &["line 3", "`text`"],
    );
    refused_text("table.csv", b"name,age\na,1\n", "unknown_columns", &["`text`"]);
    refused(&train(&folder.path("nothing.txt"), &out, &[]), "io", &["nothing.txt"]);
    assert!(!Path::new(&out).exists(), "a refused run writes nothing");
}

#[test]
fn a_text_that_is_too_large_is_refused_before_it_is_read() {
    let folder = Folder::new("large");
    let path = folder.file("large.txt", "");
    // A sparse file takes no space, but reading it would take a while.
    fs::File::options().write(true).open(&path).and_then(|file| file.set_len(100_000_000)).expect("a sparse file");
    let start = Instant::now();
    refused(&train(&path, &folder.path("out"), &[]), "text_too_large", &["100000000", "64000000"]);
    assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
    let page = check_size(50_000_000, PAGE_LIMIT);
    assert_eq!(page, Err(Error::TextTooLarge { bytes: 50_000_000, limit: PAGE_LIMIT }));
}

#[test]
fn a_language_that_the_base_has_never_seen_gives_a_warning() {
    let line = "船は朝の港を出て、静かな海を渡って行きました。".repeat(40);
    let options = DatasetOptions { seq_len: 16, holdout: 0.1, holdout_at_most: None, limit_bytes: PAGE_LIMIT };
    let warnings = |text: &str| {
        let document = Document::new("text.txt", text.as_bytes().to_vec());
        Dataset::from_documents(&tokenizer(), &[document], None, &options).expect("rows").warnings
    };
    let found = warnings(&line);
    assert_eq!(found.iter().map(|warning| warning.code).collect::<Vec<_>>(), ["unknown_language", "repeats_itself"]);
    assert!(found[0].message.contains("tokens for each character"), "{}", found[0].message);
    assert!(warnings(&text()).is_empty());
    let folder = Folder::new("language");
    assert!(succeeded(&["info", "--data", &folder.file("text.txt", line)]).contains("warning[unknown_language]"));
}

#[test]
fn checkpoints_that_are_damaged_or_unknown_are_refused_by_name() {
    let folder = Folder::new("checkpoints");
    let model = folder.model("model");
    assert!(succeeded(&["info", "--model", &model]).contains("2 layers"));

    let config = fs::read_to_string(format!("{model}/config.json")).expect("a config");
    let weights = fs::read(format!("{model}/model.safetensors")).expect("weights");
    let length = u64::from_le_bytes(weights[..8].try_into().expect("8 bytes")) as usize;
    let with_header = |edit: &dyn Fn(&mut Value)| {
        let mut header: Value = serde_json::from_slice(&weights[8..8 + length]).expect("a header");
        edit(&mut header);
        let header = header.to_string();
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &weights[8 + length..]].concat()
    };
    let overlapping = with_header(&|header| {
        let norm = &mut header["model.layers.1.input_layernorm.weight"];
        norm["data_offsets"][0] = json!(norm["data_offsets"][0].as_u64().expect("an offset") - 4);
        norm["shape"] = json!([33]);
    });
    let wrong_shape =
        with_header(&|header| header["model.layers.1.self_attn.k_proj.weight"]["shape"] = json!([32, 16]));
    let renamed = with_header(&|header| {
        let norm = header["model.norm.weight"].take();
        header.as_object_mut().expect("an object").remove("model.norm.weight");
        header["model.rms.weight"] = norm;
    });
    let endless = [&(1u64 << 63).to_le_bytes()[..], &weights[8..]].concat();
    let not_finite = {
        let mut weights = weights.clone();
        let last = weights.len() - 4;
        weights[last..].fill(0xff);
        weights
    };
    let with_bias = with_header(&|header| {
        let end = weights.len() - 8 - length;
        header["model.layers.0.self_attn.q_proj.bias"] =
            json!({ "dtype": "F32", "shape": [0], "data_offsets": [end, end] });
    });
    let files: [(&str, &[u8], &str, &[&str]); 11] = [
        ("model.safetensors", &with_bias, "tensor_unknown", &["q_proj.bias", "does not have"]),
        ("model.safetensors", &weights[..weights.len() - 100], "safetensors", &["model.safetensors"]),
        ("model.safetensors", &weights[..5], "safetensors", &["8 bytes"]),
        ("model.safetensors", &overlapping, "safetensors", &["overlaps"]),
        ("model.safetensors", &endless, "safetensors", &["9223372036854775808"]),
        (
            "model.safetensors",
            &wrong_shape,
            "tensor_shape",
            &["layers.1.self_attn.k_proj.weight", "[16, 32]", "[32, 16]"],
        ),
        ("model.safetensors", &renamed, "tensor_missing", &["model.norm.weight"]),
        ("model.safetensors", &not_finite, "tensor_not_finite", &["weight"]),
        ("tokenizer.json", b"{\"hello\": 1}", "tokenizer", &[]),
        ("tokenizer.json", b"\x89PNG", "tokenizer", &[]),
        ("config.json", b"[]", "config", &[]),
    ];
    for (name, bytes, code, words) in files {
        let broken = folder.model("broken");
        folder.file(&format!("broken/{name}"), bytes);
        refused(&["info", "--model", &broken], code, words);
    }
    let configs = [
        ("\"model_type\": \"llama\"", "\"model_type\": \"mamba\"", "unsupported_model", "mamba"),
        ("\"hidden_act\": \"silu\"", "\"hidden_act\": \"gelu\"", "unsupported_field", "hidden_act"),
        ("\"rope_type\": \"default\"", "\"rope_type\": \"spiral\"", "unsupported_field", "rope_parameters"),
        ("\"rope_type\": \"default\"", "\"rope_type\": \"longrope\"", "unsupported_field", "longrope"),
        ("\"rope_type\": \"default\"", "\"rope_type\": \"linear\"", "config", "factor"),
        (
            "\"rope_type\": \"default\"",
            "\"rope_type\": \"default\", \"partial_rotary_factor\": 0.5",
            "unsupported_field",
            "partial_rotary_factor",
        ),
        ("\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3", "config", "num_key_value_heads"),
        ("\"hidden_size\": 32", "\"hidden_size\": -1", "config", "hidden_size"),
        ("\"vocab_size\": 96,", "", "config", "vocab_size"),
    ];
    for (from, to, code, word) in configs {
        let error = Config::parse(config.replace(from, to).as_bytes()).expect_err(to);
        assert!(
            error.code() == code && error.to_string().contains(word) && error.hint().ends_with('.'),
            "{to}: {error}"
        );
    }
    folder.file("broken/config.json", config.replace("\"llama\"", "\"mamba\""));
    refused(&["info", "--model", &folder.path("broken")], "unsupported_model", &["mamba"]);
    folder.file("broken/config.json", &config);
    fs::remove_file(folder.path("broken/model.safetensors")).expect("a file");
    refused(&["info", "--model", &folder.path("broken")], "folder", &["model.safetensors"]);
}

#[test]
fn adapters_that_do_not_fit_are_refused() {
    let folder = Folder::new("adapters");
    let other = format!("{FIXTURES}/cases/llama-all-linear");
    refused(&["info", "--adapter", &other], "adapter_mismatch", &["another model"]);
    let data = folder.file("text.txt", text());
    refused(&["eval", "--data", &data, "--adapter", &other], "adapter_mismatch", &[]);
    refused(&["generate", "--prompt", "The", "--adapter", &other], "adapter_mismatch", &[]);
    refused(&train(&data, &folder.path("out"), &["--init", &other]), "adapter_mismatch", &[]);
    refused(&["info", "--adapter", &folder.path("none")], "io", &["none"]);

    let model = folder.model("model");
    let config = fs::read_to_string(format!("{other}/adapter_config.json")).expect("a config");
    let weights = fs::read(format!("{other}/adapter_model.safetensors")).expect("weights");
    let conv = write(&[("base_model.model.conv.lora_A.weight".to_string(), vec![1], &[0.0])], &[]);
    let dora = json!({ "peft_type": "LORA", "r": 8, "lora_alpha": 16, "use_dora": true }).to_string();
    let files: [(&str, &[u8], &str, &[&str]); 5] = [
        (&config, &weights[..weights.len() - 8], "safetensors", &["adapter_model.safetensors"]),
        (&config, &conv, "adapter_mismatch", &["conv"]),
        (&dora, &weights, "unsupported_adapter", &["use_dora"]),
        ("{\"peft_type\": \"IA3\"}", &weights, "unsupported_adapter", &["IA3"]),
        ("no JSON", &weights, "adapter", &["adapter_config.json"]),
    ];
    for (config, weights, code, words) in files {
        folder.file("adapter/adapter_config.json", config);
        folder.file("adapter/adapter_model.safetensors", weights);
        refused(&["generate", "--prompt", "The", "--model", &model, "--adapter", &folder.path("adapter")], code, words);
    }
}

#[test]
fn merging_keeps_the_layout_of_the_base_and_never_overwrites_anything() {
    let folder = Folder::new("merge");
    let (model, out) = (folder.model("model"), folder.path("out"));
    folder.file("model/generation_config.json", "{\"eos_token_id\": 2}");
    let adapter = format!("{FIXTURES}/cases/llama-layer-1");
    let merge = |out: &str| tabtune(&["merge", "--model", &model, "--adapter", &adapter, "--out", out]);
    let (status, printed, err) = merge(&out);
    assert_eq!((status, printed.as_str()), (0, ""), "{err}");
    let mut names: Vec<_> =
        fs::read_dir(&out).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect();
    names.sort();
    assert_eq!(names, ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"]);
    let read = |folder: &str| fs::read(format!("{folder}/model.safetensors")).expect("weights");
    let (before, after) = (read(&model), read(&out));
    let header = 8 + u64::from_le_bytes(before[..8].try_into().expect("8 bytes")) as usize;
    assert_eq!((before.len(), &before[..header]), (after.len(), &after[..header]), "the same header");
    assert_ne!(before, after);

    let data = folder.file("text.txt", text());
    let loss = |args: &[&str]| {
        let line = succeeded(&[&["eval", "--data", &data, "--seq-len", "16", "--json"], args].concat());
        serde_json::from_str::<Value>(&line).expect("JSON")["loss"].as_f64().expect("a loss")
    };
    let (merged, attached) = (loss(&["--model", &out]), loss(&["--model", &model, "--adapter", &adapter]));
    assert!((merged / attached - 1.0).abs() < 1e-6, "{merged} is not {attached}");
    assert!((loss(&["--model", &model]) - merged).abs() > 1e-4, "the adapter changes the loss");

    refused(&["merge", "--model", &model, "--adapter", &adapter, "--out", &out], "setting", &["out", "empty"]);
    refused(&["merge", "--model", &model, "--adapter", &adapter, "--out", &model], "setting", &["out", "empty"]);
    refused(&["merge", "--model", &model, "--adapter", &adapter, "--out", &data], "setting", &["out", "empty"]);
    assert_eq!(read(&out), after, "nothing was overwritten");
    let other = format!("{FIXTURES}/cases/llama-odd-rank-5");
    let none = folder.path("none");
    refused(&["merge", "--model", &model, "--adapter", &other, "--out", &none], "adapter_mismatch", &["self_attn"]);
    assert!(!Path::new(&none).exists(), "a refused merge leaves nothing behind");
    refused_usage(&["merge", "--adapter", &adapter, "--out", &none], "--model");
}

#[test]
fn a_config_that_asks_for_a_terabyte_is_refused_before_anything_is_allocated() {
    let folder = Folder::new("terabyte");
    let model = folder.model("model");
    let config: Value =
        serde_json::from_str(&fs::read_to_string(format!("{model}/config.json")).expect("a config")).expect("JSON");
    let with = |fields: Value| {
        let mut config = config.clone();
        fields.as_object().expect("fields").iter().for_each(|(field, value)| config[field] = value.clone());
        config.to_string()
    };
    // 10^12 bytes of weights, 10^12 bytes of position tables, and the maximum of every field.
    let wide = json!({ "hidden_size": 16384, "intermediate_size": 65536, "num_hidden_layers": 80,
        "num_attention_heads": 128 });
    let long = json!({ "max_position_embeddings": 1048576, "num_attention_heads": 2, "head_dim": 128 });
    let most = json!({ "hidden_size": 16384, "intermediate_size": 65536, "num_hidden_layers": 128,
        "vocab_size": 1000000, "num_attention_heads": 256, "num_key_value_heads": 256, "head_dim": 128,
        "max_position_embeddings": 1048576 });
    for (fields, word) in [(wide, "parameters"), (long, "max_position_embeddings"), (most, "parameters")] {
        let error = Config::parse(with(fields).as_bytes()).expect_err("it is too large");
        assert!(error.code() == "config" && error.to_string().contains(word), "{error}");
    }
    // A model of 10^10 bytes is plausible, so this config is compared with the small file before anything is allocated.
    let start = Instant::now();
    let large = json!({ "hidden_size": 4096, "intermediate_size": 16384, "num_hidden_layers": 10,
        "num_attention_heads": 32 });
    folder.file("model/config.json", with(large));
    refused(&["info", "--model", &model], "tensor_shape", &["4096"]);
    assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
}

#[test]
fn a_run_follows_the_adapter_that_it_starts_from_and_flags_may_not_contradict_it() {
    let folder = Folder::new("follow");
    let (model, data, out) = (folder.model("model"), folder.file("text.txt", text()), folder.path("out"));
    let init = format!("{FIXTURES}/cases/llama-layer-1");
    let start = ["--model", &model, "--init", &init];
    for more in
        [["--rank", "4"], ["--alpha", "16"], ["--targets", "q_proj,gate_proj,down_proj"], ["--targets", "q_proj"]]
    {
        refused_usage(&train(&data, &out, &[&start[..], &more].concat()), "3 linears");
    }
    succeeded(&train(&data, &out, &[&start[..], &["--rank", "8", "--alpha", "40"]].concat()));
    let config: Value =
        serde_json::from_str(&fs::read_to_string(format!("{out}/adapter_config.json")).expect("a config"))
            .expect("JSON");
    let modules =
        ["self_attn.q_proj", "mlp.gate_proj", "mlp.down_proj"].map(|linear| format!("model.layers.1.{linear}"));
    assert_eq!(
        (&config["r"], &config["lora_alpha"], &config["target_modules"]),
        (&json!(8), &json!(40), &json!(modules))
    );
}

#[cfg(unix)]
#[test]
fn a_log_may_go_into_a_pipe() {
    let folder = Folder::new("pipe");
    let (model, data, out) = (folder.model("model"), folder.file("text.txt", text()), folder.path("out"));
    let printed = succeeded(&train(&data, &out, &["--model", &model, "--log", "/dev/stdout"]));
    let events: Vec<Value> = printed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
    assert_eq!((of("config"), of("step"), of("done")), (1, 3, 1), "{printed}");
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let folder = Folder::new("settings");
    let (data, out, model) = (folder.file("text.txt", text()), folder.path("out"), folder.model("model"));
    for (flag, values) in [
        ("--rank", ["0", "33"]),
        ("--lr", ["0", "2"]),
        ("--lr", ["NaN", "-1"]),
        ("--alpha", ["NaN", "0"]),
        ("--warmup", ["1", "-1"]),
    ] {
        for value in values {
            let setting = format!("{flag}={value}");
            refused(
                &train(&data, &out, &["--model", &model, &setting]),
                "setting",
                &[&format!("`{}` = {value}", &flag[2..])],
            );
        }
    }
    let start = ["train", "--data", &data, "--out", &out, "--model", &model];
    for (flag, value) in
        [("--seq-len", "0"), ("--seq-len", "65"), ("--batch", "0"), ("--steps", "0"), ("--targets", "lm_head")]
    {
        refused(&[&start[..], &[flag, value]].concat(), "setting", &[&flag[2..], value]);
    }
    for (name, values) in [("temperature", ["-1", "inf"]), ("top-p", ["0", "1.1"]), ("strength", ["inf", "NaN"])] {
        for value in values {
            let setting = format!("--{name}={value}");
            refused(
                &["generate", "--model", &model, "--prompt", "The", &setting],
                "setting",
                &[&format!("`{name}` = {value}")],
            );
        }
    }
    for (flag, value) in
        [("--epochs", "0"), ("--epochs", "NaN"), ("--lr", "-1"), ("--batch", "1025"), ("--accumulate", "1025")]
    {
        refused(&[&start[..], &[flag, value]].concat(), "setting", &[&format!("`{}` = {value}", &flag[2..])]);
    }
    let eval = ["eval", "--data", &data, "--model", &model];
    for (flag, value) in
        [("--seq-len", "0"), ("--seq-len", "65"), ("--batch", "0"), ("--batch", "1025"), ("--strength", "NaN")]
    {
        refused(&[&eval[..], &[flag, value]].concat(), "setting", &[&format!("`{}` = {value}", &flag[2..])]);
    }
    refused(&["generate", "--model", &model, "--prompt", &"sea ".repeat(17)], "prompt_too_long", &["68 tokens", "64"]);
    assert!(!Path::new(&out).exists(), "a refused run writes nothing");
}

#[test]
fn a_run_that_cannot_write_fails_before_it_trains_and_never_overwrites_a_text() {
    let folder = Folder::new("written");
    let (data, out) = (folder.file("text.txt", text()), folder.path("out"));
    let file = folder.file("file", "mine");
    let (status, _, err) = tabtune(&train(&data, &file, &[]));
    assert!(status == 1 && err.contains("error[io]") && !err.contains("step 1"), "{err}");
    refused(&train(&data, &out, &["--log", &folder.path("none/run.jsonl")]), "io", &["run.jsonl"]);
    refused(&train(&data, &out, &["--log", &data]), "setting", &["log", "text.txt"]);
    let other = folder.file("other.txt", text());
    refused(&train(&data, &out, &["--eval-data", &other, "--log", &other]), "setting", &["log", "other.txt"]);
    for text_file in [&data, &other] {
        assert_eq!(fs::read_to_string(text_file).expect("a text"), text());
    }
    assert_eq!(fs::read_to_string(&file).expect("a file"), "mine");
    assert!(!Path::new(&out).exists(), "a refused run leaves nothing behind");
}

#[test]
fn a_run_whose_loss_is_not_finite_keeps_the_last_finite_adapter_and_exits_3() {
    let folder = Folder::new("not-finite");
    let (model, data) = (folder.model("model"), folder.file("text.txt", text()));
    let (out, log) = (folder.path("out"), folder.path("run.jsonl"));
    // A is zero, so the logits are the base's; B is so large that the norm of A's gradient overflows.
    let name = |which: &str| format!("base_model.model.model.layers.0.self_attn.q_proj.lora_{which}.weight");
    let (a, b) = (vec![0.0; 4 * 32], vec![1e30; 32 * 4]);
    let weights = write(&[(name("A"), vec![4, 32], &a), (name("B"), vec![32, 4], &b)], &[]);
    let config = json!({
        "peft_type": "LORA",
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ["q_proj"],
        "layers_to_transform": [0],
    });
    folder.file("init/adapter_config.json", config.to_string());
    folder.file("init/adapter_model.safetensors", &weights);
    let init = folder.path("init");
    let args = train(&data, &out, &["--model", &model, "--init", &init, "--log", &log, "--save-every", "0"]);
    let (status, printed, err) = tabtune(&args);
    assert_eq!((status, printed.as_str()), (3, ""), "{err}");
    let said: Vec<&str> = err.lines().filter(|line| line.contains("non_finite")).collect();
    assert_eq!(said.len(), 1, "{err}");
    for word in ["error[non_finite]: step 1:", "not a finite number", "adapter of step 0 is kept", &out, "--lr"] {
        assert!(said[0].contains(word), "no `{word}` in {err}");
    }
    assert!(err.ends_with(&format!("{}\n", said[0])), "it is the last line: {err}");
    let kept = fs::read(format!("{out}/adapter_model.safetensors")).expect("an adapter");
    let values =
        |bytes: &[u8]| bytes[8 + u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize..].to_vec();
    assert_eq!(values(&kept), values(&weights), "the adapter is the one before the step");
    let end = fs::read_to_string(&log).expect("a log").lines().last().map(str::to_string).expect("a line");
    assert!(end.contains("\"reason\":\"non_finite\""), "{end}");
    assert!(!Path::new(&format!("{out}/run_state.safetensors")).exists(), "there is nothing to resume");
}

#[test]
fn a_run_state_under_its_old_name_is_resumed_and_goes_with_its_run() {
    let folder = Folder::new("old-name");
    let (model, data, out) = (folder.model("model"), folder.file("text.txt", text()), folder.path("out"));
    let (old, new) = (format!("{out}/checkpoint.safetensors"), format!("{out}/run_state.safetensors"));
    let start = ["train", "--data", &data, "--out", &out, "--model", &model, "--checkpoint-every", "0"];
    let run = ["--batch", "2", "--seq-len", "16", "--steps", "200", "--eval-every", "10"];
    let mut killed = Command::new(env!("CARGO_BIN_EXE_tabtune"))
        .args([&start[..], &run].concat())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let said = BufReader::new(killed.stderr.take().expect("standard error")).lines();
    let said = said.map_while(|line| line.ok()).find(|line| line.starts_with("step 20: "));
    killed.kill().expect("the run goes on");
    killed.wait().expect("it has ended");
    assert!(said.is_some() && Path::new(&new).exists(), "a state is saved after every step: {said:?}");

    fs::rename(&new, &old).expect("a run state");
    refused_usage(&[&start[..], &["--resume", &out, "--packing"]].concat(), "leave out the flags that change them");
    let (status, _, err) = tabtune(&[&start[..], &["--resume", &out]].concat());
    assert!(status == 0 && err.contains("200 steps"), "{err}");
    assert!(!Path::new(&old).exists() && !Path::new(&new).exists(), "a run that has ended leaves no state");
    refused(&[&start[..], &["--resume", &out]].concat(), "run_state", &["no run state"]);
}

#[test]
#[cfg(target_os = "linux")]
fn without_a_runtime_folder_standard_error_stays_empty() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    for empty in [false, true] {
        let mut info = Command::new(env!("CARGO_BIN_EXE_tabtune"));
        info.args(["info", "--data", readme]).env_remove("XDG_RUNTIME_DIR");
        if empty {
            info.env("XDG_RUNTIME_DIR", "");
        }
        let output = info.output().expect("the binary runs");
        assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_result_that_cannot_be_written_is_an_error() {
    let folder = Folder::new("full");
    let (data, model) = (folder.file("text.txt", text()), folder.model("model"));
    let commands: [&[&str]; 3] = [
        &["eval", "--data", &data, "--model", &model, "--json"],
        &["generate", "--prompt", "- The", "--model", &model],
        &["info", "--model", &model],
    ];
    for args in commands {
        let full = fs::File::options().write(true).open("/dev/full").expect("a full disk");
        let output =
            Command::new(env!("CARGO_BIN_EXE_tabtune")).args(args).stdout(full).output().expect("the binary runs");
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && err.contains("error[io]: `standard output`"), "{args:?}: {err}");
    }
}

#[test]
fn an_evaluation_reports_what_it_leaves_out() {
    let folder = Folder::new("left-out");
    let long = json!({ "text": "sea ".repeat(40) }).to_string();
    let data = folder.file("lines.jsonl", format!("{long}\n{{\"text\": \"boat\"}}\n"));
    let eval = ["eval", "--data", &data, "--seq-len", "16", "--json"];
    let (status, out, err) = tabtune(&eval);
    assert!(status == 0 && err.contains("warning[rows_cut]: 1 of 2"), "{err}");
    // Sixteen labels of the long line, and those of the short line with its end-of-text token.
    let object: Value = serde_json::from_str(&out).expect("one JSON object");
    let short = tokenizer().encode("boat", true).expect("ids").len();
    assert_eq!(object["tokens"], json!(16 + short), "{object}");
    let prompts =
        folder.file("prompts.jsonl", json!({ "prompt": "sea ".repeat(40), "completion": "boat" }).to_string());
    let (status, out, err) = tabtune(&["eval", "--data", &prompts, "--seq-len", "16", "--json"]);
    assert!(status == 0 && err.contains("warning[nothing_measured]: "), "{err}");
    let object: Value = serde_json::from_str(&out).expect("one JSON object");
    assert_eq!(object, json!({ "loss": null, "perplexity": null, "tokens": 0 }));
    let (_, out, _) = tabtune(&["eval", "--data", &prompts, "--seq-len", "16"]);
    assert_eq!(out, "no loss: nothing was measured\n");
    let train = ["train", "--data", &data, "--eval-data", &prompts, "--seq-len", "16", "--out", "unused"];
    refused(&train, "data_format", &["prompts.jsonl", "nothing to learn"]);
}

/// The number in `text` after these words.
fn number(text: &str, before: &str) -> u64 {
    let rest = text.split(before).nth(1).unwrap_or_else(|| panic!("no `{before}` in {text}"));
    rest.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

/// The bytes that a run held on the device at its peak.
fn peak(args: &[&str]) -> u64 {
    let (status, _, err) = tabtune(args);
    assert_eq!(status, 0, "{err}");
    number(&err, "memory at its peak: ")
}

#[test]
fn the_memory_that_info_reports_is_what_a_run_takes() {
    let folder = Folder::new("memory");
    let (data, model, out) = (folder.file("text.txt", text()), folder.model("model"), folder.path("out"));
    let info = succeeded(&["info", "--model", &model]);
    let run = ["train", "--data", &data, "--out", &out, "--model", &model, "--steps", "1"];
    let mut before = u64::MAX;
    for (flags, words) in [
        (&[][..], "): about "),
        (&["--lean"], "-lean: about "),
        (&["--lean", "--checkpointing"], "-checkpointing: about "),
    ] {
        let (reported, taken) = (number(&info, words), peak(&[&run[..], flags].concat()));
        assert!((reported as f64 / taken as f64 - 1.0).abs() < 0.05, "{reported} is not {taken}");
        assert!(taken < before, "{taken} {before}");
        before = taken;
    }
}

#[test]
fn packing_fits_short_examples_into_fewer_rows() {
    let folder = Folder::new("packing");
    let lines = (0..60).map(|i| format!("{{\"text\": \"On day {i}\"}}\n")).collect::<String>();
    let (data, model) = (folder.file("examples.jsonl", lines), folder.model("model"));
    let (out, log) = (folder.path("out"), folder.path("log.jsonl"));
    let info = succeeded(&["info", "--data", &data, "--model", &model]);
    let [alone, packed] = ["tokens, ", "with --packing they are "].map(|before| number(&info, before));
    assert!(packed * 3 < alone, "{info}");
    succeeded(&[
        "train",
        "--data",
        &data,
        "--out",
        &out,
        "--model",
        &model,
        "--steps",
        "1",
        "--packing",
        "--log",
        &log,
    ]);
    let log = fs::read_to_string(&log).expect("a log");
    let config: serde_json::Value = serde_json::from_str(log.lines().next().expect("a line")).expect("JSON");
    assert_eq!((config["rows"].as_u64(), config["settings"]["packing"].as_bool()), (Some(packed), Some(true)));
}

#[test]
fn a_run_over_the_memory_limit_takes_less_or_is_refused_with_what_would_fit() {
    let folder = Folder::new("limit");
    let (data, model, out) = (folder.file("text.txt", text()), folder.model("model"), folder.path("out"));
    let run = ["train", "--data", &data, "--out", &out, "--model", &model, "--steps", "1", "--weights", "f32"];
    let refuse = |limit: u64, words: &[&str]| {
        refused(&[&run[..], &["--memory-limit", &limit.to_string()]].concat(), "memory_limit", words);
    };
    let smaller: [(&[&str], &str); 4] = [
        (&["--lean"], "with lean recomputation it needs "),
        (&["--lean", "--checkpointing"], "with lean recomputation, checkpointing it needs "),
        (
            &["--lean", "--checkpointing", "--batch", "2", "--accumulate", "2"],
            "checkpointing, batch 2 and accumulate 2 (the same steps) it needs ",
        ),
        (
            &["--lean", "--checkpointing", "--batch", "1", "--accumulate", "4", "--seq-len", "32"],
            "checkpointing, batch 1 and accumulate 4 (the same steps), seq-len 32 (",
        ),
    ];
    // Each of these runs fits where the one before it does not.
    let mut before = peak(&run);
    for (flags, words) in smaller {
        let taken = peak(&[&run[..], flags].concat());
        // What is foretold may be a few per cent too much.
        let limit = taken * 21 / 20;
        assert!(limit < before, "{flags:?}: {taken} {before}");
        if flags.contains(&"--seq-len") {
            refuse(limit, &[words]);
        } else {
            let (status, _, err) = tabtune(&[&run[..], &["--memory-limit", &limit.to_string()]].concat());
            assert_eq!(status, 0, "{err}");
            assert!(err.contains("warning[less_memory]") && err.contains(words), "{err}");
            assert!(number(&err, "memory at its peak: ") <= limit, "{err}");
        }
        before = taken;
    }
    refuse(1000, &["even with lean recomputation, checkpointing, batch 1", "of them for the weights"]);

    // Numbers are not read: what is wrong with them is not found out.
    let path = format!("{model}/model.safetensors");
    let mut weights = fs::read(&path).expect("a file");
    let end = weights.len();
    weights[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&path, weights).expect("a file");
    refuse(1000, &[]);
    refused(&run, "tensor_not_finite", &[]);
}

#[test]
fn weights_are_stored_as_asked_and_smaller_where_the_memory_limit_asks_for_it() {
    let folder = Folder::new("weights");
    let (data, model, out, log) =
        (folder.file("text.txt", text()), folder.model("model"), folder.path("out"), folder.path("log.jsonl"));
    let run = ["train", "--data", &data, "--out", &out, "--model", &model, "--steps", "1", "--seq-len", "16"];
    let run = [&run[..], &["--log", &log]].concat();
    let chosen = || {
        let lines = fs::read_to_string(&log).expect("a log");
        let config: Value = serde_json::from_str(lines.lines().next().expect("a line")).expect("JSON");
        config["weights"].as_str().expect("a name").to_string()
    };
    assert_eq!((peak(&run) > 0, chosen()), (true, "f32".to_string()));
    let smallest = ["--lean", "--checkpointing", "--batch", "1", "--accumulate", "4"];
    let mut before = peak(&[&run[..], &smallest].concat());
    for storage in ["f16", "int8", "int4"] {
        let taken = peak(&[&run[..], &smallest, &["--weights", storage]].concat());
        assert_eq!(chosen(), storage);
        let limit = (taken + before) / 2;
        assert!(taken < limit && limit < before, "{storage}: {taken} {before}");
        let (status, _, err) = tabtune(&[&run[..], &["--memory-limit", &limit.to_string()]].concat());
        assert_eq!(status, 0, "{err}");
        assert!(err.contains(&format!("warning[smaller_weights]: the weights are stored as {storage}")), "{err}");
        assert!(number(&err, "memory at its peak: ") <= limit, "{err}");
        assert_eq!(chosen(), storage);
        let info = succeeded(&["info", "--model", &model, "--adapter", &out]);
        assert!(info.contains(&format!("trained on weights in {storage}")), "{info}");
        before = taken;
    }
    refused(&[&run[..], &["--memory-limit", "1000"]].concat(), "memory_limit", &["of them for the weights"]);
    let (_, _, err) = tabtune(&[&run[..], &["--method", "full", "--weights", "int8"]].concat());
    assert!(err.contains("warning[rounded_start]") && err.contains("int8"), "{err}");
    refused_usage(&[&run[..], &["--weights", "int5"]].concat(), "int5");
}

#[test]
fn dropout_of_the_base_is_said_not_to_be_computed() {
    let folder = Folder::new("dropout");
    let model = folder.model("model");
    let config = fs::read_to_string(format!("{model}/config.json")).expect("a config");
    let (data, out) = (folder.file("text.txt", text()), folder.path("out"));
    let run = ["train", "--data", &data, "--out", &out, "--model", &model, "--steps", "1"];
    assert!(!tabtune(&run).2.contains("base_dropout"));
    folder.file("model/config.json", config.replacen('{', r#"{"attention_dropout": 0.1,"#, 1));
    let (status, _, err) = tabtune(&run);
    let words = "warning[base_dropout]: config.json sets attention_dropout above 0";
    assert!(status == 0 && err.contains(words), "{err}");
    assert!(!tabtune(&["eval", "--data", &data, "--model", &model]).2.contains("base_dropout"));
}

#[test]
fn wrong_usage_exits_2() {
    let folder = Folder::new("usage");
    let (data, out) = (folder.file("text.txt", text()), folder.path("out"));
    refused(&train(&data, &out, &["--resume", "nowhere"]), "io", &["nowhere"]);
    refused(&train(&data, &out, &["--resume", &folder.0.display().to_string()]), "run_state", &["no run state"]);
    refused(&train(&data, &out, &["--dropout", "1"]), "setting", &["dropout", "below 1"]);
    let conversation = folder.file("chat.jsonl", "{\"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}\n");
    refused(&train(&conversation, &out, &[]), "no_chat_template", &["chat.jsonl", "line 1"]);

    let usage: [(&[&str], &str); 6] = [
        (&["train", "--data", &data], "--out"),
        (&["train", "--data", &data, "--out", &out, "--speed", "9"], "--speed"),
        (&["train", "--data", &data, "--out", &out, "--rank", "many"], "--rank"),
        (&["train", "--data", &data, "--out", &out, "--schedule", "zigzag"], "zigzag"),
        (&["train", "--data", &data, "--out", &out, "--steps", "3", "--epochs", "1"], "--epochs"),
        (&["info"], "--model"),
    ];
    for (args, word) in usage {
        refused_usage(args, word);
    }
}

/// The fields of an event, in the order in which product.md lists them.
fn fields(kind: &str) -> Option<&'static [&'static str]> {
    match kind {
        "phase" => Some(&["phase", "done", "total"]),
        "step" => Some(&["step", "loss", "gradNorm", "lr", "tokens", "tokensPerSecond", "etaMs"]),
        "eval" => Some(&["step", "loss", "tokens"]),
        "sample" => Some(&["step", "prompt", "text"]),
        "checkpoint" => Some(&["step"]),
        "warning" => Some(&["code", "message"]),
        "done" => Some(&["step", "baseLoss", "bestLoss", "bestStep", "reason"]),
        _ => None,
    }
}

#[test]
fn a_run_writes_the_adapter_and_a_log_and_the_other_commands_use_them() {
    let folder = Folder::new("run");
    let (data, out, log) = (folder.file("text.txt", text()), folder.path("out"), folder.path("run.jsonl"));
    let samples = [
        "--rank",
        "2",
        "--targets",
        "q_proj,v_proj",
        "--sample-every",
        "3",
        "--prompt",
        "The cook",
        "--eval-every",
        "1",
        "--log",
        &log,
    ];
    assert_eq!(succeeded(&train(&data, &out, &samples)), "", "a run writes nothing to standard output");

    let mut names: Vec<_> =
        fs::read_dir(&out).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect();
    names.sort();
    assert_eq!(names, ["adapter_config.json", "adapter_model.safetensors"]);
    let events: Vec<Value> = fs::read_to_string(&log)
        .expect("a log")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let kind = |event: &Value| event["type"].as_str().expect("a type").to_string();
    for event in &events {
        let Some(fields) = fields(&kind(event)) else { continue };
        let mut found: Vec<&str> = event.as_object().expect("an object").keys().map(String::as_str).collect();
        let mut expected = [&["type"], fields].concat();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{event}");
    }
    let count = |name: &str| events.iter().filter(|event| kind(event) == name).count();
    assert_eq!([count("config"), count("step"), count("eval"), count("sample"), count("done")], [1, 3, 4, 1, 1]);
    assert_eq!((kind(&events[0]), events[0]["baseSha256"].as_str().map(str::len)), ("config".to_string(), Some(64)));
    assert_eq!(
        (kind(&events[events.len() - 1]), &events[events.len() - 1]["reason"]),
        ("done".to_string(), &json!("finished"))
    );

    let evaluated = succeeded(&["eval", "--data", &data, "--adapter", &out, "--seq-len", "16", "--json"]);
    let object: Value = serde_json::from_str(&evaluated).expect("one JSON object");
    let keys: Vec<&String> = object.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["loss", "perplexity", "tokens"]);
    let (loss, perplexity) =
        (object["loss"].as_f64().expect("a number"), object["perplexity"].as_f64().expect("a number"));
    assert!(
        (loss.exp() / perplexity - 1.0).abs() < 1e-9 && loss > 0.0 && object["tokens"].as_u64() > Some(500),
        "{object}"
    );

    let greedy = ["generate", "--prompt", "The cook", "--adapter", &out, "--temperature", "0", "--max-tokens", "12"];
    let once = succeeded(&greedy);
    assert_eq!(succeeded(&greedy), once);
    assert!(
        !once.trim().is_empty() && !once.contains("The cook"),
        "expected the generated text without the prompt: {once}"
    );

    let config = &events[0];
    assert_eq!(
        (&config["weights"], &config["initSha256"], config["dataSha256"].as_str().map(str::len)),
        (&json!("f16"), &Value::Null, Some(64))
    );

    // Nothing better than the start was found, so the last adapter is kept and its loss is reported.
    let worse = folder.path("worse");
    succeeded(&train(
        &data,
        &worse,
        &["--init", &out, "--lr", "1", "--warmup", "0", "--weights", "f32", "--log", &log],
    ));
    let events: Vec<Value> = fs::read_to_string(&log)
        .expect("a log")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert!(events.iter().any(|event| event["code"] == "no_improvement"), "{events:?}");
    let last = events.iter().rfind(|event| event["type"] == "eval").expect("an evaluation");
    let done = events.last().expect("an end");
    assert_eq!((&done["bestStep"], &done["bestLoss"]), (&json!(3), &last["loss"]));
    assert!(done["bestLoss"].as_f64() > done["baseLoss"].as_f64(), "{done}");
    assert_eq!((&events[0]["weights"], events[0]["initSha256"].as_str().map(str::len)), (&json!("f32"), Some(64)));

    refused_usage(&train(&data, &out, &["--init", &out, "--rank", "3"]), "rank 2");
    refused_usage(&train(&data, &out, &["--init", &out, "--targets", "attention"]), "q_proj,v_proj");
    succeeded(&train(&data, &folder.path("further"), &["--init", &out, "--rank", "2"]));
}
