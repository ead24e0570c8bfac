//! A whole model with an adapter merged into it, as files that are written one by one. It is made from the files of the
//! base, not from what an engine holds, so that nothing is rounded twice.

use super::ModelFiles;
use super::whole_file::WholeFile;
use crate::adapter::{AdapterFiles, Merge};
use crate::error::{Error, Result};
use crate::files::Source;
use crate::model::Config;
use crate::warning::Warning;

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const GGUF: &str = "model.gguf";
/// That of a GGUF file's matrices, and of what comes from a GGUF file.
const USUAL_TYPE: &str = "f16";

/// What becomes of a model.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
pub struct MergeOptions {
    /// A factor on the adapter.
    pub strength: f64,
    /// "safetensors", a Hugging Face checkpoint, or "gguf".
    pub format: String,
    /// Of safetensors, f32 or f16; by default, a checkpoint keeps its layout and its number formats. Of the matrices of
    /// a GGUF file, f32, f16 or q8_0.
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

/// The files of such a model, before they are written.
pub struct Merged<'a> {
    pub warnings: Vec<Warning>,
    weights: Weights<'a>,
    /// In this order, the folder of a checkpoint is whole once the last one is there.
    files: Vec<(String, Content)>,
}

enum Weights<'a> {
    AsBase(Merge<'a>),
    Recast(Box<WholeFile<'a>>),
}

enum Content {
    Bytes(Vec<u8>),
    /// A range of the weights.
    Weights(u64, u64),
}

impl ModelFiles {
    /// The model, which is called `name`, with an adapter merged into it. Nothing but headers is read. Errors:
    /// `Setting`, `NotYet`, and those of opening both.
    pub async fn merged(&self, name: &str, adapter: &AdapterFiles, options: &MergeOptions) -> Result<Merged<'_>> {
        let MergeOptions { strength, format, kind } = options;
        let config = Config::parse(&self.config)?;
        let mut warnings = adapter.warnings(&config)?;
        let is_gguf = match format.as_str() {
            "safetensors" => false,
            "gguf" => true,
            other => {
                let (name, expected) = ("format".to_string(), "safetensors or gguf".to_string());
                return Err(Error::Setting { name, value: other.to_string(), expected });
            }
        };
        let has_layout = !is_gguf && !self.weights.is_converted();
        if kind.is_none() && has_layout {
            let weights = Weights::AsBase(adapter.merge(&config, &self.weights, *strength).await?);
            return Ok(Merged { warnings, weights, files: self.as_base() });
        }
        let kind = kind.as_deref().unwrap_or(USUAL_TYPE);
        let (file, mut files) = if is_gguf {
            (self.gguf(name, Some((adapter, *strength)), kind).await?, Vec::new())
        } else {
            let (file, word) = self.safetensors(adapter, *strength, kind).await?;
            (file, self.companions_of_merged(Some(word)))
        };
        warnings.extend(file.warnings.clone());
        files.push(((if is_gguf { GGUF } else { WEIGHTS }).to_string(), Content::Weights(0, file.bytes())));
        Ok(Merged { warnings, weights: Weights::Recast(Box::new(file)), files })
    }

    /// The files of the base, of whose weights some will be others.
    fn as_base(&self) -> Vec<(String, Content)> {
        let mut files = self.companions_of_merged(None);
        let mut begin = 0;
        for (name, bytes) in files_of(&self.weights) {
            files.push((name, Content::Weights(begin, begin + bytes)));
            begin += bytes;
        }
        let index = self.weights.shards.as_ref().map(|shards| Content::Bytes(shards.index().to_vec()));
        files.extend(index.map(|index| (INDEX.to_string(), index)));
        files
    }

    fn companions_of_merged(&self, dtype: Option<&str>) -> Vec<(String, Content)> {
        let companions = self.companions(dtype).into_iter();
        companions.map(|(name, bytes)| (name.to_string(), Content::Bytes(bytes))).collect()
    }
}

impl Merged<'_> {
    /// Their names and how many bytes they have.
    pub fn files(&self) -> impl Iterator<Item = (&str, u64)> {
        self.files.iter().map(|(name, content)| match content {
            Content::Bytes(bytes) => (name.as_str(), bytes.len() as u64),
            Content::Weights(begin, end) => (name.as_str(), end - begin),
        })
    }

    /// Writes the file of this name. Errors: `Io` if there is none; those of [`Merge::write`] and [`WholeFile::write`].
    pub async fn write(&self, name: &str, write: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let found = self.files.iter().find(|(file, _)| file == name);
        match (found, &self.weights) {
            (Some((_, Content::Bytes(bytes))), _) => write(bytes),
            (Some((_, Content::Weights(begin, end))), Weights::AsBase(merge)) => merge.write(*begin, *end, write).await,
            (Some((_, Content::Weights(..))), Weights::Recast(file)) => file.write(write).await,
            (None, _) => {
                Err(Error::Io { path: name.to_string(), reason: "a merged model has no such file".to_string() })
            }
        }
    }
}

/// The files of a checkpoint's weights and their bytes, in the order of [`Merge::write`].
pub fn files_of(weights: &Source) -> Vec<(String, u64)> {
    match &weights.shards {
        Some(shards) => shards.files().map(|(name, bytes)| (name.to_string(), bytes)).collect(),
        None => vec![(WEIGHTS.to_string(), weights.bytes)],
    }
}
