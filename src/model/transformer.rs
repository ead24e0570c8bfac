//! The whole model: tables, blocks, final norm, head. Recording is the forward pass read aloud.

use std::rc::Rc;

use super::block::{Block, Positions};
use super::config::{Config, Layer};
use super::linear::{Linear, Target};
use super::norm::NormWeights;
use super::rope::Rope;
use super::storage::Storage;
use super::tensors::Role;
use crate::device::{Device, Format, Pool, Tensor};
use crate::error::Result;
use crate::ops::{Cache, RopeTables, Weight, embed, gather_rows, learned_positions};
use crate::plan::{Recorder, Var};
use crate::warning::Warning;

/// The tensors outside the blocks.
#[derive(Clone)]
pub struct Tables {
    pub embedding: Weight,
    /// Learned positions [context, C].
    pub positions: Option<Tensor>,
    pub norm: NormWeights,
    /// `None`: the embedding.
    pub head: Option<Weight>,
}

/// A tensor on the device.
pub(super) enum OnDevice<'a> {
    Weight(&'a Weight),
    Tensor(&'a Tensor),
}

/// Cheap to clone: clones share the frozen weights and differ in the adapters attached to them.
#[derive(Clone)]
pub struct Transformer {
    /// That of the file: not tied if its head differs from the embedding.
    pub config: Config,
    /// How the matrices are stored. `AsFile` means that they differ in it, as those of their file do.
    pub storage: Storage,
    /// What loading it had to say.
    pub warnings: Vec<Warning>,
    pub device: Rc<Device>,
    /// Activation memory of every plan of this model.
    pub pool: Pool,
    /// Whether plans that train keep only the input of each block, and compute the block again in the backward pass.
    pub checkpointing: bool,
    pub blocks: Vec<Block>,
    pub(super) tables: Tables,
    /// As `Config.pattern`.
    positions: Vec<Positions>,
}

impl Transformer {
    pub(super) fn new(device: &Rc<Device>, config: Config, tables: Tables, blocks: Vec<Block>) -> Result<Transformer> {
        let positions = positions(device, &config)?;
        let (device, pool, storage, warnings) = (device.clone(), Pool::default(), Storage::default(), Vec::new());
        Ok(Transformer { config, storage, warnings, device, pool, checkpointing: false, blocks, tables, positions })
    }

    pub fn head(&self) -> &Weight {
        self.tables.head.as_ref().unwrap_or(&self.tables.embedding)
    }

    /// Where a tensor of the list is.
    pub(super) fn on_device(&self, role: Role) -> OnDevice<'_> {
        match role {
            Role::Embedding => OnDevice::Weight(&self.tables.embedding),
            Role::Positions => OnDevice::Tensor(present(role, &self.tables.positions)),
            Role::Norm(layer, norm) => OnDevice::Tensor(&self.blocks[layer].norms[&norm].gain),
            Role::NormBias(layer, norm) => OnDevice::Tensor(present(role, &self.blocks[layer].norms[&norm].bias)),
            Role::Weight(layer, target) => OnDevice::Weight(&self.linear(layer, target).weight),
            Role::Bias(layer, target) => OnDevice::Tensor(present(role, &self.linear(layer, target).bias)),
            Role::FinalNorm => OnDevice::Tensor(&self.tables.norm.gain),
            Role::FinalNormBias => OnDevice::Tensor(present(role, &self.tables.norm.bias)),
            Role::Head => OnDevice::Weight(self.head()),
        }
    }

    /// How a tensor of the list is stored.
    pub fn format(&self, role: Role) -> Format {
        match self.on_device(role) {
            OnDevice::Weight(weight) => weight.slabs.first().map_or(Format::F32, |slab| slab.stored.format),
            OnDevice::Tensor(_) => Format::F32,
        }
    }

    /// A linear of a block, which exists: adapters are checked against the config first.
    pub fn linear(&self, layer: usize, target: Target) -> &Linear {
        let linear = self.blocks.get(layer).and_then(|block| block.linears.get(&target));
        linear.unwrap_or_else(|| unreachable!("the model has no {target:?} in layer {layer}"))
    }

    pub fn linear_mut(&mut self, layer: usize, target: Target) -> &mut Linear {
        let linear = self.blocks.get_mut(layer).and_then(|block| block.linears.get_mut(&target));
        linear.unwrap_or_else(|| unreachable!("the model has no {target:?} in layer {layer}"))
    }

    /// The same model with dropout before every A.
    pub fn with_dropout(&self) -> Transformer {
        let mut model = self.clone();
        for linear in model.blocks.iter_mut().flat_map(|block| block.linears.values_mut()) {
            if let Some(lora) = &mut linear.lora {
                lora.dropout = true;
            }
        }
        model
    }

    /// Records the normalised hidden states [labelled, C] of those rows of the input's sequences that have a label, of
    /// which there are at most `most`. With caches, they are of one sequence that goes on at `Step.position`.
    pub fn hidden(&self, rec: &mut Recorder, rows: usize, most: usize, caches: Option<&[Cache]>) -> Var {
        let mut x = embed(rec, &self.tables.embedding, rows, self.config.embedding_scale as f32);
        if let Some(table) = &self.tables.positions {
            x = learned_positions(rec, x, table);
        }
        for (layer, block) in self.blocks.iter().enumerate() {
            rec.cut();
            let cache = caches.map(|caches| caches[layer].clone());
            let (block, config) = (block.clone(), self.config.clone());
            let positions = self.positions[layer % self.positions.len()].clone();
            let is_last = layer + 1 == self.blocks.len();
            let record = move |rec: &mut Recorder, x| {
                let x = block.attention(rec, &config, &positions, x, cache.as_ref());
                if !is_last {
                    return block.mlp(rec, &config, &x);
                }
                // No row reads another after the last attention, so those without a label have had their effect.
                let labelled = gather_rows(rec, &x, most);
                drop(x);
                rec.of_labelled(|rec| block.mlp(rec, &config, &labelled))
            };
            x = if self.checkpointing { rec.checkpoint(x, record) } else { record(rec, x) };
        }
        rec.cut();
        rec.of_labelled(|rec| self.tables.norm.record(rec, &self.config, &x))
    }
}

/// A tensor that the list of the config's tensors has, and so the model.
fn present(role: Role, tensor: &Option<Tensor>) -> &Tensor {
    tensor.as_ref().unwrap_or_else(|| unreachable!("the model has no {role:?}"))
}

/// What the layers of the pattern know of positions. Layers with the same rope share its tables.
fn positions(device: &Rc<Device>, config: &Config) -> Result<Vec<Positions>> {
    let mut made: Vec<(Rope, RopeTables)> = Vec::new();
    let mut tables = |rope: Rope| match made.iter().find(|(other, _)| *other == rope) {
        Some((_, tables)) => Ok(tables.clone()),
        None => {
            let frequencies = rope.frequencies(config.heads.size);
            let tables = RopeTables::new(device, config.context, &frequencies, rope.amplitude())?;
            made.push((rope, tables.clone()));
            Ok(tables)
        }
    };
    let positions =
        |layer: &Layer| Ok(Positions { window: layer.window, rope: layer.rope.map(&mut tables).transpose()? });
    config.pattern.iter().map(positions).collect()
}
