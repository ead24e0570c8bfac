//! Writing a model's tensors as a checkpoint, and counting their bytes on the device.

use std::collections::HashMap;

use super::linear::Target;
use super::tensors::Role;
use super::transformer::{OnDevice, Transformer};
use crate::error::Result;
use crate::files::safetensors::write;

impl Transformer {
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
