//! The graphics adapter: the only room that names a wgpu type. It knows buffers, kernels and submissions; not tensors'
//! meaning, not plans.

#[cfg_attr(target_arch = "wasm32", path = "ahead_web.rs")]
mod ahead;
mod card;
pub mod kernel;
pub mod readback;
pub mod tensor;

pub use card::{Buffer, Device, DeviceOptions, Shape, Usage};
pub use kernel::{Access, Constants, KernelKey};
pub use readback::{Ring, Ticket};
pub use tensor::{Format, Pool, Tensor};
