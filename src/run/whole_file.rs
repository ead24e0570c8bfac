//! A whole model as one file that has not been written yet.

use crate::adapter::{Pair, Recast};
use crate::error::Result;
use crate::files::Source;
use crate::files::gguf_writer::{Written, padding};
use crate::model::{Checkpoint, TensorSpec};
use crate::warning::Warning;

pub struct WholeFile<'a> {
    pub warnings: Vec<Warning>,
    pub(super) source: &'a Source,
    pub(super) checkpoint: Checkpoint,
    /// What is merged into it.
    pub(super) pairs: Vec<Pair>,
    /// The type that was asked for.
    pub(super) kind: &'static str,
    /// Its tensors are laid out and padded as those of a GGUF file are.
    pub(super) is_gguf: bool,
    /// All that stands before the tensors.
    pub(super) beginning: Vec<u8>,
    pub(super) tensors: Vec<(TensorSpec, Written)>,
}

impl WholeFile<'_> {
    pub fn bytes(&self) -> u64 {
        let tensors = self.tensors.iter().map(|(_, written)| written.bytes() + self.padding(written) as u64);
        self.beginning.len() as u64 + tensors.sum::<u64>()
    }

    /// Errors: `TensorNotFinite`, `Setting` for numbers beyond the type, those of `write`.
    pub async fn write(&self, write: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        write(&self.beginning)?;
        let WholeFile { source, checkpoint, pairs, kind, is_gguf, .. } = self;
        let recast = Recast { checkpoint, source, pairs, kind, is_gguf: *is_gguf };
        for (spec, written) in &self.tensors {
            recast.tensor(spec, written.dtype, write).await?;
            write(&vec![0; self.padding(written)])?;
        }
        Ok(())
    }

    fn padding(&self, written: &Written) -> usize {
        if self.is_gguf { padding(written.bytes()) } else { 0 }
    }
}
