//! Qwen3: Qwen2 with a norm on each head of queries and keys, and without its biases.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "config.json comes from anywhere"
)]

use super::config::{Biases, Config};
use super::family::Family;
use super::fields::Fields;
use super::tensors::Norm;
use super::{llama, qwen2};
use crate::error::Result;

pub static FAMILY: Family = Family {
    model_type: "qwen3",
    config,
    norms: &[
        (Norm::Attention, "input_layernorm"),
        (Norm::Query, "self_attn.q_norm"),
        (Norm::Key, "self_attn.k_norm"),
        (Norm::Mlp, "post_attention_layernorm"),
    ],
    ..llama::FAMILY
};

fn config(fields: &Fields) -> Result<Config> {
    fields.require(&["head_dim"])?;
    let config = qwen2::read(fields, &FAMILY)?;
    Ok(Config { head_norms: true, biases: Biases { mlp: false, ..config.biases }, ..config })
}
