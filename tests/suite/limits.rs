//! Every limit on what a file may ask for: a file at the limit is accepted, a file above it is refused.

use serde_json::{Value, json};
use tabtune::adapter::peft::LONGEST_HEADER;
use tabtune::adapter::{AdapterFiles, AdapterSpec};
use tabtune::files::safetensors::write;
use tabtune::model::Config;
use tabtune::text::{Tokenizer, TokenizerFiles};

const CONFIG: &str = include_str!("../fixtures/models/llama/config.json");

/// The first of the two values must be accepted, the second must be refused with this code.
fn check<T>(what: &str, code: &str, values: [Value; 2], read: impl Fn(&Value) -> tabtune::error::Result<T>) {
    let [most, more] = values;
    assert_eq!(read(&most).err(), None, "{what} = {most:.60}");
    let error = read(&more).err().unwrap_or_else(|| panic!("{what} = {more:.60} is not refused"));
    assert_eq!(error.code(), code, "{what} = {more:.60}: {error}");
}

#[test]
fn config_json() {
    let mut config: Value = serde_json::from_str(CONFIG).expect("JSON");
    config["head_dim"] = json!(8);
    let read = |field: &str, value: &Value| {
        let mut config = config.clone();
        config[field] = value.clone();
        Config::parse(config.to_string().as_bytes())
    };
    let fields = [
        ("num_hidden_layers", json!(128), json!(129)),
        ("hidden_size", json!(16_384), json!(16_388)),
        ("intermediate_size", json!(65_536), json!(65_540)),
        ("vocab_size", json!(1_000_000), json!(1_000_001)),
        ("num_attention_heads", json!(256), json!(258)),
        ("num_key_value_heads", json!(4), json!(8)),
        ("head_dim", json!(256), json!(260)),
        ("max_position_embeddings", json!(1 << 20), json!((1 << 20) + 1)),
        ("rms_norm_eps", json!(1e-30), json!(0.0)),
        ("rms_norm_eps", json!(1.0), json!("NaN")),
    ];
    for (field, most, more) in fields {
        check(field, "config", [most, more], |value| read(field, value));
    }
    (config["head_dim"], config["num_attention_heads"]) = (Value::Null, json!(8));
    let read = |field: &str, value: &Value| {
        let mut config = config.clone();
        config[field] = value.clone();
        Config::parse(config.to_string().as_bytes())
    };
    // Eight heads of size four are possible, eight heads of size four and a half are not.
    check("hidden_size", "config", [json!(32), json!(36)], |value| read("hidden_size", value));
    let theta = |value: &Value| read("rope_parameters", &json!({ "rope_type": "default", "rope_theta": value }));
    check("rope_theta", "config", [json!(1e38), json!(1e39)], theta);
    let overflowing = CONFIG.replace("\"rms_norm_eps\": ", "\"rms_norm_eps\": 1e999, \"was\": ");
    assert_eq!(Config::parse(overflowing.as_bytes()).expect_err("no number").code(), "config");
}

/// An adapter of this rank on one linear of the small model.
fn adapter(rank: usize) -> AdapterFiles {
    let name = |which: &str| format!("base_model.model.model.layers.0.self_attn.q_proj.lora_{which}.weight");
    let numbers = vec![0.5; rank * 32];
    let tensors = [(name("A"), vec![rank, 32], numbers.as_slice()), (name("B"), vec![32, rank], numbers.as_slice())];
    let config = json!({ "peft_type": "LORA", "r": rank, "lora_alpha": 8, "target_modules": ["q_proj"],
        "layers_to_transform": [0] });
    AdapterFiles { config: config.to_string(), weights: write(&tensors, &[]) }
}

/// The spec of an adapter for the small model, whose names are those of any Llama model.
fn spec(files: &AdapterFiles) -> tabtune::error::Result<AdapterSpec> {
    files.spec(&Config::parse(CONFIG.as_bytes()).expect("a config"))
}

