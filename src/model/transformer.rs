//! The whole model: tables, blocks, final norm, head. Loading streams tensors to the adapter; recording is the forward
//! pass read aloud.

use std::collections::HashSet;
use std::rc::Rc;

use super::block::Block;
use super::config::Config;
use super::linear::{Linear, Target};
use super::llama;
use crate::device::{Device, Format, Pool, Tensor};
use crate::error::{Error, Result};
use crate::files::Source;
use crate::files::safetensors::{Dtype, Header, to_f32, write};
use crate::ops::{Cache, RopeTables, Slab, Weight, embed, rms_norm};
use crate::plan::{Recorder, Var};

/// Most bytes of a checkpoint that are read at a time, and that wait for the adapter to take them.
const PIECE: u64 = 4 << 20;
const QUEUED: u64 = 64 << 20;
const LARGEST_F16: f32 = 65504.0;

/// How frozen matrices are stored on the adapter. Norms are always f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// f16 for what the file holds in f16, which loses nothing, f32 for the rest.
    #[default]
    #[serde(rename = "auto")]
    AsFile,
    F32,
    /// Half the memory; numbers of f32 and bf16 files are rounded.
    F16,
}

impl Storage {
    /// `auto`, `f32` or `f16`. Errors: `Setting`.
    pub fn parse(name: &str) -> Result<Storage> {
        match name {
            "auto" => Ok(Storage::AsFile),
            "f32" => Ok(Storage::F32),
            "f16" => Ok(Storage::F16),
            other => Err(Error::Setting {
                name: "weights".to_string(),
                value: other.to_string(),
                expected: "auto, f32 or f16".to_string(),
            }),
        }
    }

    fn format(self, dtype: Dtype) -> Format {
        match (self, dtype) {
            (Storage::F16, _) | (Storage::AsFile, Dtype::F16) => Format::F16,
            _ => Format::F32,
        }
    }
}

/// Cheap to clone: clones share the frozen weights and differ in the adapters attached.
#[derive(Clone)]
pub struct Transformer {
    pub config: Config,
    pub device: Rc<Device>,
    /// Activation memory of every plan of this model.
    pub pool: Pool,
    pub blocks: Vec<Block>,
    embedding: Weight,
    norm: Tensor,
    head: Option<Weight>,
    rope: RopeTables,
}

