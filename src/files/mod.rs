//! Files of tensors: where their bytes come from, and the safetensors format. Nothing here knows a model or a device.

pub mod safetensors;
pub mod source;

pub use source::Source;
