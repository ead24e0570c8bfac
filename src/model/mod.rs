//! The frozen transformer: structs that own weights and call ops. Families differ by data in `Config` and by a file of
//! names and data each.

pub mod block;
pub mod checkpoint;
pub mod config;
pub mod family;
mod fields;
pub mod linear;
mod llama;
pub mod load;
pub mod logits;
pub mod rope;
mod save;
pub mod tensors;
pub mod transformer;

/// Every family that can be loaded.
const FAMILIES: [&Family; 1] = [&llama::FAMILY];

pub use checkpoint::Checkpoint;
pub use config::Config;
pub use family::Family;
pub use linear::{Linear, Lora, Target};
pub use load::Storage;
pub use logits::{Logits, LogitsDraft};
pub use tensors::{Norm, Role, TensorSpec};
pub use transformer::Transformer;
