//! Loading a checkpoint: every tensor of the list is checked, then all are allocated, then streamed to the device in
//! pieces.

use std::collections::HashMap;
use std::rc::Rc;

use super::block::Block;
use super::checkpoint::Checkpoint;
use super::config::Config;
use super::linear::{Linear, Target};
use super::norm::NormWeights;
use super::storage::{Storage, keeps_blocks, kept_in_f16, stored_otherwise};
use super::tensors::{Role, TensorSpec};
use super::transformer::{OnDevice, Tables, Transformer};
use crate::device::{Device, Format, Stored, Tensor};
use crate::error::{Error, Result};
use crate::files::Source;
use crate::files::safetensors::{Converted, to_f32};
use crate::ops::{Slab, Weight};
use crate::warning::Warning;

/// How many bytes of a checkpoint are read at a time, and how many may wait for the device to take them.
const PIECE: u64 = 4 << 20;
const QUEUED: u64 = 64 << 20;
/// How many numbers of a matrix are transposed at a time.
const PANEL: usize = 4 << 20;

impl Transformer {
    /// Loads a checkpoint. `progress(bytes done, bytes in all)`. With [`Storage::AsFile`], f32 stores the numbers of a
    /// file of bf16 that are beyond f16.
    pub async fn load(
        device: &Rc<Device>,
        config: Config,
        source: &Source,
        storage: Storage,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Transformer> {
        let checkpoint = Checkpoint::open(config, source).await?;
        let mut loader = Loader { device, source, checkpoint, done: 0, queued: 0, progress };
        match loader.load(storage).await {
            Err(Error::Setting { expected, .. }) if storage == Storage::AsFile => {
                let mut model = loader.load(Storage::F32).await?;
                let message = format!("the weights are stored as {expected}");
                model.warnings.push(Warning { code: "weights_in_f32", message });
                Ok(model)
            }
            loaded => loaded,
        }
    }

    /// A model whose numbers are all zero, with its matrices stored as `format` says. Errors: `GpuLimit`.
    pub fn zeros(device: &Rc<Device>, config: Config, format: &dyn Fn(&TensorSpec) -> Format) -> Result<Transformer> {
        let (mut weights, mut tensors) = (HashMap::new(), HashMap::new());
        for (layer, targets) in (0..config.layers).flat_map(|layer| Target::SIBLINGS.map(|targets| (layer, targets))) {
            let has = |target: &&Target| config.family.targets().any(|other| other == **target);
            let specs = targets.iter().filter(has).map(|target| config.weight(layer, *target));
            weights.extend(stack(device, &specs.collect::<Vec<_>>(), format)?);
        }
        for spec in config.tensors() {
            let [rows, cols] = spec.size();
            match spec.role.is_weight() {
                true if weights.contains_key(&spec.role) => {}
                true => drop(weights.insert(spec.role, matrix(device, &spec.name, rows, cols, format(&spec))?)),
                false => drop(tensors.insert(spec.role, Tensor::owned(device, &spec.name, rows, cols)?)),
            }
        }

        let mut matrix = |role: Role| weights.remove(&role).unwrap_or_else(|| missing(role));
        // The list has the biases and the positions that the family has.
        let norm = |tensors: &mut HashMap<Role, Tensor>, gain: Role, bias: Role| NormWeights {
            gain: tensors.remove(&gain).unwrap_or_else(|| missing(gain)),
            bias: tensors.remove(&bias),
        };
        let family = config.family;
        let blocks = (0..config.layers).map(|layer| Block {
            norms: family
                .norms
                .iter()
                .map(|(place, _)| {
                    (*place, norm(&mut tensors, Role::Norm(layer, *place), Role::NormBias(layer, *place)))
                })
                .collect(),
            linears: family
                .targets()
                .map(|target| {
                    let bias = tensors.remove(&Role::Bias(layer, target));
                    (target, Linear { weight: matrix(Role::Weight(layer, target)), bias, trained: None, lora: None })
                })
                .collect(),
        });
        let blocks = blocks.collect();
        let tables = Tables {
            embedding: matrix(Role::Embedding),
            positions: tensors.remove(&Role::Positions),
            norm: norm(&mut tensors, Role::FinalNorm, Role::FinalNormBias),
            head: (!config.tied).then(|| matrix(Role::Head)),
        };
        Transformer::new(device, config, tables, blocks)
    }
}

/// The matrices of linears that read the same activation, one after the other, so that a product can take them as one.
/// Nothing if they differ in format, or if no binding holds them all.
fn stack(device: &Device, specs: &[TensorSpec], format: &dyn Fn(&TensorSpec) -> Format) -> Result<Vec<(Role, Weight)>> {
    let [first, _, ..] = specs else { return Ok(Vec::new()) };
    let ([_, cols], kind) = (first.size(), format(first));
    let rows: Vec<usize> = specs.iter().map(|spec| spec.size()[0]).collect();
    let most = Format::rows_per_binding(device, &first.name, cols)?;
    if rows.iter().sum::<usize>() > most || specs.iter().any(|spec| format(spec) != kind) {
        return Ok(Vec::new());
    }
    let stored = Stored::stack(device, &first.name, &rows, cols, kind)?.unwrap_or_default();
    let weight = |stored: Stored| Weight { rows: stored.rows, cols, slabs: Rc::new(vec![Slab { first: 0, stored }]) };
    Ok(specs.iter().map(|spec| spec.role).zip(stored.into_iter().map(weight)).collect())
}

/// A matrix in slabs of rows, each within the device's binding limit.
fn matrix(device: &Device, name: &str, rows: usize, cols: usize, format: Format) -> Result<Weight> {
    let most = Format::rows_per_binding(device, name, cols)?;
    let size = if most >= rows { rows } else { most / 4 * 4 };
    let mut slabs = Vec::new();
    for first in (0..rows).step_by(size) {
        let stored = Stored::new(device, name, size.min(rows - first), cols, format)?;
        slabs.push(Slab { first, stored });
    }
    Ok(Weight { rows, cols, slabs: Rc::new(slabs) })
}

fn missing<T>(role: Role) -> T {
    unreachable!("the list of tensors lacks {role:?}")
}

struct Loader<'a> {
    device: &'a Rc<Device>,
    source: &'a Source,
    checkpoint: Checkpoint,
    done: u64,
    /// Bytes since the last flush.
    queued: u64,
    progress: &'a mut dyn FnMut(u64, u64),
}

