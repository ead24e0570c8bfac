//! What llama.cpp calls the tensors of a model.

use super::linear::Target;
use super::tensors::{Norm, Role};

pub fn name(role: Role) -> String {
    match role {
        Role::Embedding => "token_embd.weight".to_string(),
        Role::Positions => "position_embd.weight".to_string(),
        Role::FinalNorm => "output_norm.weight".to_string(),
        Role::FinalNormBias => "output_norm.bias".to_string(),
        Role::Head => "output.weight".to_string(),
        Role::Norm(layer, at) => format!("blk.{layer}.{}.weight", norm(at)),
        Role::NormBias(layer, at) => format!("blk.{layer}.{}.bias", norm(at)),
        Role::Weight(layer, target) => format!("blk.{layer}.{}.weight", linear(target)),
        Role::Bias(layer, target) => format!("blk.{layer}.{}.bias", linear(target)),
    }
}

fn norm(at: Norm) -> &'static str {
    match at {
        Norm::Attention => "attn_norm",
        Norm::AttentionOutput => "post_attention_norm",
        Norm::Mlp => "ffn_norm",
        Norm::MlpOutput => "post_ffw_norm",
        Norm::Query => "attn_q_norm",
        Norm::Key => "attn_k_norm",
    }
}

fn linear(target: Target) -> &'static str {
    match target {
        Target::Q => "attn_q",
        Target::K => "attn_k",
        Target::V => "attn_v",
        Target::Qkv => "attn_qkv",
        Target::O => "attn_output",
        Target::Gate => "ffn_gate",
        Target::Up | Target::GateUp => "ffn_up",
        Target::Down => "ffn_down",
    }
}
