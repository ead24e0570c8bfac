//! tabtune
pub mod error;
pub mod safetensors;
pub mod text;
pub mod gpu;
pub mod plan;
pub mod ops;
pub mod model;
