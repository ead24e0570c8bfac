//! Every op again, as plain f64 loops written from the formula: the oracle of the suite.
//!
//! Nothing here knows the device, a kernel or the library under test. Tensors are row-major slices; shapes use the
//! letters B batch, T time, C channels, H heads, KV key and value heads, D head size, F feed-forward size, R rank, V
//! vocabulary. A function has the name of the kernel or op that it checks, and the names of gradients start with `d`.

mod adamw;
mod add;
mod attention;
mod bias;
mod cross_entropy;
mod dropout;
mod embed;
mod gather_rows;
mod gelu;
mod layer_norm;
mod learned_positions;
pub mod llama;
mod low_rank;
mod matmul;
mod rms_norm;
mod rope;
mod split;
mod swiglu;

pub use adamw::{AdamW, Schedule, adamw_step, clip_coefficient, global_norm, learning_rate};
pub use add::{add_backward, add_forward};
pub use attention::{AttentionShape, attention_backward, attention_forward};
pub use bias::bias_forward;
#[cfg(not(target_arch = "wasm32"))]
pub use cross_entropy::cross_entropy_backward;
pub use cross_entropy::{cross_entropy_forward, head_backward, head_forward};
pub use dropout::{MaskOf, dropout_factors};
pub use embed::embed_forward;
pub use gather_rows::{gather_rows_backward, gather_rows_forward};
pub use gelu::{geglu_backward, geglu_forward, gelu_backward, gelu_forward};
pub use layer_norm::{layer_norm_backward, layer_norm_forward};
pub use learned_positions::learned_positions_forward;
pub use low_rank::{Lora, lora_backward, lora_forward};
pub use matmul::{matmul, matmul_nn, matmul_tn};
pub use rms_norm::{rms_norm_backward, rms_norm_forward};
pub use rope::{RopeTables, rope_backward, rope_forward, rope_tables};
pub use split::split_forward;
pub use swiglu::{swiglu_backward, swiglu_forward};
