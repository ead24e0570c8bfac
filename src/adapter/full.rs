//! Full fine-tuning, the baseline that LoRA is compared with: every linear of every block is trained, embedding, norms
//! and head stay frozen.

use std::ops::Range;
use std::rc::Rc;

use super::flat::{ALIGNMENT, Params, part, part_mut};
use crate::device::{Tensor, Usage};
use crate::error::{Error, Result};
use crate::model::{Target, Transformer};
use crate::ops::Param;

/// The trained matrices on the device in one flat buffer, and their gradients in another.
pub struct Full {
    pub(super) params: Params,
    /// In the order of the model.
    pub(super) matrices: Vec<(usize, Target, Range<usize>)>,
}

impl Full {
    /// Makes room for every linear of the blocks of `model`. Errors: `GpuLimit` for a model whose linears do not fit
    /// one binding.
    pub fn new(model: &Transformer) -> Result<Full> {
        let device = &model.device;
        let mut matrices = Vec::new();
        let mut end: usize = 0;
        for (layer, block) in model.blocks.iter().enumerate() {
            for (&target, linear) in &block.linears {
                let numbers = linear.weight.rows.saturating_mul(linear.weight.cols);
                let start = end;
                end = start.saturating_add(numbers);
                matrices.push((layer, target, start..end));
                end = end.checked_next_multiple_of(ALIGNMENT).unwrap_or(usize::MAX);
            }
        }
        let bytes = (end as u64).saturating_mul(4);
        if bytes > device.max_binding {
            return Err(Error::GpuLimit {
                what: "training every matrix at once".to_string(),
                needed: bytes,
                limit: device.max_binding,
            });
        }
        let buffer = |label| device.buffer(label, bytes, Usage::Storage);
        Ok(Full {
            params: Params { p: buffer("trained matrices")?, g: buffer("their gradient")?, length: end },
            matrices,
        })
    }

    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Where training starts: the base's own matrices.
    pub async fn initial(&self, model: &Transformer) -> Result<Vec<f32>> {
        let mut flat = vec![0.0; self.params.length];
        for (layer, target, range) in &self.matrices {
            let own = model.linear(*layer, *target).weight.download(&model.device).await?;
            part_mut(&mut flat, range).copy_from_slice(&own);
        }
        Ok(flat)
    }

    /// A model that reads the trained matrices instead of its own, and shares the rest.
    pub fn attach(&self, model: &Transformer) -> Transformer {
        let mut model = model.clone();
        for (layer, target, range) in &self.matrices {
            let linear = model.linear_mut(*layer, *target);
            let (rows, cols) = (linear.weight.rows, linear.weight.cols);
            let offset = (range.start as u64).saturating_mul(4);
            let tensor = |buffer: &Rc<_>| Tensor::in_buffer(Rc::clone(buffer), offset, rows, cols);
            linear.lora = None;
            linear.trained = Some(Param { value: tensor(&self.params.p), grad: tensor(&self.params.g) });
        }
        model
    }

    /// How many numbers are trained.
    pub fn parameters(&self) -> usize {
        self.matrices.iter().map(|(.., range)| range.len()).sum()
    }

    /// A whole checkpoint in f32: `model` with `flat`, which is in this layout, instead of its linears.
    pub async fn checkpoint(&self, model: &Transformer, flat: &[f32]) -> Result<Vec<u8>> {
        let trained = self.matrices.iter().map(|(layer, target, range)| ((*layer, *target), part(flat, range)));
        model.checkpoint(&trained.collect()).await
    }
}
