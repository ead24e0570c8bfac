//! What each family makes of a config.json: sizes of checkpoints that people use, windows, rotary positions, and what
//! is refused.

use serde_json::{Value, json};
use tabtune::error::{Error, Result};
use tabtune::model::Config;
use tabtune::model::rope::{Rope, RopeScaling};

fn parse(config: &Value) -> Result<Config> {
    Config::parse(config.to_string().as_bytes())
}

/// A config.json of four small layers, with other fields as well.
fn small(model_type: &str, fields: &Value) -> Value {
    let mut config = json!({ "model_type": model_type, "vocab_size": 96, "hidden_size": 32, "intermediate_size": 52,
        "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
        "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "hidden_activation": "gelu_pytorch_tanh",
        "n_embd": 32, "n_layer": 4, "n_head": 4 });
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
        (
            "gpt2",
            124_439_808,
            json!({ "model_type": "gpt2", "activation_function": "gelu_new", "vocab_size": 50_257, "n_embd": 768,
                "n_layer": 12, "n_head": 12, "n_ctx": 1024, "n_positions": 1024, "layer_norm_epsilon": 1e-05 }),
        ),
        ("gemma-3-270m", 268_098_176, {
            let sixth = |layer| if layer % 6 == 0 { "full_attention" } else { "sliding_attention" };
            json!({ "model_type": "gemma3_text", "vocab_size": 262_144, "hidden_size": 640, "intermediate_size": 2048,
                "num_hidden_layers": 18, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 256,
                "max_position_embeddings": 32_768, "hidden_activation": "gelu_pytorch_tanh", "sliding_window": 512,
                "query_pre_attn_scalar": 256, "rope_theta": 1_000_000.0, "rope_local_base_freq": 10_000.0,
                "layer_types": (1..=18).map(sixth).collect::<Vec<_>>(), "use_bidirectional_attention": false,
                "attn_logit_softcapping": null, "final_logit_softcapping": null, "rope_scaling": null })
        }),
        (
            "gemma-3-1b",
            999_885_952,
            json!({ "model_type": "gemma3_text", "vocab_size": 262_144, "hidden_size": 1152, "intermediate_size": 6912,
                "num_hidden_layers": 26, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 256,
                "max_position_embeddings": 32_768, "hidden_activation": "gelu_pytorch_tanh", "sliding_window": 512,
                "sliding_window_pattern": 6, "query_pre_attn_scalar": 256, "rope_theta": 1_000_000,
                "rope_local_base_freq": 10_000, "rope_scaling": null }),
        ),
        (
            "Phi-3-mini-4k",
            3_821_079_552,
            json!({ "model_type": "phi3", "vocab_size": 32_064, "hidden_size": 3072, "intermediate_size": 8192,
                "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32, "attention_bias": false,
                "max_position_embeddings": 4096, "original_max_position_embeddings": 4096, "rms_norm_eps": 1e-05,
                "rope_theta": 10_000.0, "rope_scaling": null, "sliding_window": 2047, "tie_word_embeddings": false }),
        ),
    ];
    for (name, parameters, config) in checkpoints {
        let config = parse(&config).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(config.parameters(), parameters, "{name}");
        let window_of = |layer: usize| match name {
            "Mistral-7B-v0.1" => Some(4096),
            "Phi-3-mini-4k" => Some(2047),
            "gemma-3-270m" | "gemma-3-1b" => Some(512).filter(|_| !(layer + 1).is_multiple_of(6)),
            _ => None,
        };
        assert_eq!(windows(&config), (0..config.layers).map(window_of).collect::<Vec<_>>(), "{name}");
        let is_turned = |layer: usize| match name {
            "SmolLM3-3B" => !(layer + 1).is_multiple_of(4),
            name => name != "gpt2",
        };
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
        ("gemma3_text", json!({ "sliding_window": 7 }), [yes; 4]),
        ("gemma3_text", json!({ "sliding_window": 7, "sliding_window_pattern": 2 }), [yes, no, yes, no]),
        ("gemma3_text", json!({ "sliding_window": 7, "_sliding_window_pattern": 3 }), [yes; 4]),
        ("gemma3_text", json!({ "sliding_window": 7, "layer_types": types }), [yes, no, no, yes]),
        ("phi3", json!({ "sliding_window": 7 }), [yes; 4]),
        ("phi3", json!({}), [no; 4]),
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

/// Gemma 3 has a rope for layers that see everything and one for those that see a window.
#[test]
fn layers_that_see_a_window_have_a_rope_of_their_own() {
    let types = json!(["full_attention", "sliding_attention", "full_attention", "sliding_attention"]);
    let of = |fields: Value| {
        let mut config = small("gemma3_text", &fields);
        config["layer_types"] = types.clone();
        let config = parse(&config).expect("a config");
        [0, 1, 2, 3].map(|layer| config.layer(layer).rope.expect("rope"))
    };
    let linear = json!({ "rope_type": "linear", "factor": 8.0 });
    let by_type = json!({ "full_attention": { "rope_theta": 2e6 }, "sliding_attention": { "rope_theta": 3e4 } });
    let cases = [
        (json!({}), 1e6, 1e4, false),
        (json!({ "rope_theta": 5e5, "rope_local_base_freq": 2e4 }), 5e5, 2e4, false),
        (json!({ "rope_scaling": linear }), 1e6, 1e4, true),
        (json!({ "rope_parameters": by_type }), 2e6, 3e4, false),
        (json!({ "rope_parameters": { "full_attention": linear } }), 1e6, 1e4, true),
        (json!({ "rope_parameters": { "full_attention": linear }, "rope_scaling": linear }), 1e6, 1e4, true),
    ];
    for (fields, global, local, is_scaled) in cases {
        let scaling = if is_scaled { RopeScaling::Linear { factor: 8.0 } } else { RopeScaling::None };
        let (global, local) = (Rope { theta: global, scaling }, Rope { theta: local, scaling: RopeScaling::None });
        assert_eq!(of(fields.clone()), [global, local, global, local], "{fields}");
    }
}

#[test]
fn a_query_scale_that_is_the_usual_one_is_none() {
    let scale = |fields: Value| parse(&small("gemma3_text", &fields)).expect("a config").query_scale;
    assert_eq!(scale(json!({ "query_pre_attn_scalar": 8 })), None);
    assert_eq!(scale(json!({ "query_pre_attn_scalar": 4 })), Some(0.5));
    assert_eq!(scale(json!({})), Some(1.0 / 16.0), "the default of this family");
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
        ("llama", json!({ "partial_rotary_factor": 0.5 }), unsupported, "partial_rotary_factor"),
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
        ("gpt2", json!({ "scale_attn_weights": false }), unsupported, "scale_attn_weights"),
        ("gpt2", json!({ "scale_attn_by_inverse_layer_idx": true }), unsupported, "inverse_layer_idx"),
        ("gpt2", json!({ "add_cross_attention": true }), unsupported, "add_cross_attention"),
        ("gpt2", json!({ "activation_function": "relu" }), unsupported, "activation_function"),
        ("gpt2", json!({ "n_head": 3 }), config, "n_embd"),
        ("gpt2", json!({ "n_inner": 30 }), config, "n_inner"),
        ("gpt2", json!({ "n_embd": null }), config, "n_embd"),
        ("gemma3_text", json!({ "attn_logit_softcapping": 50.0 }), unsupported, "attn_logit_softcapping"),
        ("gemma3_text", json!({ "final_logit_softcapping": 30.0 }), unsupported, "final_logit_softcapping"),
        ("gemma3_text", json!({ "use_bidirectional_attention": true }), unsupported, "use_bidirectional_attention"),
        ("gemma3_text", json!({ "hidden_activation": "gelu" }), unsupported, "hidden_activation"),
        ("gemma3_text", json!({ "head_dim": null }), config, "head_dim"),
        ("gemma3_text", json!({ "head_dim": 260 }), config, "head_dim"),
        ("gemma3_text", json!({ "query_pre_attn_scalar": 0 }), config, "query_pre_attn_scalar"),
        ("gemma3_text", json!({ "sliding_window_pattern": 0 }), config, "sliding_window_pattern"),
        ("gemma3_text", json!({ "layer_types": every("chunked") }), unsupported, "layer_types"),
        ("gemma3_text", json!({ "rope_parameters": { "rope_theta": 5.0 } }), unsupported, "rope_parameters"),
        (
            "gemma3_text",
            json!({ "rope_parameters": { "full_attention": {} }, "rope_scaling": { "type": "linear", "factor": 8 } }),
            config,
            "rope_scaling",
        ),
        ("phi3", scaled(json!({ "type": "longrope", "long_factor": [1.0] })), unsupported, "longrope"),
        ("phi3", scaled(json!({ "type": "su" })), unsupported, "su"),
        ("phi3", scaled(json!({ "type": "yarn", "factor": 2.0 })), unsupported, "yarn"),
        ("phi3", json!({ "partial_rotary_factor": 0.75 }), unsupported, "partial_rotary_factor"),
        ("phi3", json!({ "rms_norm_eps": null }), config, "rms_norm_eps"),
    ];
    for (family, fields, code, word) in cases {
        let error = parse(&small(family, &fields)).expect_err(&fields.to_string());
        assert!(error.code() == code && error.to_string().contains(word), "{family} {fields}: {error:?}");
    }
    let other = parse(&small("mamba", &json!({}))).expect_err("another family");
    let Error::UnsupportedModel { supported, .. } = &other else { panic!("{other:?}") };
    for family in ["llama", "mistral", "qwen2", "qwen3", "smollm3", "gpt2", "gemma3_text", "phi3"] {
        assert!(supported.split(", ").any(|name| name == family), "{family} is not among {supported}");
        assert_eq!(parse(&small(family, &json!({}))).expect("a config").family.model_type, family);
    }
}
