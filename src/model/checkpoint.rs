//! A checkpoint's file: which of its tensors is which of the model's. Names of the same tensor that other programs
//! write are understood, buffers are ignored, and whether a tied model has a head of its own is decided here.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "checkpoints come from anywhere"
)]

use std::collections::{HashMap, HashSet};

use super::config::Config;
use super::tensors::{Role, TensorSpec};
use crate::error::{Error, Result};
use crate::files::Source;
use crate::files::safetensors::{Converted, Entry, Header, to_f32};
use crate::warning::Warning;

/// What wrappers put in front of a model's names: `torch.compile` and `DistributedDataParallel`.
pub const WRAPPERS: [&str; 2] = ["_orig_mod.", "module."];
/// The last parts of buffers: the engine computes what they hold.
const BUFFERS: [&[&str]; 9] = [
    &["inv_freq"],
    &["original_inv_freq"],
    &["cos_cached"],
    &["sin_cached"],
    &["position_ids"],
    &["masked_bias"],
    &["causal_mask"],
    &["attn", "bias"],
    &["attention", "bias"],
];
/// The last parts of tensors that libraries write which quantise.
const QUANTISED: [(&str, &str); 16] = [
    ("absmax", "bitsandbytes"),
    ("quant_map", "bitsandbytes"),
    ("nested_absmax", "bitsandbytes"),
    ("nested_quant_map", "bitsandbytes"),
    ("bitsandbytes__nf4", "bitsandbytes"),
    ("bitsandbytes__fp4", "bitsandbytes"),
    ("SCB", "bitsandbytes"),
    ("weight_format", "bitsandbytes"),
    ("qweight", "GPTQ or AWQ"),
    ("qzeros", "GPTQ or AWQ"),
    ("g_idx", "GPTQ or AWQ"),
    ("scales", "GPTQ, AWQ or MLX"),
    ("weight_scale", "8-bit numbers"),
    ("weight_scale_inv", "8-bit numbers"),
    ("input_scale", "8-bit numbers"),
    ("weight_packed", "compressed-tensors"),
];
/// How many numbers of two tables are compared at a time: whole blocks.
const PIECE: u64 = 4 << 20;

/// The tensors of a checkpoint, by the names that the model gives them.
pub struct Checkpoint {
    /// Not tied if the file has a head that differs from the embedding.
    pub config: Config,
    pub warnings: Vec<Warning>,
    entries: HashMap<String, Entry>,
}

impl Checkpoint {
    /// Checks every name and shape against the config. Errors: `Safetensors`, `NotSafetensors`, `Shards`, `Quantised`,
    /// the errors of tensors, `Io`.
    pub async fn open(config: Config, source: &Source) -> Result<Checkpoint> {
        let header = source.header().await?;
        let warnings = header.warnings.clone();
        refuse_quantised(&header)?;
        let file = source.name.clone();
        let mut known: HashSet<String> = config.tensors().into_iter().map(|spec| spec.name).collect();
        known.insert(config.head().name);
        if let Some(other) = header.others.iter().find(|other| !is_buffer(&other.name)) {
            return Err(Error::TensorType { name: other.name.clone(), dtype: other.dtype.clone(), file });
        }
        let (mut entries, mut unknown) = (HashMap::<String, Entry>::new(), None);
        for entry in header.entries.into_iter().filter(|entry| !is_buffer(&entry.name)) {
            let Some(name) = model_name(&entry.name, &config, &known) else {
                unknown.get_or_insert(entry.name);
                continue;
            };
            let second = entry.name.clone();
            if let Some(first) = entries.insert(name, entry) {
                return Err(Error::TensorNames { first: first.name, second, file });
            }
        }
        let mut checkpoint = Checkpoint { config, warnings, entries };
        checkpoint.decide_head(source).await?;
        for spec in checkpoint.config.tensors() {
            checkpoint.check(&spec, &file)?;
        }
        // A bias or the scale of a quantised weight is part of the model: without it the numbers would be wrong.
        match unknown {
            Some(name) => Err(Error::TensorUnknown { name, file }),
            None => Ok(checkpoint),
        }
    }

