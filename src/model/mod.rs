//! The frozen transformer: structs that own weights and call ops. Families differ by data in `Config` and by a file of
//! names.

pub mod block;
pub mod config;
pub mod linear;
pub mod llama;
pub mod logits;
pub mod transformer;

pub use config::Config;
pub use linear::{Linear, Lora, Target};
pub use logits::{Logits, LogitsDraft};
pub use transformer::{Storage, Transformer};
