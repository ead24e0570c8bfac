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
enum OnDevice<'a> {
    Matrix(&'a Weight),
    Vector(&'a Tensor),
}

impl Transformer {
    fn on_device(&self, role: Role) -> OnDevice<'_> {
        match role {
            Role::Embedding => OnDevice::Matrix(&self.tables.embedding),
            Role::Norm(layer, norm) => OnDevice::Vector(&self.blocks[layer].norms[&norm]),
            Role::Weight(layer, target) => OnDevice::Matrix(&self.linear(layer, target).weight),
            Role::Bias(layer, target) => match &self.linear(layer, target).bias {
                Some(bias) => OnDevice::Vector(bias),
                None => unreachable!("{target:?} of layer {layer} has no bias"),
            },
            Role::FinalNorm => OnDevice::Vector(&self.tables.norm),
            Role::Head => OnDevice::Matrix(self.head()),
        }
    }

    /// The bytes of a checkpoint in f32. `linears` replaces the numbers of some linears.
    pub async fn checkpoint(&self, linears: &HashMap<(usize, Target), &[f32]>) -> Result<Vec<u8>> {
        let specs = self.config.tensors();
        let mut own = Vec::with_capacity(specs.len());
        for spec in &specs {
            own.push(match (spec.role, self.on_device(spec.role)) {
                (Role::Weight(layer, target), _) if linears.contains_key(&(layer, target)) => Vec::new(),
                (_, OnDevice::Matrix(weight)) => weight.download(&self.device).await?,
                (_, OnDevice::Vector(vector)) => vector.download(&self.device).await?,
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
        let bytes = |role: Role| match self.on_device(role) {
            OnDevice::Matrix(weight) => weight.bytes(),
            OnDevice::Vector(vector) => vector.bytes(),
        };
        self.config.tensors().into_iter().map(|spec| bytes(spec.role)).sum()
    }
}
