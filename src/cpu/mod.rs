//! The CPU twin of each kernel: what its shader computes, in safe Rust on slices. A twin is made once, when a plan is
//! resolved, from the kernel's constants; replaying it looks nothing up. This room knows slices and numbers, but not
//! what a buffer, a plan or a tensor is.

mod binding;
mod constants;
mod dot;
mod exp;
mod gelu;
mod heads;
mod parallel;
mod product;
mod random;
mod step;
mod weight;

pub mod adamw;
pub mod adamw_clip;
pub mod adamw_norm;
pub mod add;
pub mod attention_backward_kv;
pub mod attention_backward_q;
pub mod attention_cache;
pub mod attention_forward;
pub mod bias;
pub mod copy_probe;
pub mod cross_entropy_backward;
pub mod cross_entropy_forward;
pub mod cross_entropy_total;
pub mod dropout;
pub mod embed;
pub mod fma_probe;
pub mod gather_rows_backward;
pub mod gather_rows_forward;
pub mod gelu_backward;
pub mod gelu_forward;
pub mod layer_norm_backward;
pub mod layer_norm_forward;
pub mod learned_positions;
pub mod matmul;
pub mod matmul_tn;
pub mod matmul_vec;
pub mod rms_norm_backward;
pub mod rms_norm_forward;
pub mod rope;
pub mod split;
pub mod swiglu_backward;
pub mod swiglu_forward;

pub use binding::Slice;
pub use constants::Constants;
#[cfg(not(target_arch = "wasm32"))]
pub use parallel::set_threads;
pub use parallel::threads;
pub use step::Step;
pub use weight::{Format, Weight};

/// A kernel whose constants are known. It gets the bound ranges in the order of the shader's bindings.
pub type Run = Box<dyn Fn(&mut [Slice<'_>])>;

/// Makes the twin of a kernel from its constants.
pub type Twin = fn(&Constants<'_>) -> Run;
