//! The documentation's table of all errors must match the enum.

use std::fs;

use tabtune::error::Error;

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/error.md");
const ENUM: &str = include_str!("../../src/error.rs");

/// One example of each variant, in the order of the enum, as the reader of the table sees it.
fn examples() -> Vec<Error> {
    let s = str::to_string;
    vec![
        Error::TextEmpty,
        Error::TextTooShort { size: s("9 words"), enough: 100, found: 12, needed: 129 },
        Error::TextTooLarge { bytes: 9_000_000, limit: 8_000_000 },
        Error::TextWhiteSpace { bytes: 600_000, limit: 500_000 },
        Error::TextNotUtf8 { name: s("notes.txt"), offset: 5 },
        Error::NotText { name: s("data.jsonl.gz"), found: s("compressed with gzip"), advice: s("unpack it") },
        Error::DataLine { name: s("chat.jsonl"), line: 3, reason: s("expected value at column 10") },
        Error::UnknownColumns { name: s("table.csv"), line: 1, reason: s("expected `text`, but found `Frage`") },
        Error::DataFormat { name: s("table.csv"), reason: s("no column is named `text`") },
        Error::NoChatTemplate { place: s("`chat.jsonl`, line 1") },
        Error::Messages {
            place: s("`chat.jsonl`, line 3"),
            reason: s("message 2: part 1 of `content` has the type `image_url`"),
        },
        Error::Conversation { place: s("`chat.jsonl`, line 3"), reason: s("roles must alternate") },
        Error::TemplateFails {
            place: s("`chat.jsonl`, line 3"),
            reason: s("line 2 of the template: `+` between str and None"),
        },
        Error::ChatTemplate { reason: s("unknown filter") },
        Error::Safetensors { file: s("model.safetensors"), reason: s("its tensors end at byte 900, the file at 800") },
        Error::Shards {
            file: s("model.safetensors.index.json"),
            reason: s("tensor `model.norm.weight` is missing from `model-00002-of-00002.safetensors`"),
        },
        Error::Gguf {
            file: s("model.gguf"),
            reason: s("tensor `output.weight` has the type IQ4_XS, which is not read"),
        },
        Error::NotSafetensors {
            file: s("model.safetensors"),
            found: s("a pointer of Git LFS"),
            advice: s("run `git lfs pull`"),
        },
        Error::Folder { path: s("my-model"), found: s("holds an adapter"), advice: s("give it as `--adapter`") },
        Error::TensorShape { name: s("model.norm.weight"), expected: vec![576], found: vec![192] },
        Error::TensorMissing { name: s("model.norm.weight"), file: s("model.safetensors") },
        Error::TensorUnknown { name: s("model.layers.0.self_attn.q_proj.bias"), file: s("model.safetensors") },
        Error::TensorNotFinite { name: s("model.norm.weight") },
        Error::TensorType { name: s("model.norm.weight"), dtype: s("F64"), file: s("model.safetensors") },
        Error::TensorNames { first: s("model.norm.weight"), second: s("norm.weight"), file: s("model.safetensors") },
        Error::Quantised { what: s("`quantization_config` of config.json (bitsandbytes)") },
        Error::Tokenizer { reason: s("it has 50257 tokens, the model knows 49152") },
        Error::Config { field: s("hidden_size"), reason: s("supported are multiples of 4") },
        Error::UnsupportedModel { model_type: s("mamba"), supported: s("gpt2, llama, qwen3") },
        Error::UnsupportedField { field: s("hidden_act"), value: s("\"gelu\"") },
        Error::Adapter { file: s("adapter_config.json"), reason: s("`peft_type` is missing") },
        Error::UnsupportedAdapter { feature: s("`use_dora` = true") },
        Error::AdapterReplaces { what: s("the embedding (tensor `base_model.model.model.embed_tokens.weight`)") },
        Error::AdapterIncomplete {
            file: s("adapter_model.safetensors"),
            missing: s("`base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight` and 3 more"),
        },
        Error::AdapterMismatch { reason: s("it adapts `model.layers.30.mlp.up_proj`, the model has 24 layers") },
        Error::Setting { name: s("lr"), value: s("2"), expected: s("a number above 0 and at most 1") },
        Error::PromptTooLong { tokens: 300, context: 256 },
        Error::NotYet { what: s("a GGUF file of a mistral model with a sliding window") },
        Error::Usage { reason: s("--schedule zigzag: expected linear, cosine or constant") },
        Error::Dataset { reason: s("another engine made it") },
        Error::NoGpu { reason: s("this browser has no WebGPU") },
        Error::GpuLimit { what: s("activation"), needed: 500_000_000, limit: 134_217_728 },
        Error::MemoryLimit { needed: 900, limit: 600, advice: s("with checkpointing it needs 500") },
        Error::OutOfMemory { what: s("`keys` of 1048576 bytes") },
        Error::GpuRefused { reason: s("the binding is too large") },
        Error::DeviceLost { reason: s("the driver was reset") },
        Error::NonFinite { step: 17 },
        Error::ExportCheck { row: 0, expected: 1.5, found: 1.25 },
        Error::RunState { reason: s("it was made with another base model") },
        Error::Io { path: s("notes.txt"), reason: s("no such file") },
        Error::Internal { what: s("the plan has no pipeline for `add`") },
    ]
}

fn table() -> String {
    let mut table = "| code | for example | what to do |\n|---|---|---|\n".to_string();
    for error in examples() {
        assert!(!error.to_string().contains('|') && !error.hint().contains('|'), "{error}");
        table.push_str(&format!("| `{}` | {error} | {} |\n", error.code(), error.hint()));
    }
    table
}

#[test]
fn the_table_of_errors_matches_the_enum() {
    let examples = examples();
    let variants = ENUM.lines().filter(|line| line.trim_start().starts_with("#[error(")).count();
    assert_eq!(examples.len(), variants, "every variant of the enum has an example here");
    let mut codes: Vec<&str> = examples.iter().map(Error::code).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), variants, "every variant has a code of its own");
    if std::env::var_os("TABTUNE_WRITE_TABLE").is_some() {
        fs::write(TABLE, table()).expect("a file");
    }
    let kept = fs::read_to_string(TABLE).unwrap_or_default();
    assert_eq!(kept, table(), "src/error.md is out of date: TABTUNE_WRITE_TABLE=1 cargo test the_table_of_errors");
}
