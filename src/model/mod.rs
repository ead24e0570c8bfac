//! The frozen transformer: structs that own weights and call ops. Families differ by data in `Config` and by a file of
//! names and data each.

pub mod block;
pub mod checkpoint;
pub mod config;
pub mod family;
mod fields;
mod gemma3;
pub mod gguf;
pub mod gguf_names;
pub mod gguf_writer;
mod gpt2;
pub mod linear;
mod llama;
pub mod load;
pub mod logits;
mod mistral;
pub mod norm;
mod phi3;
mod qwen2;
mod qwen3;
mod random;
pub mod rope;
mod save;
mod smollm3;
pub mod storage;
pub mod tensors;
pub mod transformer;
mod windows;

/// Every family that can be loaded.
const FAMILIES: [&Family; 8] = [
    &llama::FAMILY,
    &mistral::FAMILY,
    &qwen2::FAMILY,
    &qwen3::FAMILY,
    &smollm3::FAMILY,
    &gpt2::FAMILY,
    &gemma3::FAMILY,
    &phi3::FAMILY,
];

pub use checkpoint::Checkpoint;
pub use config::Config;
pub use family::Family;
pub use gguf::GgufModel;
pub use gguf_writer::GgufOutline;
pub use linear::{Linear, Lora, Target};
pub use logits::{Logits, LogitsDraft};
pub use storage::Storage;
pub use tensors::{Norm, Role, TensorSpec};
pub use transformer::Transformer;
