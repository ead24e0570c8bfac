//! A whole model as one GGUF file, with an adapter merged into it or as it is.

use super::ModelFiles;
use super::whole_file::WholeFile;
use crate::adapter::AdapterFiles;
use crate::error::{Error, Result};
use crate::files::blocks::Blocks;
use crate::files::gguf_writer::{Field, Written, beginning, padding};
use crate::files::safetensors::Dtype;
use crate::model::GgufOutline;
use crate::text::tokenizer::{GgufMetadata, gguf_metadata};

/// What `--type` may say, and llama.cpp's number of a file with such matrices.
const TYPES: [(&str, Dtype, u32); 3] =
    [("f32", Dtype::F32, 0), ("f16", Dtype::F16, 1), ("q8_0", Dtype::Blocks(Blocks::Q8_0), 7)];
/// The version of the quantised blocks.
const BLOCKS_VERSION: u32 = 2;

impl ModelFiles {
    /// The model with an adapter, at a strength, merged into it. `kind`, the type of the matrices, is f32, f16 or q8_0.
    /// What llama.cpp needs to know about the model is written anew from its config and tokenizer, whatever file it
    /// came from. Errors: `Setting`, `NotYet`, and those of opening both.
    pub async fn gguf(&self, name: &str, adapter: Option<(&AdapterFiles, f64)>, kind: &str) -> Result<WholeFile<'_>> {
        let Some((kind, dtype, number)) = TYPES.into_iter().find(|(known, ..)| *known == kind) else {
            let expected = "f32, f16 or q8_0".to_string();
            return Err(Error::Setting { name: "type".to_string(), value: kind.to_string(), expected });
        };
        let checkpoint = self.checkpoint().await?;
        let config = &checkpoint.config;
        let GgufOutline { mut metadata, rope_factors, warning } = config.gguf_outline()?;
        let GgufMetadata { metadata: tokenizer, mut warnings, takes_space } =
            gguf_metadata(&self.small(), config.vocabulary)?;
        warnings.extend(checkpoint.warnings.clone());
        metadata.push(("general.name".to_string(), Field::Word(named(name, takes_space))));
        metadata.push(("general.file_type".to_string(), Field::U32(number)));
        metadata.push(("general.quantization_version".to_string(), Field::U32(BLOCKS_VERSION)));
        metadata.extend(tokenizer);
        let pairs = adapter.map_or(Ok(Vec::new()), |(adapter, strength)| adapter.pairs_at(config, strength))?;

        let (tensors, other) = config.gguf_tensors(dtype);
        warnings.extend(warning.into_iter().chain(other));
        let factors = (!rope_factors.is_empty()).then(|| Written {
            name: "rope_freqs.weight".to_string(),
            shape: vec![rope_factors.len()],
            dtype: Dtype::F32,
        });
        let own = tensors.iter().map(|(_, written)| written.clone());
        let table: Vec<Written> = factors.into_iter().chain(own).collect();
        let mut beginning = beginning(&metadata, &table);
        beginning.extend(rope_factors.iter().flat_map(|factor| factor.to_le_bytes()));
        beginning.resize(beginning.len() + padding(beginning.len() as u64), 0);
        let source = &self.weights;
        Ok(WholeFile { warnings, source, checkpoint, pairs, kind, is_gguf: true, beginning, tensors })
    }
}

/// llama.cpp knows by a model's name that its special tokens take the white space after them.
fn named(name: &str, takes_space: bool) -> String {
    let plain = name.to_lowercase();
    let is_known = ["phi-3", "phi3"].iter().any(|known| plain.contains(known));
    if takes_space && !is_known { format!("phi-3 {name}") } else { name.to_string() }
}
