//! Llama, and the models that share its config.json (SmolLM2, TinyLlama): fields and tensor names.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "config.json comes from anywhere"
)]

use serde_json::{Value, json};

use super::config::{Config, Fields};
use super::linear::Target;
use crate::error::Result;
use crate::ops::Heads;

pub(super) fn config(fields: &Fields) -> Result<Config> {
    fields.only("hidden_act", &json!("silu"))?;
    fields.only("attention_bias", &json!(false))?;
    fields.only("mlp_bias", &json!(false))?;
    fields.only("quantization_config", &Value::Null)?;
    let hidden = fields.count("hidden_size", 16_384)?;
    let query = fields.count("num_attention_heads", 256)?;
    let key = fields.count_or("num_key_value_heads", 256, Some(query))?;
    let size = fields.count_or("head_dim", 128, hidden.checked_div(query))?;
    let intermediate = fields.count("intermediate_size", 65_536)?;
    let divides = fields.get("head_dim").is_some() || hidden.is_multiple_of(query);
    fields.check("num_attention_heads", divides, "it must divide hidden_size where head_dim is not given")?;
    fields.check("num_key_value_heads", query.is_multiple_of(key), "it must divide num_attention_heads")?;
    fields.check(
        "head_dim",
        size >= 4 && size.is_multiple_of(4) && size <= 128,
        "supported are multiples of 4 up to 128",
    )?;
    fields.check("hidden_size", hidden.is_multiple_of(4), "supported are multiples of 4")?;
    fields.check("intermediate_size", intermediate.is_multiple_of(4), "supported are multiples of 4")?;
    let config = Config {
        model_type: "llama".to_string(),
        vocabulary: fields.count("vocab_size", 1_000_000)?,
        hidden,
        intermediate,
        layers: fields.count("num_hidden_layers", 128)?,
        heads: Heads { query, key, size },
        context: fields.count_or("max_position_embeddings", 1 << 20, Some(2048))?,
        rms_norm_eps: fields.number_or("rms_norm_eps", 1e-6)? as f32,
        rope_theta: rope_theta(fields)?,
        tied: fields.flag_or("tie_word_embeddings", false)?,
    };
    config.check_size()?;
    Ok(config)
}

/// transformers 5 writes `rope_parameters`, earlier ones `rope_theta` and `rope_scaling`; both are read.
fn rope_theta(fields: &Fields) -> Result<f64> {
    for (name, field) in ["rope_scaling", "rope_parameters"].iter().filter_map(|name| Some((*name, fields.get(name)?)))
    {
        let kind = field.get("rope_type").or_else(|| field.get("type")).and_then(Value::as_str);
        if kind.is_some_and(|kind| kind != "default") || (kind.is_none() && name == "rope_scaling") {
            return Err(Fields::unsupported(name, field));
        }
        Fields(field).only("partial_rotary_factor", &json!(1.0))?;
    }
    match fields.get("rope_parameters") {
        Some(parameters) if parameters.get("rope_theta").is_some() => {
            Fields(parameters).number_or("rope_theta", 10_000.0)
        }
        _ => fields.number_or("rope_theta", 10_000.0),
    }
}

pub(super) const EMBEDDING: &str = "model.embed_tokens.weight";
pub(super) const FINAL_NORM: &str = "model.norm.weight";
pub(super) const HEAD: &str = "lm_head.weight";

pub(super) fn norm(layer: usize, which: &str) -> String {
    format!("model.layers.{layer}.{which}.weight")
}

/// What older checkpoints hold besides: the frequencies of rope, which are computed, and the head of a model whose
/// table is its head.
pub(super) fn is_redundant(name: &str) -> bool {
    name == HEAD || name.ends_with(".self_attn.rotary_emb.inv_freq")
}

/// The module path of a linear, as PEFT's keys and `target_modules` spell it.
pub fn module(layer: usize, target: Target) -> String {
    let part = match target {
        Target::Q | Target::K | Target::V | Target::O => "self_attn",
        Target::Gate | Target::Up | Target::Down => "mlp",
    };
    format!("model.layers.{layer}.{part}.{}", target.name())
}

/// The inverse of `module`.
pub fn parse_module(path: &str) -> Option<(usize, Target)> {
    let (layer, rest) = path.strip_prefix("model.layers.")?.split_once('.')?;
    let (layer, target) = (layer.parse().ok()?, Target::parse(rest.rsplit('.').next()?)?);
    // Not `007`, not the linear's name in another part of the block.
    (module(layer, target) == path).then_some((layer, target))
}
