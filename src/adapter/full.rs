//! Full fine-tuning, the baseline that LoRA is compared with: every linear of every block is trained, embedding, norms
//! and head stay frozen.

use std::ops::Range;

use super::flat::{Layout, Params, part, part_mut};
use crate::device::{Segments, Tensor};
use crate::error::{Error, Result};
use crate::model::{Config, Target, Transformer};
use crate::ops::Param;

/// The trained matrices and their gradients on the device.
pub struct Full {
    pub(super) params: Params,
    /// In the order of the model.
    pub(super) matrices: Vec<(usize, Target, Range<usize>)>,
}

impl Full {
    /// Makes room for every linear of the blocks of `model`. Errors: `GpuLimit`.
    pub fn new(model: &Transformer) -> Result<Full> {
        let device = &model.device;
        let mut layout = Layout::within(device.max_binding);
        let mut matrices = Vec::new();
        for (layer, block) in model.blocks.iter().enumerate() {
            for (&target, linear) in &block.linears {
                let (rows, cols) = (linear.weight.rows, linear.weight.cols);
                let range = layout.place(rows, cols).ok_or_else(|| Error::GpuLimit {
                    what: format!("training `{}`", model.config.weight(layer, target).name),
                    needed: (rows as u64).saturating_mul(cols as u64).saturating_mul(4),
                    limit: device.max_binding,
                })?;
                matrices.push((layer, target, range));
            }
        }
        let lengths = layout.lengths();
        let segments = |label| Segments::new(device, label, &lengths);
        Ok(Full { params: Params { p: segments("trained matrices")?, g: segments("their gradient")? }, matrices })
    }

    /// How many numbers it trains of a model with this config.
    pub fn size(config: &Config) -> u64 {
        let numbers = |(rows, cols): (usize, usize)| (rows as u64).saturating_mul(cols as u64);
        let block = config.family.targets().map(|target| numbers(target.shape(config))).fold(0, u64::saturating_add);
        block.saturating_mul(config.layers as u64)
    }

    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Where training starts: the base's own matrices.
    pub async fn initial(&self, model: &Transformer) -> Result<Vec<f32>> {
        let mut flat = vec![0.0; self.params.p.length()];
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
            linear.lora = None;
            linear.trained = Some(self.slabs(range, linear.weight.cols));
        }
        model
    }

    /// The rows of `cols` numbers in a range, cut where the segments are.
    fn slabs(&self, range: &Range<usize>, cols: usize) -> Vec<Param> {
        let (mut begin, mut slabs) = (0_usize, Vec::new());
        for (p, g) in self.params.p.0.iter().zip(&self.params.g.0) {
            let end = begin.saturating_add(p.cols);
            let own = range.start.max(begin)..range.end.min(end);
            if !own.is_empty() {
                let offset = (own.start.saturating_sub(begin) as u64).saturating_mul(4);
                let rows = own.len().checked_div(cols).unwrap_or(0);
                let tensor = |segment: &Tensor| Tensor::in_buffer(segment.buffer(), offset, rows, cols);
                slabs.push(Param { value: tensor(p), grad: tensor(g) });
            }
            begin = end;
        }
        slabs
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
