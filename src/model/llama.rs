//! Llama, and the models that share its config.json (SmolLM2, TinyLlama).

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "config.json comes from anywhere"
)]

use super::config::{Activation, Biases, Config, Layer, Layout, NormKind};
use super::family::Family;
use super::fields::Fields;
use super::linear::Target;
use super::rope::Rope;
use super::tensors::Norm;
use crate::error::Result;
use crate::ops::Heads;

pub static FAMILY: Family = Family {
    model_type: "llama",
    config,
    embedding: "model.embed_tokens",
    positions: None,
    final_norm: "model.norm",
    head: "lm_head",
    blocks: "model.layers",
    norms: &[(Norm::Attention, "input_layernorm"), (Norm::Mlp, "post_attention_layernorm")],
    linears: &[
        (Target::Q, "self_attn.q_proj"),
        (Target::K, "self_attn.k_proj"),
        (Target::V, "self_attn.v_proj"),
        (Target::O, "self_attn.o_proj"),
        (Target::Gate, "mlp.gate_proj"),
        (Target::Up, "mlp.up_proj"),
        (Target::Down, "mlp.down_proj"),
    ],
    peft_targets: &[Target::Q, Target::V],
};

fn config(fields: &Fields) -> Result<Config> {
    read(fields, &FAMILY)
}

/// The fields that most families share.
pub(super) fn read(fields: &Fields, family: &'static Family) -> Result<Config> {
    let config = read_without_rope(fields, family)?;
    let rope = Rope::read(fields, 10_000.0, config.context)?;
    Ok(Config { pattern: vec![Layer { window: None, rope: Some(rope) }], ..config })
}

/// The same for families that say something else about positions: the pattern of layers is empty.
pub(super) fn read_without_rope(fields: &Fields, family: &'static Family) -> Result<Config> {
    let hidden = fields.count("hidden_size", 16_384)?;
    let query = fields.count("num_attention_heads", 256)?;
    let key = fields.count_or("num_key_value_heads", 256, Some(query))?;
    let size = fields.count_or("head_dim", 256, hidden.checked_div(query))?;
    let intermediate = fields.count("intermediate_size", 65_536)?;
    let divides = fields.get("head_dim").is_some() || hidden.is_multiple_of(query);
    fields.check("num_attention_heads", divides, "it must divide hidden_size where head_dim is not given")?;
    fields.check("num_key_value_heads", query.is_multiple_of(key), "it must divide num_attention_heads")?;
    fields.check_head("head_dim", size)?;
    fields.check("hidden_size", hidden.is_multiple_of(4), "supported are multiples of 4")?;
    fields.check("intermediate_size", intermediate.is_multiple_of(4), "supported are multiples of 4")?;
    let attention_bias = fields.flag_or("attention_bias", false)?;
    Ok(Config {
        family,
        vocabulary: fields.count("vocab_size", 1_000_000)?,
        hidden,
        intermediate,
        layers: fields.count("num_hidden_layers", 128)?,
        heads: Heads { query, key, size },
        context: fields.count_or("max_position_embeddings", 1 << 20, Some(2048))?,
        tied: fields.flag_or("tie_word_embeddings", false)?,
        norm: NormKind::Rms,
        norm_eps: fields.number_or("rms_norm_eps", 1e-6)? as f32,
        head_norms: false,
        output_norms: false,
        biases: Biases { qkv: attention_bias, o: attention_bias, mlp: fields.flag_or("mlp_bias", false)? },
        activation: activation(fields, "hidden_act")?,
        pattern: Vec::new(),
        embedding_scale: 1.0,
        query_scale: None,
        layout: Layout::default(),
    })
}

/// Hugging Face's name of what is done to the gate. SiLU where there is none, as in transformers.
pub(super) fn activation(fields: &Fields, field: &str) -> Result<Activation> {
    match fields.get(field) {
        None => Ok(Activation::SwiGlu),
        Some(name) if name == "silu" => Ok(Activation::SwiGlu),
        Some(name) if name == "gelu_pytorch_tanh" => Ok(Activation::GeGluTanh),
        Some(other) => Err(Fields::unsupported(field, other)),
    }
}