#[test]
fn adapters() {
    check("rank", "adapter", [json!(256), json!(257)], |rank| spec(&adapter(rank.as_u64().expect("a rank") as usize)));
    let with = |field: &str, value: &Value| {
        let mut config: Value = serde_json::from_str(&adapter(4).config).expect("JSON");
        config[field] = value.clone();
        if value.is_string() {
            config["layers_to_transform"] = Value::Null;
        }
        AdapterFiles { config: config.to_string(), ..adapter(4) }
    };
    let patterns =
        |count: usize| json!((0..count).map(|i| (i.to_string(), json!(4))).collect::<serde_json::Map<_, _>>());
    let expression = |bytes: usize| json!(format!(".*0.+.q_proj{}", "|x".repeat((bytes - 12) / 2)));
    // The expression that is compiled is eight bytes longer than the one in the file.
    let fields = [
        ("lora_alpha", json!(1e18), json!(1e19)),
        ("rank_pattern", patterns(1024), patterns(1025)),
        ("alpha_pattern", patterns(1024), patterns(1025)),
        ("target_modules", expression(4096 - 8), expression(4096 - 6)),
    ];
    for (field, most, more) in fields {
        check(field, "adapter", [most, more], |value| spec(&with(field, value)));
    }
    let padded = |bytes: &Value| {
        let mut files = adapter(4);
        let missing = bytes.as_u64().expect("a length") as usize - files.config.len();
        files.config.push_str(&" ".repeat(missing));
        spec(&files)
    };
    check("adapter_config.json", "adapter", [json!(1 << 20), json!((1 << 20) + 1)], padded);
    let header = |bytes: &Value| {
        let AdapterFiles { config, weights } = adapter(4);
        let (length, rest) = weights.split_first_chunk::<8>().expect("a length");
        let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
        let longer = bytes.as_u64().expect("a length");
        let spaces = vec![b' '; longer as usize - header.len()];
        spec(&AdapterFiles { config, weights: [&longer.to_le_bytes()[..], header, &spaces, data].concat() })
    };
    check("the header", "safetensors", [json!(LONGEST_HEADER), json!(LONGEST_HEADER + 1)], header);
}

#[test]
fn ranks_of_a_run() {
    let config = |hidden: usize| {
        let mut config: Value = serde_json::from_str(CONFIG).expect("JSON");
        (config["hidden_size"], config["head_dim"]) = (json!(hidden), json!(128));
        Config::parse(config.to_string().as_bytes()).expect("a config")
    };
    let spec = |hidden: usize| {
        move |rank: &Value| AdapterSpec::new(&config(hidden), rank.as_u64().expect("a rank") as usize, 8.0, "q_proj")
    };
    check("rank", "setting", [json!(32), json!(33)], spec(32));
    check("rank", "setting", [json!(256), json!(257)], spec(512));
}

#[test]
fn tokenizers() {
    let id = |id: &Value| {
        let byte_level = json!({ "type": "ByteLevel" });
        json!({ "decoder": byte_level, "model": { "type": "BPE", "vocab": { "a": id }, "merges": [] } })
    };
    let with = |field: &str, value: Value| {
        let mut json = id(&json!(0));
        json[field] = value;
        json
    };
    let read = |json: Value| {
        let (tokenizer, config) = (json.to_string().into_bytes(), b"{}");
        let files = TokenizerFiles {
            tokenizer: &tokenizer,
            tokenizer_config: None,
            generation_config: None,
            chat_template: None,
            config,
        };
        Tokenizer::from_files(&files)
    };
    check("an id", "tokenizer", [json!(999_999), json!(1_000_000)], |value| read(id(value)));
    let parts = |count: &Value| {
        let parts = vec![json!({ "type": "NFC" }); count.as_u64().expect("a count") as usize];
        read(with("normalizer", json!({ "type": "Sequence", "normalizers": parts })))
    };
    check("parts of a sequence", "tokenizer", [json!(4), json!(5)], parts);
    let specials = |count: &Value| {
        let special = json!({ "SpecialToken": { "id": "x" } });
        let mut single = vec![special; count.as_u64().expect("a count") as usize];
        single.push(json!({ "Sequence": { "id": "A" } }));
        let template =
            json!({ "type": "TemplateProcessing", "single": single, "special_tokens": { "x": { "ids": [0] } } });
        read(with("post_processor", template))
    };
    check("tokens that a template adds", "tokenizer", [json!(8), json!(9)], specials);
    let added = |bytes: &Value| {
        let token = json!({ "id": 1, "content": "x".repeat(bytes.as_u64().expect("a length") as usize) });
        read(with("added_tokens", json!([token])))
    };
    check("bytes of added tokens", "tokenizer", [json!(60_000), json!((4 << 20) + 1)], added);
}
