//! tabtune
pub mod error;
pub mod random;
pub mod safetensors;
pub mod text;
pub mod gpu;
pub mod plan;
pub mod ops;
pub mod model;
pub mod adapter;
pub mod train;
pub mod generate;
pub mod run;
#[cfg(target_arch = "wasm32")]
pub mod web;
