//! Files of tensors and of JSON: where their bytes come from, and how they are read. Nothing here knows about models or
//! devices.

pub mod json;
pub mod safetensors;
pub mod source;

pub use source::Source;
