//! Merging: W + s · B A, row by row and summed in f64 on the host, into a model's weights on the device or into a
//! checkpoint on its way from file to file.

use std::rc::Rc;

use super::{Adapter, AdapterFiles, Pair};
use crate::device::{Format, Stored};
use crate::error::{Error, Result};
use crate::files::Source;
use crate::files::safetensors::{Entry, encode, to_f32};
use crate::model::{Checkpoint, Config, Transformer};
use crate::ops::{Slab, Weight};

/// The most bytes of a checkpoint in host memory at a time, except for a row that is longer.
pub(super) const PIECE: u64 = 4 << 20;
/// Rows of a matrix on the device that are summed at a time.
const ROWS: usize = 64;

impl Adapter {
    /// A model that computes what `model` computes with this adapter, but without the adapter's dispatches. `model`
    /// keeps its own weights, so unmerging means going back to it, bit for bit; both are on the device until the merged
    /// one is dropped. The sums are f32 even where the base is stored in f16, so nothing of the adapter is rounded
    /// away.
    pub async fn merge(&self, model: &Transformer) -> Result<Transformer> {
        let device = model.device.clone();
        let pairs = self.pairs(&self.read(&device).await?);
        let mut merged = model.clone();
        for linear in merged.blocks.iter_mut().flat_map(|block| block.linears.values_mut()) {
            linear.lora = None;
        }
        for pair in &pairs {
            pair.check(&model.config)?;
            let weight = &mut merged.linear_mut(pair.site.layer, pair.site.target).weight;
            let mut slabs = Vec::with_capacity(weight.slabs.len());
            for slab in weight.slabs.iter() {
                let values = slab.stored.download(&device).await?;
                let stored = Stored::new(&device, "merged", slab.stored.rows, slab.stored.cols, Format::F32)?;
                for (row, rows) in (0..).step_by(ROWS).zip(values.chunks(weight.cols.saturating_mul(ROWS))) {
                    let sums = pair.add_to(slab.first.saturating_add(row), rows);
                    let sums: Vec<f32> = sums.into_iter().map(|x| x as f32).collect();
                    stored.upload(&device, row, &sums);
                }
                slabs.push(Slab { first: slab.first, stored });
            }
            *weight = Weight { slabs: Rc::new(slabs), ..*weight };
        }
        Ok(merged)
    }
}

/// A checkpoint with an adapter merged into it, on its way from file to file.
pub struct Merge<'a> {
    base: &'a Source,
    /// In the order of the file.
    merges: Vec<(Entry, Pair)>,
}

impl AdapterFiles {
    /// The checkpoint `base` with this adapter merged into it: `strength` is a factor on the adapter. Header, names,
    /// order and number formats stay the same; only the bytes of the adapted linears change, each number rounded once
    /// to its format (to the nearest, ties to even). Not for a GGUF file. Errors: those of `load`; those of
    /// `Checkpoint::open`.
    pub async fn merge<'a>(&self, config: &Config, base: &'a Source, strength: f64) -> Result<Merge<'a>> {
        let pairs = self.pairs_at(config, strength)?;
        let checkpoint = Checkpoint::open(config.clone(), base).await?;
        let mut merges = Vec::with_capacity(pairs.len());
        for pair in pairs {
            pair.check(config)?;
            let spec = config.weight(pair.site.layer, pair.site.target);
            let entry = checkpoint.entry(&spec).clone();
            assert!(entry.converted.is_none(), "a GGUF file has no layout to keep");
            merges.push((entry, if spec.transposed { pair.transposed() } else { pair }));
        }
        merges.sort_by_key(|(entry, _)| entry.begin);
        Ok(Merge { base, merges })
    }

    /// A and B of every site of this adapter times `strength`. At 0 there are none, so that a base stays as it is, bit
    /// for bit. Errors: those of `load`; `Setting` for a strength that is not finite.
    pub fn pairs_at(&self, config: &Config, strength: f64) -> Result<Vec<Pair>> {
        if !strength.is_finite() {
            let (name, value, expected) = ("strength".to_string(), strength.to_string(), "a finite number".to_string());
            return Err(Error::Setting { name, value, expected });
        }
        let mut pairs = self.pairs(config)?;
        pairs.iter_mut().for_each(|pair| pair.site.alpha *= strength);
        Ok(if strength == 0.0 { Vec::new() } else { pairs })
    }
}

impl Merge<'_> {
    /// Writes the bytes of one file of the checkpoint, which are `from..to` of all its files. Errors: `TensorNotFinite`
    /// for the base; `Adapter` where a sum is beyond its format; those of `write`.
    pub async fn write(&self, from: u64, to: u64, write: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut done = from;
        for (entry, pair) in self.merges.iter().filter(|(entry, _)| (from..to).contains(&entry.begin)) {
            copy(self.base, done, entry.begin, write).await?;
            merge_tensor(self.base, entry, pair, write).await?;
            done = entry.end;
        }
        copy(self.base, done, to, write).await
    }
}

/// Bytes `from..to` as they are.
async fn copy(base: &Source, from: u64, to: u64, write: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut at = from;
    while at < to {
        let length = to.saturating_sub(at).min(PIECE);
        write(&base.read(at, length).await?)?;
        at = at.saturating_add(length);
    }
    Ok(())
}

async fn merge_tensor(
    base: &Source,
    entry: &Entry,
    pair: &Pair,
    write: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let (_, row_bytes) = entry.range(0, pair.a.cols as u64);
    let rows_per_piece = PIECE.checked_div(row_bytes).unwrap_or(1).max(1) as usize;
    let (mut values, mut bytes) = (Vec::new(), Vec::new());
    let mut at = entry.begin;
    for first in (0..pair.b.rows).step_by(rows_per_piece) {
        let rows = rows_per_piece.min(pair.b.rows.saturating_sub(first));
        let piece = base.read(at, row_bytes.saturating_mul(rows as u64)).await?;
        at = at.saturating_add(piece.len() as u64);
        values.clear();
        to_f32(entry.dtype, &piece, &mut values);
        if values.iter().any(|x| !x.is_finite()) {
            return Err(Error::TensorNotFinite { name: entry.name.clone() });
        }
        bytes.clear();
        if !encode(entry.dtype, &pair.add_to(first, &values), &mut bytes) {
            let reason = format!(
                "merged into `{}` of the base it gives numbers that are too large for {:?}",
                entry.name, entry.dtype
            );
            return Err(Error::Adapter { file: "adapter_model.safetensors".to_string(), reason });
        }
        write(&bytes)?;
    }
    Ok(())
}

impl Pair {
    /// What is added to the transpose of W: (B A)ᵀ = Aᵀ Bᵀ.
    pub(super) fn transposed(&self) -> Pair {
        Pair { site: self.site, a: self.b.transposed(), b: self.a.transposed() }
    }

    /// Rows `first…` of W + s · B A, as many as `w` holds.
    pub(super) fn add_to(&self, first: usize, w: &[f32]) -> Vec<f64> {
        let scale = self.site.scale();
        let mut sums: Vec<f64> = w.iter().map(|x| f64::from(*x)).collect();
        for (row, b) in sums.chunks_mut(self.a.cols).zip(self.b.values.chunks(self.site.rank).skip(first)) {
            for (b, a) in b.iter().zip(self.a.values.chunks(self.a.cols)) {
                let factor = scale * f64::from(*b);
                row.iter_mut().zip(a).for_each(|(sum, a)| *sum += factor * f64::from(*a));
            }
        }
        sums
    }
}
