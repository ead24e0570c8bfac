//! Files of tensors and of JSON, and folders: where their bytes come from, and how they are read. Nothing here knows
//! about models or devices.

pub mod blocks;
mod dtype;
#[cfg(not(target_arch = "wasm32"))]
pub mod folder;
pub mod gguf;
pub mod gguf_writer;
pub mod json;
pub mod safetensors;
pub mod shards;
pub mod source;
mod written;

#[cfg(not(target_arch = "wasm32"))]
pub use folder::Folder;
pub use gguf::Gguf;
pub use shards::Index;
pub use source::Source;
