//! Writing a model's tensors as a checkpoint, and counting their bytes on the device.

use std::collections::HashMap;

use super::linear::Target;
use super::tensors::{Role, TensorSpec};
use super::transformer::{OnDevice, Transformer};
use crate::error::Result;
use crate::files::safetensors::write;

impl Transformer {
    /// The bytes of a checkpoint in f32. `linears` replaces the numbers of some linears.
    pub async fn checkpoint(&self, linears: &HashMap<(usize, Target), &[f32]>) -> Result<Vec<u8>> {
        let given = |spec: &TensorSpec| match spec.role {
            Role::Weight(layer, target) => linears.get(&(layer, target)).copied(),
            _ => None,
        };
        let specs = self.config.tensors();
        let mut own = Vec::with_capacity(specs.len());
        for spec in &specs {
            let values = match (given(spec), self.on_device(spec.role)) {
                (Some(given), _) if spec.transposed => given.to_vec(),
                (Some(_), _) => Vec::new(),
                (None, OnDevice::Weight(weight)) => weight.download(&self.device).await?,
                (None, OnDevice::Tensor(tensor)) => tensor.download(&self.device).await?,
            };
            own.push(if spec.transposed { transposed(&values, spec.size()) } else { values });
        }
        let tensors: Vec<(String, Vec<usize>, &[f32])> = specs
            .into_iter()
            .zip(&own)
            .map(|(spec, own)| {
                let values = given(&spec).filter(|_| !spec.transposed).unwrap_or(own);
                (spec.name, spec.shape, values)
            })
            .collect();
        Ok(write(&tensors, &[("format".to_string(), "pt".to_string())]))
    }

    /// Bytes of the largest buffer of the embedding, the head and the norms, which full fine-tuning leaves as they are.
    pub fn largest_frozen(&self) -> u64 {
        let specs = self.config.tensors();
        let frozen = specs.into_iter().filter(|spec| !matches!(spec.role, Role::Weight(..)));
        let largest = |role: Role| match self.on_device(role) {
            OnDevice::Weight(weight) => weight.largest_operand(),
            OnDevice::Tensor(tensor) => tensor.bytes(),
        };
        frozen.map(|spec| largest(spec.role)).max().unwrap_or(0)
    }

    /// Bytes of the frozen weights on the device.
    pub fn weight_bytes(&self) -> u64 {
        let bytes = |role: Role| match self.on_device(role) {
            OnDevice::Weight(weight) => weight.bytes(),
            OnDevice::Tensor(tensor) => tensor.bytes(),
        };
        self.config.tensors().into_iter().map(|spec| bytes(spec.role)).sum()
    }
}

/// The columns of a matrix one after the other.
fn transposed(values: &[f32], [rows, cols]: [usize; 2]) -> Vec<f32> {
    (0..cols).flat_map(|col| (0..rows).map(move |row| values[row * cols + col])).collect()
}