impl Transformer {
    /// Loads a checkpoint of f32, f16 or bf16. `progress(bytes done, bytes in all)`.
    pub async fn load(
        device: &Rc<Device>,
        config: Config,
        source: &Source,
        storage: Storage,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Transformer> {
        let header = source.header().await?;
        let mut loader = Loader { device, source, header, storage, done: 0, queued: 0, progress };
        loader.check(&config)?;

        let embedding = loader.weight(llama::EMBEDDING, config.vocabulary, config.hidden).await?;
        let mut blocks = Vec::with_capacity(config.layers);
        for layer in 0..config.layers {
            let input_norm = loader.vector(&llama::norm(layer, "input_layernorm"), config.hidden).await?;
            let post_attention_norm =
                loader.vector(&llama::norm(layer, "post_attention_layernorm"), config.hidden).await?;
            let mut block = Block { input_norm, post_attention_norm, linears: Default::default() };
            for target in Target::ALL {
                let (rows, cols) = target.shape(&config);
                let weight = loader.weight(&format!("{}.weight", llama::module(layer, target)), rows, cols).await?;
                block.linears.insert(target, Linear { weight, trained: None, lora: None });
            }
            blocks.push(block);
        }
        let norm = loader.vector(llama::FINAL_NORM, config.hidden).await?;
        let head = match config.tied {
            true => None,
            false => Some(loader.weight(llama::HEAD, config.vocabulary, config.hidden).await?),
        };
        let rope = RopeTables::new(device, config.context, config.heads.size, config.rope_theta)?;
        Ok(Transformer { config, device: device.clone(), pool: Pool::default(), blocks, embedding, norm, head, rope })
    }

    pub fn head(&self) -> &Weight {
        self.head.as_ref().unwrap_or(&self.embedding)
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

    /// Records the normalised hidden states [rows, C] of `batch` sequences. With caches, those of one sequence that
    /// goes on at `Step.position`.
    pub fn hidden(&self, rec: &mut Recorder, rows: usize, batch: usize, caches: Option<&[Cache]>) -> Var {
        let mut x = embed(rec, &self.embedding, rows);
        for (layer, block) in self.blocks.iter().enumerate() {
            rec.cut();
            x = block.record(rec, &self.config, &self.rope, x, batch, caches.and_then(|caches| caches.get(layer)));
        }
        rec.cut();
        rms_norm(rec, &x, &self.norm, self.config.rms_norm_eps)
    }

    /// The bytes of a checkpoint in f32, with other numbers in the place of some linears.
    pub async fn checkpoint(&self, linears: impl Iterator<Item = (usize, Target, &[f32])>) -> Result<Vec<u8>> {
        let mut tensors = Vec::new();
        let mut add = async |name: String, shape: Vec<usize>, parts: &[&Tensor]| {
            let mut values = Vec::new();
            for part in parts {
                values.extend(part.download(&self.device).await?);
            }
            tensors.push((name, shape, values));
            Ok::<(), Error>(())
        };
        let table = |weight: &Weight| weight.slabs.iter().map(|slab| slab.tensor.clone()).collect::<Vec<_>>();
        let (rows, cols) = (self.config.vocabulary, self.config.hidden);
        for (name, weight) in [(llama::EMBEDDING, Some(&self.embedding)), (llama::HEAD, self.head.as_ref())] {
            if let Some(weight) = weight {
                add(name.to_string(), vec![rows, cols], &table(weight).iter().collect::<Vec<_>>()).await?;
            }
        }
        for (layer, block) in self.blocks.iter().enumerate() {
            add(llama::norm(layer, "input_layernorm"), vec![cols], &[&block.input_norm]).await?;
            add(llama::norm(layer, "post_attention_layernorm"), vec![cols], &[&block.post_attention_norm]).await?;
        }
        add(llama::FINAL_NORM.to_string(), vec![cols], &[&self.norm]).await?;
        let kept = tensors.iter().map(|(name, shape, values)| (name.clone(), shape.clone(), values.as_slice()));
        let linears = linears.map(|(layer, target, values)| {
            let (rows, cols) = target.shape(&self.config);
            (format!("{}.weight", llama::module(layer, target)), vec![rows, cols], values)
        });
        Ok(write(&kept.chain(linears).collect::<Vec<_>>(), &[("format".to_string(), "pt".to_string())]))
    }

    /// Bytes of the frozen weights on the adapter.
    pub fn weight_bytes(&self) -> u64 {
        let weights = self.blocks.iter().flat_map(|block| block.linears.values().map(|linear| &linear.weight));
        let weights = weights.chain([&self.embedding]).chain(&self.head);
        let norms =
            self.blocks.iter().flat_map(|block| [&block.input_norm, &block.post_attention_norm]).chain([&self.norm]);
        weights
            .flat_map(|weight| weight.slabs.iter().map(|slab| slab.tensor.bytes()))
            .chain(norms.map(Tensor::bytes))
            .sum()
    }
}

struct Loader<'a> {
    device: &'a Rc<Device>,
    source: &'a Source,
    header: Header,
    storage: Storage,
    done: u64,
    /// Bytes since the last flush.
    queued: u64,
    progress: &'a mut dyn FnMut(u64, u64),
}

impl Loader<'_> {
    /// Compares every shape with what the config implies, before anything is allocated.
    fn check(&self, config: &Config) -> Result<()> {
        let hidden = config.hidden;
        let mut expected = vec![
            (llama::EMBEDDING.to_string(), vec![config.vocabulary, hidden]),
            (llama::FINAL_NORM.to_string(), vec![hidden]),
        ];
        if !config.tied {
            expected.push((llama::HEAD.to_string(), vec![config.vocabulary, hidden]));
        }
        for layer in 0..config.layers {
            expected.push((llama::norm(layer, "input_layernorm"), vec![hidden]));
            expected.push((llama::norm(layer, "post_attention_layernorm"), vec![hidden]));
            for target in Target::ALL {
                let (rows, cols) = target.shape(config);
                expected.push((format!("{}.weight", llama::module(layer, target)), vec![rows, cols]));
            }
        }
        for (name, shape) in &expected {
            let entry = self
                .header
                .get(name)
                .ok_or_else(|| Error::TensorMissing { name: name.clone(), file: self.source.name.clone() })?;
            if entry.shape != *shape {
                return Err(Error::TensorShape {
                    name: name.clone(),
                    expected: shape.clone(),
                    found: entry.shape.clone(),
                });
            }
        }
        // A bias or the scale of a quantised weight is a part of the model: without it the numbers would be wrong, and
        // nobody would know.
        let expected: HashSet<String> = expected.into_iter().map(|(name, _)| name).collect();
        let known = |name: &str| expected.contains(name) || llama::is_redundant(name);
        match self.header.entries.iter().find(|entry| !known(&entry.name)) {
            Some(entry) => Err(Error::TensorUnknown { name: entry.name.clone(), file: self.source.name.clone() }),
            None => Ok(()),
        }
    }

