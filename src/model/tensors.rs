//! The one list of what a checkpoint holds. Loading, checking, counting, merging and writing all go through it.

use super::config::Config;
use super::linear::Target;

/// Where a norm of a block acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Norm {
    /// On what enters attention.
    Attention,
    /// On what enters the MLP.
    Mlp,
    /// On each head of the queries.
    Query,
    /// On each head of the keys.
    Key,
}

impl Norm {
    /// How many numbers it has.
    fn size(self, config: &Config) -> usize {
        match self {
            Norm::Attention | Norm::Mlp => config.hidden,
            Norm::Query | Norm::Key => config.heads.size,
        }
    }
}

/// What a tensor is to the model. Blocks are counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// [V, C]: a row per token; of a tied model also the head.
    Embedding,
    /// [C], or [D] of a norm that acts on heads.
    Norm(usize, Norm),
    /// [out, in].
    Weight(usize, Target),
    /// [out].
    Bias(usize, Target),
    /// [C].
    FinalNorm,
    /// [V, C].
    Head,
}

/// A tensor as a checkpoint of this model names and shapes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    pub name: String,
    pub shape: Vec<usize>,
    pub role: Role,
}

impl TensorSpec {
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
        for layer in 0..self.layers {
            for (norm, path) in family.norms {
                let module = format!("{}.{layer}.{path}", family.blocks);
                tensors.push(spec(&module, "weight", vec![norm.size(self)], Role::Norm(layer, *norm)));
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
        if !self.tied {
            tensors.push(self.head());
        }
        tensors
    }

    /// The tensor of a linear's matrix.
    pub fn weight(&self, layer: usize, target: Target) -> TensorSpec {
        let (rows, cols) = target.shape(self);
        spec(&self.family.module(layer, target), "weight", vec![rows, cols], Role::Weight(layer, target))
    }

    /// The tensor of the head, which a tied model need not have.
    pub fn head(&self) -> TensorSpec {
        spec(self.family.head, "weight", vec![self.vocabulary, self.hidden], Role::Head)
    }
}

fn spec(module: &str, which: &str, shape: Vec<usize>, role: Role) -> TensorSpec {
    TensorSpec { name: format!("{module}.{which}"), shape, role }
}
