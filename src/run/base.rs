//! What training and generation start from: a model with its tokenizer.

use std::rc::Rc;

use super::settings::Settings;
use crate::adapter::{Adapter, AdapterFiles, Origin};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::files::Source;
use crate::model::{Config, Storage, Transformer};
use crate::text::tokenizer::{Tokenizer, TokenizerFiles};
use crate::text::{Dataset, Document};
use crate::warning::Warning;

/// The longest name of a model, in bytes.
const LONGEST_NAME: usize = 4096;

/// The files of a checkpoint except for its weights.
pub type BaseFiles<'a> = TokenizerFiles<'a>;

/// A base model with its tokenizer.
///
/// ```no_run
/// # use std::rc::Rc;
/// # use tabtune::{device::Device, error::Result, files::Source, model::Storage, run::{Base, BaseFiles}};
/// # async fn example(device: &Rc<Device>, config: &[u8], tokenizer: &[u8], weights: Vec<u8>) -> Result<()> {
/// let files = BaseFiles {
///     config,
///     tokenizer,
///     tokenizer_config: None,
///     generation_config: None,
///     chat_template: None,
/// };
/// let weights = Source::memory("model.safetensors", weights);
/// let mut progress = |done, total| println!("{done} of {total} bytes");
/// let base = Base::load(device, "my model", &files, &weights, Storage::default(), &mut progress).await?;
/// println!("{} parameters", base.model.config.parameters());
/// # Ok(())
/// # }
/// ```
pub struct Base {
    pub name: String,
    pub sha256: String,
    pub model: Transformer,
    pub tokenizer: Tokenizer,
    /// What a run has to say about the base.
    pub(super) in_training: Option<Warning>,
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
        if name.len() > LONGEST_NAME {
            let expected = format!("at most {LONGEST_NAME} bytes, as it goes into every adapter's config");
            return Err(Error::Setting { name: "name".to_string(), value: format!("{} bytes", name.len()), expected });
        }
        let tokenizer = Tokenizer::from_files(files)?;
        if tokenizer.own_size() > config.vocabulary {
            let reason = format!("it has {} tokens, but the model has {}", tokenizer.own_size(), config.vocabulary);
            return Err(Error::Tokenizer { reason });
        }
        let sha256 = weights.sha256().await?;
        let model = Transformer::load(device, config, weights, storage, progress).await?;
        let in_training = Config::dropout_warning(files.config);
        Ok(Base { name: name.to_string(), sha256, model, tokenizer, in_training })
    }

    /// The rows of a run with these settings, from documents of at most `limit_bytes` together. The held-out rows are
    /// those of `eval_documents` if there are any.
    pub fn dataset(
        &self,
        documents: &[Document],
        eval_documents: Option<&[Document]>,
        settings: &Settings,
        limit_bytes: u64,
    ) -> Result<Dataset> {
        let options = settings.dataset_options(limit_bytes);
        Dataset::from_documents(&self.tokenizer, documents, eval_documents, &options)
    }

    /// What an adapter of this base notes about where it comes from.
    pub fn origin(&self, is_chat: bool) -> Origin {
        Origin {
            base: self.name.clone(),
            base_sha256: Some(self.sha256.clone()),
            weights: Some(self.model.storage),
            is_chat,
        }
    }

    /// Attaches the adapter that the files hold.
    pub fn with_adapter(&self, files: &AdapterFiles) -> Result<Transformer> {
        Ok(self.load_adapter(files)?.1)
    }

    /// Attaches the adapter that the files hold and also returns it, so that another can be swapped in.
    pub fn load_adapter(&self, files: &AdapterFiles) -> Result<(Adapter, Transformer)> {
        let (adapter, flat) = self.read_adapter(files)?;
        adapter.write(&self.model.device, &flat);
        let model = adapter.attach(&self.model);
        Ok((adapter, model))
    }

    /// A model with the linears of a checkpoint that full fine-tuning of this base left, which shares all else with it.
    /// Errors: those of [`Transformer::load`].
    pub async fn with_linears_of(&self, checkpoint: Vec<u8>) -> Result<Transformer> {
        let Transformer { device, config, .. } = &self.model;
        let source = Source::memory("model.safetensors", checkpoint);
        let tuned = Transformer::load(device, config.clone(), &source, Storage::F32, &mut |_, _| {}).await?;
        let mut model = self.model.clone();
        model.blocks = tuned.blocks;
        Ok(model)
    }

    /// The adapter that the files hold, with everything there is to say about it, and its parameters.
    pub fn read_adapter(&self, files: &AdapterFiles) -> Result<(Adapter, Vec<f32>)> {
        let (mut adapter, flat) = files.load(&self.model.device, &self.model.config)?;
        adapter.warnings.extend(files.other_base(&self.name, &self.sha256)?);
        Ok((adapter, flat))
    }
}
