//! SmolLM3: Llama in which some layers know no positions, every fourth unless config.json says otherwise.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "config.json comes from anywhere"
)]

use serde_json::Value;

use super::config::{Config, Layer};
use super::family::Family;
use super::fields::Fields;
use super::llama;
use super::rope::Rope;
use super::windows::{window, windows};
use crate::error::Result;

pub static FAMILY: Family = Family { model_type: "smollm3", config, peft_targets: &[], ..llama::FAMILY };

fn config(fields: &Fields) -> Result<Config> {
    fields.require(&["num_key_value_heads", "max_position_embeddings"])?;
    let config = llama::read_without_rope(fields, &FAMILY)?;
    let rope = Rope::read(fields, 2_000_000.0, config.context)?;
    let turned = turned(fields, config.layers)?;
    let is_sliding = |layer| turned.get(layer) == Some(&false);
    let windows = windows(fields, config.layers, window(fields, None)?, &is_sliding)?;
    let layer = |(window, turned): (Option<usize>, &bool)| Layer { window, rope: turned.then_some(rope) };
    Ok(Config {
        tied: fields.flag_or("tie_word_embeddings", true)?,
        pattern: windows.into_iter().zip(&turned).map(layer).collect(),
        ..config
    })
}

/// Which layers have rope. `no_rope_layers` may name more layers than there are, with 1 for those that have it.
fn turned(fields: &Fields, layers: usize) -> Result<Vec<bool>> {
    let Some(listed) = fields.get("no_rope_layers") else {
        let interval = fields.count_or("no_rope_layer_interval", 1 << 20, Some(4))?;
        return Ok((1..=layers).map(|layer| !layer.is_multiple_of(interval)).collect());
    };
    let listed = listed.as_array().map(Vec::as_slice).unwrap_or_default();
    fields.check("no_rope_layers", listed.len() >= layers, "expected a 0 or a 1 for each of `num_hidden_layers`")?;
    let of = |value: &Value| match value.as_u64() {
        Some(flag @ 0..=1) => Ok(flag == 1),
        _ => Err(Fields::unsupported("no_rope_layers", value)),
    };
    listed.iter().take(layers).map(of).collect()
}
