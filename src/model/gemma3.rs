//! Gemma 3 without pictures: norms that multiply by 1 + w before and after attention and MLP and on each head, a scaled
//! embedding, a gate of GELU, and layers that see a window, with a base of rope of their own.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "config.json comes from anywhere"
)]

use super::config::{Config, Layer, NormKind};
use super::family::Family;
use super::fields::Fields;
use super::llama;
use super::rope::{Rope, RopeScaling};
use super::tensors::Norm;
use super::windows::{window, windows_by_type};
use crate::error::Result;

pub static FAMILY: Family = Family {
    model_type: "gemma3_text",
    config,
    norms: &[
        (Norm::Attention, "input_layernorm"),
        (Norm::Query, "self_attn.q_norm"),
        (Norm::Key, "self_attn.k_norm"),
        (Norm::AttentionOutput, "post_attention_layernorm"),
        (Norm::Mlp, "pre_feedforward_layernorm"),
        (Norm::MlpOutput, "post_feedforward_layernorm"),
    ],
    ..llama::FAMILY
};

fn config(fields: &Fields) -> Result<Config> {
    fields.require(&["head_dim", "num_key_value_heads", "max_position_embeddings", "hidden_activation"])?;
    fields.refuse("attn_logit_softcapping")?;
    fields.refuse("final_logit_softcapping")?;
    if let Some(value) = fields.get("use_bidirectional_attention").filter(|value| **value != false) {
        return Err(Fields::unsupported("use_bidirectional_attention", value));
    }
    let config = llama::read_without_rope(fields, &FAMILY)?;
    let (global, local) = ropes(fields, config.context)?;
    let every = fields.count_or("sliding_window_pattern", 128, Some(6))?;
    let is_sliding = |layer: usize| !layer.saturating_add(1).is_multiple_of(every);
    let windows = windows_by_type(fields, config.layers, window(fields, Some(4096))?, &is_sliding)?;
    // Rope follows the kind of a layer, so a layer that slides must have a window.
    let slides = fields.get("layer_types").is_some() || window(fields, Some(4096))?.is_some();
    fields.check("sliding_window", slides, "the layers that slide have none")?;
    let layer = |window: Option<usize>| Layer { window, rope: Some(if window.is_some() { local } else { global }) };
    let query = fields.number_or("query_pre_attn_scalar", 256.0)?;
    Ok(Config {
        tied: fields.flag_or("tie_word_embeddings", true)?,
        norm: NormKind::RmsPlusOne,
        head_norms: true,
        output_norms: true,
        activation: llama::activation(fields, "hidden_activation")?,
        pattern: windows.into_iter().map(layer).collect(),
        // transformers rounds it to the type in which it computes, which is f32 here.
        embedding_scale: (config.hidden as f64).sqrt(),
        query_scale: (query != config.heads.size as f64).then(|| 1.0 / query.sqrt()),
        ..config
    })
}

/// The rope of layers that see everything, and of those that see a window. transformers 5 writes both in
/// `rope_parameters`, earlier ones wrote fields of their own; `rope_scaling` is that of the first kind.
fn ropes(fields: &Fields, context: usize) -> Result<(Rope, Rope)> {
    let plain = |field, theta| -> Result<Rope> {
        Ok(Rope { theta: fields.number_or(field, theta)?, scaling: RopeScaling::None })
    };
    let mut global = plain("rope_theta", 1_000_000.0)?;
    let mut local = plain("rope_local_base_freq", 10_000.0)?;
    if let Some(parameters) = fields.get("rope_parameters") {
        let both = [("full_attention", &mut global), ("sliding_attention", &mut local)];
        let known = both.each_ref().map(|(kind, _)| *kind);
        let object = parameters.as_object().filter(|object| object.keys().all(|kind| known.contains(&kind.as_str())));
        let Some(object) = object else { return Err(Fields::unsupported("rope_parameters", parameters)) };
        for (kind, rope) in both {
            if let Some(value) = object.get(kind).filter(|value| !value.is_null()) {
                *rope = rope.with(fields, "rope_parameters", value, context)?;
            }
        }
    }
    if let Some(value) = fields.get("rope_scaling") {
        let scaled = global.with(fields, "rope_scaling", value, context)?;
        let agrees = fields.get("rope_parameters").is_none() || scaled == global;
        fields.check("rope_scaling", agrees, "it says something else than `rope_parameters`")?;
        global = scaled;
    }
    Ok((global, local))
}
