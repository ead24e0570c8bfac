//! The tensors of a checkpoint in other number formats, and in the order of another kind of file, with an adapter
//! merged into them or as they are: streamed from file to file.

use std::borrow::Cow;

use super::Pair;
use super::merge::PIECE;
use crate::error::{Error, Result};
use crate::files::Source;
use crate::files::safetensors::{Converted, Dtype, Entry, encode, to_f32};
use crate::files::source::interleaved_row;
use crate::model::gguf::converted;
use crate::model::{Checkpoint, Role, TensorSpec};

/// The most bytes of a matrix that is transposed on its way: the whole of it is read for each part of that size.
const PANEL: u64 = 16 << 20;

/// A checkpoint on its way to another kind of file.
pub struct Recast<'a> {
    pub checkpoint: &'a Checkpoint,
    pub source: &'a Source,
    pub pairs: &'a [Pair],
    /// The type that was asked for, which not all matrices can have.
    pub kind: &'a str,
    /// The file is laid out as llama.cpp's converter does it.
    pub is_gguf: bool,
}

impl Recast<'_> {
    /// Writes one tensor. Errors: `TensorNotFinite`, `Setting` for numbers beyond the type, those of
    /// `write`.
    pub async fn tensor(
        &self,
        spec: &TensorSpec,
        dtype: Dtype,
        write: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let entry = self.checkpoint.entry(spec);
        let target = if self.is_gguf { converted(spec, &self.checkpoint.config) } else { None };
        let is_turned = |converted| spec.transposed && converted != Some(Converted::Transposed);
        let pair = self.pairs.iter().find(|pair| Role::Weight(pair.site.layer, pair.site.target) == spec.role);
        let pair = pair.map(|pair| if is_turned(target) { Cow::Owned(pair.transposed()) } else { Cow::Borrowed(pair) });
        let head = if let Some(Converted::Interleaved(head)) = target { Some(head) } else { None };
        let plus = |converted| f64::from(u8::from(converted == Some(Converted::PlusOne)));
        let shift = plus(target) - plus(entry.converted);
        // A vector is read whole. If its numbers take turns, they are rows of one.
        let is_vector = spec.shape.len() == 1;
        let [rows, cols] = match (is_turned(target), spec.size()) {
            (true, [outputs, inputs]) => [inputs, outputs],
            (false, size) => size,
        };
        let transposes = is_turned(target) != is_turned(entry.converted);
        let (width, least) = (if is_vector && head.is_some() { 1 } else { cols }, head.unwrap_or(1));
        let row_bytes = (cols as u64).saturating_mul(4);
        let most = if transposes { PANEL } else { PIECE }.checked_div(row_bytes).unwrap_or(1).max(1) as usize;
        let mut bytes = Vec::new();
        let step = most.next_multiple_of(least);
        for first in (0..rows).step_by(step) {
            let count = step.min(rows.saturating_sub(first));
            let values = match transposes {
                true => self.source.columns(entry, [cols, rows], first, count).await?,
                false => self.rows(entry, cols, first, count).await?,
            };
            if values.iter().any(|x| !x.is_finite()) {
                return Err(Error::TensorNotFinite { name: entry.name.clone() });
            }
            let mut sums = match &pair {
                Some(pair) => pair.add_to(first, &values),
                None => values.iter().map(|x| f64::from(*x)).collect(),
            };
            // What needs no shift keeps its bits: -0.0 + 0.0 is 0.0.
            if shift != 0.0 {
                sums.iter_mut().for_each(|x| *x += shift);
            }
            bytes.clear();
            if !encode(dtype, &in_turns(sums, width, head), &mut bytes) {
                let expected = format!("f32, because `{}` would hold numbers beyond {}", entry.name, dtype);
                return Err(Error::Setting { name: "type".to_string(), value: self.kind.to_string(), expected });
            }
            write(&bytes)?;
        }
        Ok(())
    }

    async fn rows(&self, entry: &Entry, cols: usize, first: usize, count: usize) -> Result<Vec<f32>> {
        let mut values = Vec::new();
        to_f32(entry.dtype, &self.source.rows(entry, cols, first, count).await?, &mut values);
        Ok(values)
    }
}

/// Whole heads of rows in llama.cpp's order.
fn in_turns(values: Vec<f64>, cols: usize, head: Option<usize>) -> Vec<f64> {
    let Some(head) = head else { return values };
    let mut turned = values.clone();
    for (row, own) in values.chunks(cols).enumerate() {
        let place = turned.chunks_mut(cols).nth(interleaved_row(row, head));
        place.into_iter().for_each(|place| place.copy_from_slice(own));
    }
    turned
}