    /// A tensor that the model has.
    pub fn entry(&self, spec: &TensorSpec) -> &Entry {
        let entry = self.entries.get(&spec.name);
        entry.unwrap_or_else(|| unreachable!("`{}` was found when the names were checked", spec.name))
    }

    fn check(&self, spec: &TensorSpec, file: &str) -> Result<()> {
        let entry = self.entries.get(&spec.name);
        let entry = entry.ok_or_else(|| Error::TensorMissing { name: spec.name.clone(), file: file.to_string() })?;
        let mut expected = spec.shape.clone();
        if entry.converted == Some(Converted::Transposed) {
            expected.reverse();
        }
        if entry.shape != expected {
            let (name, found) = (entry.name.clone(), entry.shape.clone());
            return Err(Error::TensorShape { name, expected, found });
        }
        Ok(())
    }

    /// What transformers 5 does: the one table of a tied model may have either name, a head that equals the embedding
    /// is nothing new, and one that differs is used.
    async fn decide_head(&mut self, source: &Source) -> Result<()> {
        if !self.config.tied {
            return Ok(());
        }
        let head = self.config.head();
        let Some(embedding) = self.config.tensors().into_iter().find(|spec| spec.role == Role::Embedding) else {
            return Ok(());
        };
        if !self.entries.contains_key(&head.name) {
            return Ok(());
        }
        self.check(&head, &source.name)?;
        if !self.entries.contains_key(&embedding.name) {
            if let Some(table) = self.entries.remove(&head.name) {
                self.entries.insert(embedding.name, table);
            }
            return Ok(());
        }
        self.check(&embedding, &source.name)?;
        if !same_numbers(source, self.entry(&head), self.entry(&embedding)).await? {
            self.config.tied = false;
            self.warnings.push(Warning {
                code: "head_differs",
                message: format!(
                    "config.json says that the head is the embedding (`tie_word_embeddings`), but `{}` differs from \
                     `{}`: the head of the file is used, as transformers 5 does",
                    self.entry(&head).name,
                    self.entry(&embedding).name
                ),
            });
        }
        Ok(())
    }
}

/// What the model calls the tensor: without what wrappers put in front, and with the prefix that an inner model which
/// was saved alone lacks.
fn model_name(name: &str, config: &Config, known: &HashSet<String>) -> Option<String> {
    let name = unwrapped(name);
    let outside = config.family.outside(&name);
    [name, outside].into_iter().find(|name| known.contains(name))
}

/// The name without the prefixes of wrappers, however many there are.
pub fn unwrapped(mut name: &str) -> String {
    while let Some(rest) = WRAPPERS.iter().find_map(|wrapper| name.strip_prefix(wrapper)) {
        name = rest;
    }
    // A block that was compiled alone has its wrapper inside.
    name.replace("._orig_mod.", ".")
}

fn is_buffer(name: &str) -> bool {
    let parts: Vec<&str> = name.split('.').collect();
    BUFFERS.iter().any(|last| parts.ends_with(last))
}

fn refuse_quantised(header: &Header) -> Result<()> {
    let found = header.names().filter_map(|name| {
        let last = name.rsplit('.').next()?;
        Some((name, QUANTISED.iter().find(|(part, _)| *part == last)?.1))
    });
    match found.min() {
        Some((name, by)) => Err(Error::Quantised { what: format!("it has tensor `{name}` ({by})") }),
        None => Ok(()),
    }
}

/// Whether two tensors of one shape hold the same numbers, whatever their types are.
async fn same_numbers(source: &Source, a: &Entry, b: &Entry) -> Result<bool> {
    let numbers = a.shape.iter().fold(1_u64, |product, n| product.saturating_mul(*n as u64));
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for first in (0..numbers).step_by(PIECE as usize) {
        let count = PIECE.min(numbers.saturating_sub(first));
        for (entry, values) in [(a, &mut left), (b, &mut right)] {
            let (at, length) = entry.range(first, count);
            values.clear();
            to_f32(entry.dtype, &source.read(at, length).await?, values);
        }
        if left != right {
            return Ok(false);
        }
    }
    Ok(true)
}
