//! GPT-2: layer norms, learned positions, one matrix for q, k and v, an MLP without a gate, and matrices that are
//! stored as [in, out].

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
use super::tensors::Norm;
use crate::error::Result;
use crate::ops::Heads;

pub static FAMILY: Family = Family {
    model_type: "gpt2",
    config,
    embedding: "transformer.wte",
    positions: Some("transformer.wpe"),
    final_norm: "transformer.ln_f",
    head: "lm_head",
    blocks: "transformer.h",
    norms: &[(Norm::Attention, "ln_1"), (Norm::Mlp, "ln_2")],
    linears: &[
        (Target::Qkv, "attn.c_attn"),
        (Target::O, "attn.c_proj"),
        (Target::Up, "mlp.c_fc"),
        (Target::Down, "mlp.c_proj"),
    ],
    peft_targets: &[Target::Qkv],
};

/// What changes the scores of attention, by the value that changes nothing.
const SCORES: [(&str, bool); 3] =
    [("scale_attn_weights", true), ("scale_attn_by_inverse_layer_idx", false), ("add_cross_attention", false)];

fn config(fields: &Fields) -> Result<Config> {
    let hidden = fields.count("n_embd", 16_384)?;
    let heads = fields.count("n_head", 256)?;
    let intermediate = fields.count_or("n_inner", 65_536, hidden.checked_mul(4))?;
    let size = hidden.checked_div(heads).unwrap_or(0);
    fields.check("n_head", hidden.is_multiple_of(heads), "it must divide n_embd")?;
    fields.check_head("n_head", size)?;
    fields.check("n_embd", hidden.is_multiple_of(4), "supported are multiples of 4")?;
    fields.check("n_inner", intermediate.is_multiple_of(4), "supported are multiples of 4")?;
    for (field, usual) in SCORES {
        if let Some(value) = fields.get(field).filter(|value| value.as_bool() != Some(usual)) {
            return Err(Fields::unsupported(field, value));
        }
    }
    let activation =
        fields.get("activation_function").filter(|name| *name != "gelu_new" && *name != "gelu_pytorch_tanh");
    if let Some(other) = activation {
        return Err(Fields::unsupported("activation_function", other));
    }
    Ok(Config {
        family: &FAMILY,
        vocabulary: fields.count("vocab_size", 1_000_000)?,
        hidden,
        intermediate,
        layers: fields.count("n_layer", 128)?,
        heads: Heads { query: heads, key: heads, size },
        context: fields.count_or("n_positions", 1 << 20, Some(1024))?,
        tied: fields.flag_or("tie_word_embeddings", true)?,
        norm: NormKind::LayerNorm,
        norm_eps: fields.number_or("layer_norm_epsilon", 1e-5)? as f32,
        head_norms: false,
        output_norms: false,
        biases: Biases { qkv: true, o: true, mlp: true },
        activation: Activation::GeluTanh,
        pattern: vec![Layer { window: None, rope: None }],
        embedding_scale: 1.0,
        query_scale: None,
        layout: Layout { fused_qkv: true, fused_gate_up: false, transposed: true },
    })
}
