//! Phi-3: Llama with one matrix for q, k and v, and one for gate and up.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "config.json comes from anywhere"
)]

use super::config::{Biases, Config, Layer, Layout};
use super::family::Family;
use super::fields::Fields;
use super::linear::Target;
use super::llama;
use super::windows::window;
use crate::error::Result;

/// PEFT adapts nothing of it unless it is told what.
pub static FAMILY: Family = Family {
    model_type: "phi3",
    config,
    linears: &[
        (Target::Qkv, "self_attn.qkv_proj"),
        (Target::O, "self_attn.o_proj"),
        (Target::GateUp, "mlp.gate_up_proj"),
        (Target::Down, "mlp.down_proj"),
    ],
    peft_targets: &[],
    ..llama::FAMILY
};

fn config(fields: &Fields) -> Result<Config> {
    fields.require(&["max_position_embeddings", "rms_norm_eps"])?;
    // transformers takes any other type for longrope, whatever its name.
    for name in ["rope_scaling", "rope_parameters"] {
        let kind = fields.get(name).and_then(|rope| rope.get("rope_type").or_else(|| rope.get("type")));
        if let Some(kind) = kind.filter(|kind| **kind != "default") {
            return Err(Fields::unsupported(&format!("{name}.rope_type"), kind));
        }
    }
    let config = llama::read(fields, &FAMILY)?;
    let window = window(fields, None)?;
    Ok(Config {
        biases: Biases::default(),
        pattern: config.pattern.iter().map(|layer| Layer { window, ..*layer }).collect(),
        layout: Layout { fused_qkv: true, fused_gate_up: true, transposed: false },
        ..config
    })
}
