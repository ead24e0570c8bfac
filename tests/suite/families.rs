//! What each family makes of a config.json: sizes of checkpoints that people use, windows, rotary positions, and what is
//! refused.

use serde_json::{Value, json};
use tabtune::error::{Error, Result};
use tabtune::model::Config;

fn parse(config: &Value) -> Result<Config> {
    Config::parse(config.to_string().as_bytes())
}

/// A config.json of four small layers, with other fields as well.
fn small(model_type: &str, fields: &Value) -> Value {
    let mut config = json!({ "model_type": model_type, "vocab_size": 96, "hidden_size": 32, "intermediate_size": 52,
        "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
        "max_position_embeddings": 64 });
    for (name, value) in fields.as_object().expect("fields") {
        config[name] = value.clone();
    }
    config
}

/// `layer_types` with one name for all layers.
fn every(name: &str) -> Value {
    json!(vec![name; 4])
}

fn windows(config: &Config) -> Vec<Option<usize>> {
    (0..config.layers).map(|layer| config.layer(layer).window).collect()
}

fn turned(config: &Config) -> Vec<bool> {
    (0..config.layers).map(|layer| config.layer(layer).rope.is_some()).collect()
}

/// The Hub counts the parameters of a checkpoint from its tensors.
#[test]
fn checkpoints_that_people_use_have_as_many_parameters_as_the_hub_says() {
    let llama3 = json!({ "factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
        "original_max_position_embeddings": 8192, "rope_type": "llama3" });
    let checkpoints = [
        (
            "Llama-3.2-1B",
            1_235_814_400,
            json!({ "model_type": "llama", "vocab_size": 128_256, "hidden_size": 2048, "intermediate_size": 8192,
                "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64,
                "max_position_embeddings": 131_072, "rope_theta": 500_000.0, "rope_scaling": llama3,
                "tie_word_embeddings": true }),
        ),
        (
            "TinyLlama-1.1B",
            1_100_048_384,
            json!({ "model_type": "llama", "vocab_size": 32_000, "hidden_size": 2048, "intermediate_size": 5632,
                "num_hidden_layers": 22, "num_attention_heads": 32, "num_key_value_heads": 4,
                "max_position_embeddings": 2048, "rope_scaling": null }),
        ),
        (
            "Mistral-7B-v0.1",
            7_241_732_096,
            json!({ "model_type": "mistral", "vocab_size": 32_000, "hidden_size": 4096, "intermediate_size": 14_336,
                "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
                "max_position_embeddings": 32_768, "sliding_window": 4096 }),
        ),
        (
            "Qwen2.5-0.5B",
            494_032_768,
            json!({ "model_type": "qwen2", "vocab_size": 151_936, "hidden_size": 896, "intermediate_size": 4864,
                "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2, "max_window_layers": 21,
                "max_position_embeddings": 32_768, "rope_theta": 1_000_000.0, "sliding_window": 32_768,
                "use_sliding_window": false, "tie_word_embeddings": true }),
        ),
        (
            "Qwen3-0.6B",
            596_049_920,
            json!({ "model_type": "qwen3", "vocab_size": 151_936, "hidden_size": 1024, "intermediate_size": 3072,
                "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128,
                "max_position_embeddings": 40_960, "rope_theta": 1_000_000, "rope_scaling": null,
                "sliding_window": null, "use_sliding_window": false, "tie_word_embeddings": true }),
        ),
        (
            "SmolLM3-3B",
            3_075_098_624,
            json!({ "model_type": "smollm3", "vocab_size": 128_256, "hidden_size": 2048, "intermediate_size": 11_008,
                "num_hidden_layers": 36, "num_attention_heads": 16, "num_key_value_heads": 4,
                "max_position_embeddings": 65_536, "rope_theta": 5_000_000.0, "no_rope_layer_interval": 4,
                "use_sliding_window": false }),
        ),
    ];
    for (name, parameters, config) in checkpoints {
        let config = parse(&config).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(config.parameters(), parameters, "{name}");
        let window = if name.starts_with("Mistral") { Some(4096) } else { None };
        assert!(windows(&config).iter().all(|found| *found == window), "{name}");
        let is_turned = |layer: usize| !name.starts_with("SmolLM3") || (layer + 1) % 4 != 0;
        assert_eq!(turned(&config), (0..config.layers).map(is_turned).collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn layers_have_the_windows_that_config_json_gives_them() {
    let (no, yes) = (None, Some(7));
    let sliding = |fields: Value| {
        let mut config = json!({ "use_sliding_window": true, "sliding_window": 7 });
        fields.as_object().expect("fields").iter().for_each(|(name, value)| config[name] = value.clone());
        config
    };
    let types = json!(["sliding_attention", "full_attention", "full_attention", "sliding_attention"]);
    let cases = [
        ("llama", json!({ "sliding_window": 7 }), [no; 4]),
        ("mistral", json!({ "sliding_window": 7 }), [yes; 4]),
        ("mistral", json!({ "sliding_window": null }), [no; 4]),
        ("mistral", json!({}), [Some(4096); 4]),
        ("qwen2", json!({ "sliding_window": 7, "max_window_layers": 0 }), [no; 4]),
        ("qwen2", sliding(json!({})), [no; 4]),
        ("qwen2", sliding(json!({ "max_window_layers": 0 })), [yes; 4]),
        ("qwen2", sliding(json!({ "max_window_layers": 3 })), [no, no, no, yes]),
        ("qwen2", sliding(json!({ "max_window_layers": 1, "sliding_window": null })), [no; 4]),
        ("qwen3", sliding(json!({ "max_window_layers": 3, "layer_types": types })), [yes, no, no, yes]),
        ("qwen3", json!({ "layer_types": every("full_attention") }), [no; 4]),
        ("smollm3", sliding(json!({})), [no, no, no, yes]),
        ("smollm3", sliding(json!({ "no_rope_layers": [0, 1, 0, 1] })), [yes, no, yes, no]),
        ("smollm3", sliding(json!({ "layer_types": types })), [yes, no, no, yes]),
    ];
    for (family, fields, expected) in cases {
        assert_eq!(windows(&parse(&small(family, &fields)).expect("a config")), expected, "{family} {fields}");
    }
}

#[test]
fn layers_have_the_rope_that_config_json_gives_them() {
    let cases = [
        (json!({}), [true, true, true, false]),
        (json!({ "no_rope_layer_interval": 2 }), [true, false, true, false]),
        (json!({ "no_rope_layer_interval": 9 }), [true; 4]),
        (json!({ "no_rope_layers": [0, 0, 1, 1, 0, 1], "no_rope_layer_interval": 2 }), [false, false, true, true]),
    ];
    for (fields, expected) in cases {
        let config = parse(&small("smollm3", &fields)).expect("a config");
        assert_eq!(turned(&config), expected, "{fields}");
        assert!(config.tied, "the default of this family");
        let theta = config.layer(2).rope.expect("rope").theta;
        assert_eq!(theta, 2_000_000.0, "the default of this family");
    }
}

/// Frequencies and factors that transformers computed from the same config.json.
#[test]
fn rotary_frequencies_equal_those_of_transformers() {
    let ropes: Value = serde_json::from_str(include_str!("../fixtures/rope.json")).expect("rope.json");
    for rope in ropes.as_array().expect("a list") {
        let config = parse(&rope["config"]).expect("a config");
        let found = config.layer(0).rope.expect("rope");
        let frequencies = found.frequencies(config.heads.size);
        let expected: Vec<f64> =
            rope["frequencies"].as_array().expect("a list").iter().filter_map(Value::as_f64).collect();
        assert_eq!(frequencies.len(), expected.len(), "{found:?}");
        for (i, (found_at, expected)) in frequencies.iter().zip(&expected).enumerate() {
            // One rounding of f32 is 6e-8.
            let far = (f64::from(*found_at) / expected - 1.0).abs();
            assert!(far <= 2.5e-7, "{found:?}, pair {i}: {found_at} is not {expected}");
        }
        let amplitude = rope["amplitude"].as_f64().expect("a number");
        assert!((f64::from(found.amplitude()) / amplitude - 1.0).abs() < 1e-7, "{found:?}: {amplitude}");
    }
}

#[test]
fn what_a_family_does_not_compute_is_refused_by_name() {
    let (unsupported, config) = ("unsupported_field", "config");
    let scaled = |rope: Value| json!({ "rope_scaling": rope });
    let llama3 = json!({ "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 4.0 });
    let cases = [
        ("llama", scaled(json!({ "rope_type": "dynamic", "factor": 2.0 })), unsupported, "rope_scaling"),
        ("llama", scaled(json!({ "type": "longrope", "factor": 2.0 })), unsupported, "longrope"),
        ("llama", scaled(json!("yarn")), unsupported, "rope_scaling"),
        ("llama", scaled(json!({ "factor": 2.0 })), unsupported, "rope_scaling.factor"),
        ("llama", scaled(json!({ "rope_type": "linear" })), config, "factor"),
        ("llama", scaled(json!({ "rope_type": "linear", "factor": 0 })), config, "factor"),
        ("llama", scaled(json!({ "rope_type": "linear", "factor": 2, "mscale": 1 })), unsupported, "mscale"),
        ("llama", scaled(llama3), config, "high_freq_factor"),
        ("llama", json!({ "rope_parameters": { "full_attention": {} } }), unsupported, "full_attention"),
        ("llama", json!({ "partial_rotary_factor": 0.5 }), "not_yet", "partial_rotary_factor"),
        (
            "llama",
            json!({ "rope_scaling": { "type": "linear", "factor": 2 }, "rope_parameters": { "rope_theta": 5.0 } }),
            config,
            "rope_parameters",
        ),
        (
            "mistral",
            json!({ "rope_parameters": { "rope_type": "yarn", "factor": 2, "llama_4_scaling_beta": 0.1 } }),
            unsupported,
            "rope_parameters.llama_4_scaling_beta",
        ),
        ("qwen3", scaled(json!({ "type": "yarn", "factor": 2.0, "rope_theta": 1.0 })), config, "rope_theta"),
        ("mistral", json!({ "layer_types": every("full_attention") }), unsupported, "layer_types"),
        ("mistral", json!({ "sliding_window": 0 }), config, "sliding_window"),
        ("mistral", json!({ "num_key_value_heads": null }), config, "num_key_value_heads"),
        ("qwen3", json!({ "head_dim": null }), config, "head_dim"),
        ("qwen2", json!({ "use_sliding_window": "yes" }), config, "use_sliding_window"),
        ("qwen2", json!({ "max_window_layers": -1, "use_sliding_window": true }), config, "max_window_layers"),
        ("qwen2", json!({ "layer_types": ["full_attention"] }), config, "num_hidden_layers"),
        ("qwen2", json!({ "layer_types": every("linear_attention") }), unsupported, "linear_attention"),
        ("qwen3", json!({ "layer_types": every("sliding_attention") }), config, "use_sliding_window"),
        ("smollm3", json!({ "no_rope_layers": [1, 0] }), config, "no_rope_layers"),
        ("smollm3", json!({ "no_rope_layers": [1, 0, 2, 1] }), unsupported, "no_rope_layers"),
        ("smollm3", json!({ "no_rope_layer_interval": 0 }), config, "no_rope_layer_interval"),
    ];
    for (family, fields, code, word) in cases {
        let error = parse(&small(family, &fields)).expect_err(&fields.to_string());
        assert!(error.code() == code && error.to_string().contains(word), "{family} {fields}: {error:?}");
    }
    let other = parse(&small("mamba", &json!({}))).expect_err("another family");
    let Error::UnsupportedModel { supported, .. } = &other else { panic!("{other:?}") };
    for family in ["llama", "mistral", "qwen2", "qwen3", "smollm3"] {
        assert!(supported.split(", ").any(|name| name == family), "{family} is not among {supported}");
        assert_eq!(parse(&small(family, &json!({}))).expect("a config").family.model_type, family);
    }
}