impl Loader<'_> {
    /// Errors: `Setting` for numbers beyond the format of their matrix.
    async fn load(&mut self, storage: Storage) -> Result<Transformer> {
        let checkpoint = &self.checkpoint;
        let format = |spec: &TensorSpec| storage.format(spec, checkpoint.entry(spec).dtype);
        let mut model = Transformer::zeros(self.device, checkpoint.config.clone(), &format)?;
        model.storage = storage.resolve(checkpoint);
        model.warnings = checkpoint.warnings.clone();
        model.warnings.extend(stored_otherwise(checkpoint, &format));
        model.warnings.extend(kept_in_f16(&model.config, storage, &format));
        self.done = 0;
        for spec in model.config.tensors() {
            match model.on_device(spec.role) {
                OnDevice::Weight(weight) if spec.transposed && self.checkpoint.entry(&spec).converted.is_none() => {
                    self.transpose(&spec, &weight.slabs).await?;
                }
                OnDevice::Weight(weight) => self.stream(&spec, &weight.slabs).await?,
                OnDevice::Tensor(tensor) => {
                    self.stream(&spec, &[Slab { first: 0, stored: Stored::f32(tensor.clone()) }]).await?;
                }
            }
        }
        Ok(model)
    }

    async fn stream(&mut self, spec: &TensorSpec, slabs: &[Slab]) -> Result<()> {
        let entry = self.checkpoint.entry(spec).clone();
        let mut values = Vec::new();
        for Slab { first, stored } in slabs {
            let (_, row_bytes) = entry.range(0, stored.cols as u64);
            // A matrix is uploaded in fours of rows, so that every piece begins at a word.
            let rows_per_piece = (PIECE / row_bytes / 4 * 4).max(4) as usize;
            for row in (0..stored.rows).step_by(rows_per_piece) {
                let count = rows_per_piece.min(stored.rows - row);
                let bytes = self.source.rows(&entry, stored.cols, first + row, count).await?;
                values.clear();
                to_f32(entry.dtype, &bytes, &mut values);
                if entry.converted == Some(Converted::PlusOne) {
                    values.iter_mut().for_each(|x| *x -= 1.0);
                }
                check_range(&entry.name, &values, stored.format)?;
                match keeps_blocks(entry.dtype, stored.format) {
                    true => stored.upload_blocks(self.device, row, &bytes),
                    false => stored.upload(self.device, row, &values),
                }
                self.count(bytes.len() as u64).await?;
            }
        }
        Ok(())
    }

    /// Fills slabs from a matrix that the file has as [in, out]. The file is read from its first row to its last for
    /// every panel of columns, so host memory holds one panel and one piece of the file.
    async fn transpose(&mut self, spec: &TensorSpec, slabs: &[Slab]) -> Result<()> {
        let entry = self.checkpoint.entry(spec).clone();
        let [outputs, inputs] = spec.size();
        // As in `stream`, in fours of rows.
        let most = (PANEL / inputs / 4 * 4).max(4);
        for Slab { first, stored } in slabs {
            for row in (0..stored.rows).step_by(most) {
                let count = most.min(stored.rows - row);
                let panel = self.source.columns(&entry, [inputs, outputs], first + row, count).await?;
                check_range(&entry.name, &panel, stored.format)?;
                stored.upload(self.device, row, &panel);
                self.count(entry.range(0, panel.len() as u64).1).await?;
            }
        }
        Ok(())
    }

    /// Reports how far loading has come, and lets the device take what is queued.
    async fn count(&mut self, bytes: u64) -> Result<()> {
        self.done += bytes;
        self.queued += bytes;
        if self.queued >= QUEUED {
            self.device.flush().await?;
            self.queued = 0;
        }
        (self.progress)(self.done, self.source.bytes);
        Ok(())
    }
}

fn check_range(name: &str, values: &[f32], format: Format) -> Result<()> {
    if values.iter().any(|x| !x.is_finite()) {
        return Err(Error::TensorNotFinite { name: name.to_string() });
    }
    let largest = format.largest();
    if values.iter().any(|x| x.abs() > largest) {
        let expected = format!("f32, because tensor `{name}` holds numbers beyond {largest}");
        let value = format.feature().unwrap_or("f32").to_string();
        return Err(Error::Setting { name: "weights".to_string(), value, expected });
    }
    Ok(())
}
