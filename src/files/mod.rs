//! Files of tensors: where their bytes come from, and the safetensors format. Nothing here knows about models or
//! devices.

pub mod safetensors;
pub mod source;

pub use source::Source;
