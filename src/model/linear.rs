//! A frozen linear layer and, on top of it, a LoRA pair: y = x Wᵀ + b + s (x Aᵀ) Bᵀ (Hu et al. 2021).

use std::slice::from_ref;

use super::config::Config;
use crate::device::Tensor;
use crate::ops::{Matrix, Param, Weight, bias, dropout, project};
use crate::plan::{Recorder, Var};

/// The linears of a block. The family knows what a checkpoint calls them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Target {
    Q,
    K,
    V,
    /// q, k and v in one matrix.
    Qkv,
    O,
    Gate,
    Up,
    /// gate and up in one matrix.
    GateUp,
    Down,
}

impl Target {
    /// Those of a block that fuses none, in its order.
    pub const SEPARATE: [Target; 7] =
        [Target::Q, Target::K, Target::V, Target::O, Target::Gate, Target::Up, Target::Down];

    /// Whether it belongs to attention rather than to the MLP.
    pub fn is_attention(self) -> bool {
        matches!(self, Target::Q | Target::K | Target::V | Target::Qkv | Target::O)
    }

    /// (out, in) of the matrix.
    pub fn shape(self, config: &Config) -> (usize, usize) {
        let (hidden, query, key) =
            (config.hidden, config.heads.query * config.heads.size, config.heads.key * config.heads.size);
        match self {
            Target::Q => (query, hidden),
            Target::K | Target::V => (key, hidden),
            Target::Qkv => (query.saturating_add(key.saturating_mul(2)), hidden),
            Target::O => (hidden, query),
            Target::Gate | Target::Up => (config.intermediate, hidden),
            Target::GateUp => (config.intermediate.saturating_mul(2), hidden),
            Target::Down => (hidden, config.intermediate),
        }
    }
}

/// A [R, in] and B [out, R] of one linear, and the uniform with its scale.
#[derive(Clone)]
pub struct Lora {
    pub a: Param,
    pub b: Param,
    pub site: Tensor,
    /// In plans that train with dropout, it acts on the input of A.
    pub dropout: bool,
}

#[derive(Clone)]
pub struct Linear {
    pub weight: Weight,
    /// [out], frozen.
    pub bias: Option<Tensor>,
    /// The slabs of the matrix that full fine-tuning trains instead of `weight`.
    pub trained: Option<Vec<Param>>,
    pub lora: Option<Lora>,
}

impl Linear {
    pub fn record(&self, rec: &mut Recorder, x: &Var) -> Var {
        let w = self.trained.as_deref().map_or(Matrix::Frozen(&self.weight), Matrix::Trained);
        let mut y = project(rec, None, x, w, None);
        if let Some(b) = &self.bias {
            y = bias(rec, y, b);
        }
        let Some(lora) = &self.lora else { return y };
        let kept = if lora.dropout { &dropout(rec, x, &lora.site) } else { x };
        let z = project(rec, None, kept, Matrix::Trained(from_ref(&lora.a)), None);
        project(rec, Some(y), &z, Matrix::Trained(from_ref(&lora.b)), Some(&lora.site))
    }
}
