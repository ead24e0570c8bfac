//! Writing a model's tensors as a checkpoint, and counting their bytes on the device.

use std::collections::HashMap;

use super::linear::Target;
use super::tensors::Role;
use super::transformer::Transformer;
use crate::device::Tensor;
use crate::error::Result;
use crate::files::safetensors::write;
use crate::ops::Weight;

/// A tensor on the device.
enum Loaded<'a> {
    Matrix(&'a Weight),
    Vector(&'a Tensor),
}

impl Transformer {
    fn loaded(&self, role: Role) -> Loaded<'_> {
        match role {
            Role::Embedding => Loaded::Matrix(&self.tables.embedding),
            Role::Norm(layer, norm) => Loaded::Vector(&self.blocks[layer].norms[&norm]),
            Role::Weight(layer, target) => Loaded::Matrix(&self.linear(layer, target).weight),
            Role::Bias(layer, target) => match &self.linear(layer, target).bias {
                Some(bias) => Loaded::Vector(bias),
                None => unreachable!("{target:?} of layer {layer} has no bias"),
            },
            Role::FinalNorm => Loaded::Vector(&self.tables.norm),
            Role::Head => Loaded::Matrix(self.head()),
        }
    }

    /// The bytes of a checkpoint in f32. `linears` replaces the numbers of some linears.
    pub async fn checkpoint(&self, linears: &HashMap<(usize, Target), &[f32]>) -> Result<Vec<u8>> {
        let specs = self.config.tensors();
        let mut own = Vec::with_capacity(specs.len());
        for spec in &specs {
            own.push(match (spec.role, self.loaded(spec.role)) {
                (Role::Weight(layer, target), _) if linears.contains_key(&(layer, target)) => Vec::new(),
                (_, Loaded::Matrix(weight)) => weight.download(&self.device).await?,
                (_, Loaded::Vector(vector)) => vector.download(&self.device).await?,
            });
        }
        let tensors: Vec<(String, Vec<usize>, &[f32])> = specs
            .into_iter()
            .zip(&own)
            .map(|(spec, own)| {
                let values = match spec.role {
                    Role::Weight(layer, target) => linears.get(&(layer, target)).copied().unwrap_or(own),
                    _ => own,
                };
                (spec.name, spec.shape, values)
            })
            .collect();
        Ok(write(&tensors, &[("format".to_string(), "pt".to_string())]))
    }

    /// Bytes of the frozen weights on the device.
    pub fn weight_bytes(&self) -> u64 {
        let bytes = |role: Role| match self.loaded(role) {
            Loaded::Matrix(weight) => weight.bytes(),
            Loaded::Vector(vector) => vector.bytes(),
        };
        self.config.tensors().into_iter().map(|spec| bytes(spec.role)).sum()
    }
}
