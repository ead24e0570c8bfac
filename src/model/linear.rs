//! A frozen linear layer and, on top of it, a LoRA pair: y = x Wᵀ + b + s (x Aᵀ) Bᵀ (Hu et al. 2021).

use std::slice::from_ref;

use super::config::Config;
use crate::device::Tensor;
use crate::ops::{LowRank, Matrix, Param, Weight, add, bias, dropout, low_rank, low_rank_onto, project};
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

    pub const QUERY_KEY_VALUE: [Target; 3] = [Target::Q, Target::K, Target::V];
    pub const GATE_UP: [Target; 2] = [Target::Gate, Target::Up];
    /// Those that read the same activation.
    pub const SIBLINGS: [&[Target]; 2] = [&Target::QUERY_KEY_VALUE, &Target::GATE_UP];

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
        let [y] = Linear::record_all(rec, [self], x);
        y
    }

    /// Records linears that all read x.
    pub fn record_all<const N: usize>(rec: &mut Recorder, linears: [&Linear; N], x: &Var) -> [Var; N] {
        let pairs: Vec<LowRank> = linears.iter().filter_map(|linear| linear.low_rank()).collect();
        let mut adapted = low_rank(rec, x, &pairs).into_iter();
        linears.map(|linear| {
            let y = match linear.low_rank() {
                Some(_) => adapted.next().unwrap_or_else(|| unreachable!("each linear of a stack has its y")),
                None => linear.beside(rec, x),
            };
            match &linear.bias {
                Some(b) => bias(rec, y, b),
                None => y,
            }
        })
    }

    /// Records r + y, where r is a residual.
    pub fn record_onto(&self, rec: &mut Recorder, r: &Var, x: &Var) -> Var {
        // A bias comes before the residual, so that strength zero leaves the bits of the base.
        if let Some(pair) = self.low_rank().filter(|_| self.bias.is_none()) {
            return low_rank_onto(rec, r, x, &pair);
        }
        let y = self.record(rec, x);
        add(rec, r, &y)
    }

    /// The frozen weight and its pair, if nothing stands between x and A.
    fn low_rank(&self) -> Option<LowRank> {
        let Lora { a, b, site, .. } = self.lora.as_ref().filter(|lora| !lora.dropout && self.trained.is_none())?;
        Some(LowRank { weight: self.weight.clone(), a: a.clone(), b: b.clone(), site: site.clone() })
    }

    /// x Wᵀ and, with dropout before A, the low-rank term.
    fn beside(&self, rec: &mut Recorder, x: &Var) -> Var {
        let w = self.trained.as_deref().map_or(Matrix::Frozen(&self.weight), Matrix::Trained);
        let y = project(rec, None, x, w, None);
        let Some(lora) = &self.lora else { return y };
        let kept = if lora.dropout { &dropout(rec, x, &lora.site) } else { x };
        let z = project(rec, None, kept, Matrix::Trained(from_ref(&lora.a)), None);
        project(rec, Some(y), &z, Matrix::Trained(from_ref(&lora.b)), Some(&lora.site))
    }
}
