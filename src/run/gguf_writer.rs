//! A whole model as one GGUF file, with an adapter merged into it or as it is.

use super::ModelFiles;
use crate::adapter::{AdapterFiles, GgufMerge};
use crate::error::{Error, Result};
use crate::files::blocks::Blocks;
use crate::files::gguf_writer::{Field, Written, beginning, padding};
use crate::files::safetensors::Dtype;
use crate::model::GgufOutline;
use crate::text::tokenizer::gguf_metadata;
use crate::warning::Warning;

/// What `--type` may say, and llama.cpp's number of a file with such matrices.
const TYPES: [(&str, Dtype, u32); 3] =
    [("f32", Dtype::F32, 0), ("f16", Dtype::F16, 1), ("q8_0", Dtype::Blocks(Blocks::Q8_0), 7)];
/// The version of the quantised blocks.
const BLOCKS_VERSION: u32 = 2;

impl ModelFiles {
    /// Writes the file. `kind`, that of the matrices, is f32, f16 or q8_0. What llama.cpp needs to know about the model
    /// is written anew from its config and tokenizer, whatever file it came from. Errors: `Setting`, `NotYet`, and
    /// those of opening both, of `write`, and of numbers beyond the type.
    pub async fn write_gguf(
        &self,
        name: &str,
        adapter: Option<&AdapterFiles>,
        kind: &str,
        write: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<Vec<Warning>> {
        let Some((_, dtype, number)) = TYPES.into_iter().find(|(known, ..)| *known == kind) else {
            let expected = "f32, f16 or q8_0".to_string();
            return Err(Error::Setting { name: "type".to_string(), value: kind.to_string(), expected });
        };
        let checkpoint = self.checkpoint().await?;
        let config = &checkpoint.config;
        let GgufOutline { mut metadata, rope_factors, head } = config.gguf_outline()?;
        let (tokenizer, mut warnings) = gguf_metadata(&self.small(), config.vocabulary)?;
        warnings.extend(checkpoint.warnings.clone());
        metadata.push(("general.name".to_string(), Field::Word(name.to_string())));
        metadata.push(("general.file_type".to_string(), Field::U32(number)));
        metadata.push(("general.quantization_version".to_string(), Field::U32(BLOCKS_VERSION)));
        metadata.extend(tokenizer);
        let pairs = adapter.map_or(Ok(Vec::new()), |adapter| adapter.pairs(config))?;

        let (tensors, other) = config.gguf_tensors(dtype);
        warnings.extend(other);
        let (specs, own): (Vec<_>, Vec<_>) = tensors.into_iter().unzip();
        let factors = (!rope_factors.is_empty()).then(|| Written {
            name: "rope_freqs.weight".to_string(),
            shape: vec![rope_factors.len()],
            dtype: Dtype::F32,
        });
        let table: Vec<Written> = factors.into_iter().chain(own).collect();
        write(&beginning(&metadata, &table))?;
        let factors: Vec<u8> = rope_factors.iter().flat_map(|factor| factor.to_le_bytes()).collect();
        write(&factors)?;
        write(&vec![0; padding(factors.len() as u64)])?;
        let merge = GgufMerge { checkpoint: &checkpoint, source: &self.weights, pairs: &pairs, head };
        let first = table.len().saturating_sub(specs.len());
        for (spec, written) in specs.iter().zip(table.iter().skip(first)) {
            merge.tensor(spec, written, write).await?;
        }
        Ok(warnings)
    }
}
