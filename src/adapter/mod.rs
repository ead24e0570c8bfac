//! LoRA adapters: which linears, what rank, and the flat buffers that hold every A and B of a model. Here a linear is a
//! (layer, target); its family knows what a checkpoint or PEFT calls it.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "adapters come from anywhere"
)]

pub mod check;
mod contents;
mod flat;
mod form;
pub mod full;
mod gguf;
mod keys;
pub mod lora;
pub mod merge;
mod mlx;
pub mod named;
#[cfg(not(target_arch = "wasm32"))]
mod open;
pub mod origin;
pub mod pair;
pub mod peft;
mod peft_config;
pub mod recast;
pub mod spec;

pub use check::{ExportCheck, ExportCheckDraft};
pub use flat::Params;
pub use form::Form;
pub use full::Full;
pub use lora::Adapter;
pub use merge::Merge;
pub use origin::{NotedBase, Origin};
pub use pair::{HostMatrix, Pair};
pub use peft::AdapterFiles;
pub use recast::Recast;
pub use spec::{AdapterSpec, SiteSpec};
