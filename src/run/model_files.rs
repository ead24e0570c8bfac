//! A whole model before it is loaded: the small files of a checkpoint, and where its weights are. A GGUF file holds all
//! of it.

use super::BaseFiles;
use crate::error::Result;
use crate::files::{Gguf, Source, json};
use crate::model::{Checkpoint, Config, GgufModel};
use crate::text::tokenizer::GgufTokenizer;

pub struct ModelFiles {
    pub config: Vec<u8>,
    pub tokenizer: Vec<u8>,
    pub tokenizer_config: Option<Vec<u8>>,
    pub generation_config: Option<Vec<u8>>,
    pub chat_template: Option<Vec<u8>>,
    /// Of which nothing but headers has been read.
    pub weights: Source,
}

impl ModelFiles {
    /// Reads what stands before the tensors of a GGUF file. Errors: `Gguf`, `Tokenizer`, `UnsupportedModel`,
    /// `UnsupportedField`, those of [`Config::parse`].
    pub async fn of_gguf(source: Source) -> Result<ModelFiles> {
        let (gguf, config, weights) = ModelFiles::without_tokenizer(source).await?;
        let tokenizer = GgufTokenizer::new(&gguf.metadata)?;
        Ok(ModelFiles {
            config,
            tokenizer: tokenizer.tokenizer,
            tokenizer_config: Some(tokenizer.tokenizer_config),
            generation_config: Some(tokenizer.generation_config),
            chat_template: None,
            weights,
        })
    }

    /// What a GGUF file says, its config and its weights. Errors: those of [`ModelFiles::of_gguf`].
    pub async fn without_tokenizer(source: Source) -> Result<(Gguf, Vec<u8>, Source)> {
        let gguf = Gguf::read(&source).await?;
        let model = GgufModel::new(&gguf, &source.name)?;
        let config = model.config(&source).await?;
        let header = model.header(&Config::parse(&config).map_err(|error| model.explain(error))?);
        Ok((gguf, config, source.with_header(header)))
    }

    /// The files except for the weights.
    pub fn small(&self) -> BaseFiles<'_> {
        BaseFiles {
            config: &self.config,
            tokenizer: &self.tokenizer,
            tokenizer_config: self.tokenizer_config.as_deref(),
            generation_config: self.generation_config.as_deref(),
            chat_template: self.chat_template.as_deref(),
        }
    }

    /// What the weights hold, from their headers. Errors: those of [`Config::parse`] and [`Checkpoint::open`].
    pub async fn checkpoint(&self) -> Result<Checkpoint> {
        Checkpoint::open(Config::parse(&self.config)?, &self.weights).await
    }

    /// The files that a checkpoint has beside its weights. `dtype` is what config.json calls the format of the weights
    /// if it is no longer the base's.
    pub fn companions(&self, dtype: Option<&str>) -> Vec<(&'static str, Vec<u8>)> {
        let config = dtype.map_or_else(|| self.config.clone(), |dtype| config_in(&self.config, dtype));
        let optional = [
            ("tokenizer_config.json", &self.tokenizer_config),
            ("generation_config.json", &self.generation_config),
            ("chat_template.jinja", &self.chat_template),
        ];
        let given = optional.into_iter().filter_map(|(name, bytes)| Some((name, bytes.clone()?)));
        [("config.json", config), ("tokenizer.json", self.tokenizer.clone())].into_iter().chain(given).collect()
    }
}

/// A config.json whose weights are now in this format. It has been parsed before, so it is a JSON object.
pub fn config_in(config: &[u8], dtype: &str) -> Vec<u8> {
    let mut config: serde_json::Map<String, serde_json::Value> =
        json::read(config).expect("the config of a loaded base is a JSON object");
    config.remove("dtype");
    config.insert("torch_dtype".to_string(), dtype.into());
    json::as_written(serde_json::to_string_pretty(&config).expect("a JSON object can be written")).into_bytes()
}
