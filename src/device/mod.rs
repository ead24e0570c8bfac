//! The device that computes, reached through wgpu, which no other room names. This room knows buffers, kernels and
//! submissions, but not what tensors mean or what a plan is.

#[cfg_attr(target_arch = "wasm32", path = "ahead_web.rs")]
mod ahead;
mod card;
pub mod kernel;
pub mod kernel_table;
pub mod readback;
pub mod stored;
pub mod tensor;

pub use card::{Buffer, Device, DeviceOptions, Shape, Usage};
pub use kernel::{Access, Constant, Constants, Extents, KernelKey};
pub use kernel_table::Geometry;
pub use readback::{Ring, Ticket};
pub use stored::{Format, Stored};
pub use tensor::{Pool, Tensor};
