//! Qwen2 and Qwen2.5: Llama with biases on q, k and v, and with windows in its upper layers if config.json wants them.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "config.json comes from anywhere"
)]

use super::config::{Biases, Config, Layer};
use super::family::Family;
use super::fields::Fields;
use super::llama;
use super::windows::{window, windows};
use crate::error::Result;

pub static FAMILY: Family = Family { model_type: "qwen2", config, ..llama::FAMILY };

fn config(fields: &Fields) -> Result<Config> {
    let config = read(fields, &FAMILY)?;
    Ok(Config { biases: Biases { qkv: true, o: false, mlp: false }, ..config })
}

/// What Qwen2 and Qwen3 share.
pub(super) fn read(fields: &Fields, family: &'static Family) -> Result<Config> {
    fields.require(&["num_key_value_heads", "max_position_embeddings"])?;
    let config = llama::read(fields, family)?;
    let full = fields.count_from("max_window_layers", 0, 1 << 20, Some(28))?;
    let windows = windows(fields, config.layers, window(fields, Some(4096))?, &|layer| layer >= full)?;
    let rope = config.layer(0).rope;
    Ok(Config { pattern: windows.into_iter().map(|window| Layer { window, rope }).collect(), ..config })
}
