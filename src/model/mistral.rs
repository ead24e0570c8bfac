//! Mistral: Llama without biases, whose layers see a window of tokens.

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
use super::llama;
use super::windows::window;
use crate::error::Result;

pub static FAMILY: Family = Family { model_type: "mistral", config, ..llama::FAMILY };

fn config(fields: &Fields) -> Result<Config> {
    fields.require(&["num_key_value_heads", "max_position_embeddings"])?;
    fields.refuse("layer_types")?;
    let mut config = llama::read(fields, &FAMILY)?;
    let window = window(fields, Some(4096))?;
    config.pattern.iter_mut().for_each(|layer| layer.window = window);
    config.biases = Biases::default();
    Ok(config)
}
