//! The one list of what a checkpoint holds. Loading, checking, counting, merging and writing all go through it.

use super::config::{Config, NormKind};
use super::linear::Target;

/// Where a norm of a block acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Norm {
    /// On what enters attention.
    Attention,
    /// On what attention returns, before it is added.
    AttentionOutput,
    /// On what enters the MLP.
    Mlp,
    /// On what the MLP returns, before it is added.
    MlpOutput,
    /// On each head of the queries.
    Query,
    /// On each head of the keys.
    Key,
}

impl Norm {
    /// How many numbers it has.
    fn size(self, config: &Config) -> usize {
        match self {
            Norm::Attention | Norm::AttentionOutput | Norm::Mlp | Norm::MlpOutput => config.hidden,
            Norm::Query | Norm::Key => config.heads.size,
        }
    }
}

/// What a tensor is to the model. Blocks are counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// [V, C]: a row per token; of a tied model also the head.
    Embedding,
    /// [context, C].
    Positions,
    /// [C], or [D] of a norm that acts on heads.
    Norm(usize, Norm),
    /// [C].
    NormBias(usize, Norm),
    /// [out, in].
    Weight(usize, Target),
    /// [out].
    Bias(usize, Target),
    /// [C].
    FinalNorm,
    /// [C].
    FinalNormBias,
    /// [V, C].
    Head,
}

/// A tensor as a checkpoint of this model names and shapes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    pub name: String,
    pub shape: Vec<usize>,
    pub role: Role,
    /// A matrix that the checkpoint has as [in, out].
    pub transposed: bool,
}

impl Role {
    /// Whether the device keeps it in the format of the weights; the others are f32.
    pub fn is_weight(self) -> bool {
        matches!(self, Role::Embedding | Role::Weight(..) | Role::Head)
    }
}

impl TensorSpec {
    /// Rows and columns on the device, where matrices are [out, in] and vectors have one row.
    pub fn size(&self) -> [usize; 2] {
        match (self.shape.as_slice(), self.transposed) {
            ([inputs, outputs], true) => [*outputs, *inputs],
            ([rows, cols], false) => [*rows, *cols],
            ([n], _) => [1, *n],
            (shape, _) => unreachable!("`{}` of shape {shape:?} is neither a matrix nor a vector", self.name),
        }
    }

    /// `None` beyond what u64 counts.
    pub fn numbers(&self) -> Option<u64> {
        self.shape.iter().try_fold(1u64, |product, n| product.checked_mul(*n as u64))
    }
}

impl Config {
    /// Every tensor of a checkpoint of this model.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let family = self.family;
        let table = vec![self.vocabulary, self.hidden];
        let mut tensors = Vec::new();
        tensors.push(spec(family.embedding, "weight", table, Role::Embedding));
        if let Some(module) = family.positions {
            tensors.push(spec(module, "weight", vec![self.context, self.hidden], Role::Positions));
        }
        let has_bias = self.norm == NormKind::LayerNorm;
        for layer in 0..self.layers {
            for (norm, path) in family.norms {
                let module = format!("{}.{layer}.{path}", family.blocks);
                tensors.push(spec(&module, "weight", vec![norm.size(self)], Role::Norm(layer, *norm)));
                if has_bias {
                    tensors.push(spec(&module, "bias", vec![norm.size(self)], Role::NormBias(layer, *norm)));
                }
            }
            for target in family.targets() {
                tensors.push(self.weight(layer, target));
                if self.biases.has(target) {
                    let (module, (rows, _)) = (family.module(layer, target), target.shape(self));
                    tensors.push(spec(&module, "bias", vec![rows], Role::Bias(layer, target)));
                }
            }
        }
        tensors.push(spec(family.final_norm, "weight", vec![self.hidden], Role::FinalNorm));
        if has_bias {
            tensors.push(spec(family.final_norm, "bias", vec![self.hidden], Role::FinalNormBias));
        }
        if !self.tied {
            tensors.push(self.head());
        }
        tensors
    }

    /// The tensor of a linear's matrix.
    pub fn weight(&self, layer: usize, target: Target) -> TensorSpec {
        let (rows, cols) = target.shape(self);
        let transposed = self.layout.transposed;
        let shape = if transposed { vec![cols, rows] } else { vec![rows, cols] };
        let weight = spec(&self.family.module(layer, target), "weight", shape, Role::Weight(layer, target));
        TensorSpec { transposed, ..weight }
    }

    /// The tensor of the head, which a tied model need not have.
    pub fn head(&self) -> TensorSpec {
        spec(self.family.head, "weight", vec![self.vocabulary, self.hidden], Role::Head)
    }
}

fn spec(module: &str, which: &str, shape: Vec<usize>, role: Role) -> TensorSpec {
    TensorSpec { name: format!("{module}.{which}"), shape, role, transposed: false }
}
