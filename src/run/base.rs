//! What training and generation start from: a model with its tokenizer.

use std::rc::Rc;

use crate::adapter::{Adapter, AdapterFiles};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::files::Source;
use crate::model::{Config, Storage, Transformer};
use crate::text::tokenizer::{Tokenizer, TokenizerFiles};

/// The files of a checkpoint except for its weights.
pub type BaseFiles<'a> = TokenizerFiles<'a>;

/// A base model with its tokenizer.
pub struct Base {
    pub name: String,
    pub sha256: String,
    pub storage: Storage,
    pub model: Transformer,
    pub tokenizer: Tokenizer,
}

impl Base {
    /// Loads a checkpoint. `progress` is called with the bytes done and the bytes in total. Errors name the file and
    /// what is wrong with it.
    pub async fn load(
        device: &Rc<Device>,
        name: &str,
        files: &BaseFiles<'_>,
        weights: &Source,
        storage: Storage,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Base> {
        let config = Config::parse(files.config)?;
        let tokenizer = Tokenizer::from_files(files)?;
        if tokenizer.size() > config.vocabulary {
            let reason = format!("it has {} tokens, but the model has {}", tokenizer.size(), config.vocabulary);
            return Err(Error::Tokenizer { reason });
        }
        let sha256 = weights.sha256().await?;
        let model = Transformer::load(device, config, weights, storage, progress).await?;
        Ok(Base { name: name.to_string(), sha256, storage, model, tokenizer })
    }

    /// Attaches the adapter that the files hold.
    pub fn with_adapter(&self, files: &AdapterFiles) -> Result<Transformer> {
        Ok(self.load_adapter(files)?.1)
    }

    /// Attaches the adapter that the files hold and also returns it, so that another can be swapped in.
    pub fn load_adapter(&self, files: &AdapterFiles) -> Result<(Adapter, Transformer)> {
        let device = &self.model.device;
        let (adapter, flat) = files.load(device, &self.model.config)?;
        adapter.write(device, &flat);
        let model = adapter.attach(&self.model);
        Ok((adapter, model))
    }
}
