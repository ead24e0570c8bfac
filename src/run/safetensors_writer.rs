//! A whole model as one safetensors file in another number format, with an adapter merged into it.

use super::ModelFiles;
use super::whole_file::WholeFile;
use crate::adapter::AdapterFiles;
use crate::error::{Error, Result};
use crate::files::gguf_writer::Written;
use crate::files::safetensors::{Dtype, beginning};
use crate::model::TensorSpec;

/// What `--type` may say, and what config.json calls it.
const TYPES: [(&str, Dtype, &str); 2] = [("f32", Dtype::F32, "float32"), ("f16", Dtype::F16, "float16")];

impl ModelFiles {
    /// The model with an adapter, at a strength, merged into it; also of a GGUF file. Every number is in `kind`, f32 or
    /// f16, which is also returned as config.json calls it. Errors: `Setting`, and those of opening both.
    pub async fn safetensors(
        &self,
        adapter: &AdapterFiles,
        strength: f64,
        kind: &str,
    ) -> Result<(WholeFile<'_>, &'static str)> {
        let Some((kind, dtype, word)) = TYPES.into_iter().find(|(known, ..)| *known == kind) else {
            let expected = "f32 or f16 for safetensors".to_string();
            return Err(Error::Setting { name: "type".to_string(), value: kind.to_string(), expected });
        };
        let checkpoint = self.checkpoint().await?;
        let pairs = adapter.pairs_at(&checkpoint.config, strength)?;
        let mut tensors: Vec<(TensorSpec, Written)> = Vec::new();
        for spec in checkpoint.config.tensors() {
            let written = Written { name: spec.name.clone(), shape: spec.shape.clone(), dtype };
            tensors.push((spec, written));
        }
        tensors.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        let table: Vec<Written> = tensors.iter().map(|(_, written)| written.clone()).collect();
        let file = WholeFile {
            warnings: checkpoint.warnings.clone(),
            source: &self.weights,
            checkpoint,
            pairs,
            kind,
            is_gguf: false,
            beginning: beginning(&table, &[("format".to_string(), "pt".to_string())]),
            tensors,
        };
        Ok((file, word))
    }
}