    async fn vector(&mut self, name: &str, n: usize) -> Result<Tensor> {
        let tensor = Tensor::owned(self.device, name, 1, n)?;
        self.stream(name, 1, n, &[Slab { first: 0, tensor: tensor.clone() }]).await?;
        Ok(tensor)
    }

    /// A matrix in slabs of rows, each within the adapter's binding limit.
    async fn weight(&mut self, name: &str, rows: usize, cols: usize) -> Result<Weight> {
        let dtype = self.header.get(name).map_or(Dtype::F32, |entry| entry.dtype);
        let format = self.storage.format(dtype);
        // As if in f32, so that a weight is cut alike however it is stored.
        let most = (self.device.max_binding / (cols as u64 * 4)) as usize;
        if most < 4 {
            return Err(Error::GpuLimit {
                what: format!("four rows of `{name}`"),
                needed: cols as u64 * 16,
                limit: self.device.max_binding,
            });
        }
        let size = if most >= rows { rows } else { most / 4 * 4 };
        let mut slabs = Vec::new();
        for first in (0..rows).step_by(size) {
            slabs
                .push(Slab { first, tensor: Tensor::stored(self.device, name, size.min(rows - first), cols, format)? });
        }
        self.stream(name, rows, cols, &slabs).await?;
        Ok(Weight { rows, cols, slabs: Rc::new(slabs) })
    }

    async fn stream(&mut self, name: &str, rows: usize, cols: usize, slabs: &[Slab]) -> Result<()> {
        let entry = self
            .header
            .get(name)
            .ok_or_else(|| Error::TensorMissing { name: name.to_string(), file: self.source.name.clone() })?;
        let (dtype, begin) = (entry.dtype, entry.begin);
        let row_bytes = (entry.end - begin) / rows as u64;
        let rows_per_piece = (PIECE / row_bytes.max(1)).max(1) as usize;
        let mut values = Vec::new();
        for slab in slabs {
            for first in (0..slab.tensor.rows).step_by(rows_per_piece) {
                let count = rows_per_piece.min(slab.tensor.rows - first);
                let bytes =
                    self.source.read(begin + (slab.first + first) as u64 * row_bytes, count as u64 * row_bytes).await?;
                values.clear();
                to_f32(dtype, &bytes, &mut values);
                if values.iter().any(|x| !x.is_finite()) {
                    return Err(Error::TensorNotFinite { name: name.to_string() });
                }
                if slab.tensor.format == Format::F16 && values.iter().any(|x| x.abs() > LARGEST_F16) {
                    let expected = format!("f32, because tensor `{name}` holds numbers beyond {LARGEST_F16}");
                    return Err(Error::Setting { name: "weights".to_string(), value: "f16".to_string(), expected });
                }
                slab.tensor.upload_at(self.device, first * cols, &values);
                self.done += bytes.len() as u64;
                self.queued += bytes.len() as u64;
                if self.queued >= QUEUED {
                    self.device.flush().await?;
                    self.queued = 0;
                }
                (self.progress)(self.done, self.source.bytes);
            }
        }
        Ok(())
    }
}
