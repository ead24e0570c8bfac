//! What computes: a graphics card, reached through wgpu, which no other room names, or the CPU. This room knows
//! buffers, kernels and submissions, but not what tensors mean or what a plan is.

#[cfg_attr(target_arch = "wasm32", path = "ahead_web.rs")]
mod ahead;
pub mod blocks;
mod buffer;
mod card;
#[allow(clippy::module_inception)]
mod device;
pub mod kernel;
pub mod kernel_table;
mod pipeline;
#[cfg_attr(target_arch = "wasm32", path = "platform_web.rs")]
mod platform;
mod profile;
mod queue;
pub mod readback;
mod ready;
mod segments;
pub mod stored;
pub mod tensor;
pub mod tiling;
pub mod tuned;

pub use buffer::{Buffer, Usage};
pub use device::{Choice, Device, DeviceOptions, Shape};
pub use kernel::{Access, Constant, Constants, Extents, KernelKey};
pub use kernel_table::Geometry;
pub use platform::{cpu_seconds, exact_now};
pub use profile::Span;
pub use readback::{Ring, Ticket};
pub use ready::Ready;
pub use segments::Segments;
pub use stored::{Format, Stored};
pub use tensor::{Pool, Tensor};
pub use tiling::{Splits, Tiling};
pub use tuned::TunedProduct;

pub use crate::cpu::Step;
#[cfg(not(target_arch = "wasm32"))]
pub use crate::cpu::set_threads;
