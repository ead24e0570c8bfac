//! What a run trains: an adapter, or every matrix of the blocks.

use serde::{Deserialize, Serialize};

use crate::adapter::named::Find;
use crate::adapter::{Adapter, AdapterFiles, AdapterSpec, Full, HostMatrix, Origin, Params};
use crate::device::Device;
use crate::error::Result;
use crate::model::{Config, Transformer};
use crate::warning::Warning;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    #[default]
    Lora,
    /// Every linear of the blocks, in f32. The embedding, norms and head stay frozen.
    Full,
}

pub(super) enum Learner {
    Lora(Adapter),
    Full(Full),
}

/// What a run leaves behind.
#[derive(Debug, Clone, PartialEq)]
pub enum Files {
    Adapter(AdapterFiles),
    /// The bytes of a whole `model.safetensors`.
    Checkpoint(Vec<u8>),
}

impl Files {
    /// The files of an adapter; `None` for a checkpoint, which full fine-tuning leaves.
    pub fn adapter(&self) -> Option<&AdapterFiles> {
        match self {
            Files::Adapter(files) => Some(files),
            Files::Checkpoint(_) => None,
        }
    }
}

impl Learner {
    /// Makes room on the device for what a run on `model` trains. Errors: those of [`Adapter::new`] and [`Full::new`].
    pub fn new(model: &Transformer, method: Method, spec: AdapterSpec) -> Result<Learner> {
        match method {
            Method::Lora => Adapter::new(&model.device, &model.config, spec).map(Learner::Lora),
            Method::Full => Full::new(model).map(Learner::Full),
        }
    }

    /// Where training starts.
    pub async fn initial(&self, model: &Transformer, seed: u64) -> Result<Vec<f32>> {
        match self {
            Learner::Lora(adapter) => Ok(adapter.initial(seed)),
            Learner::Full(full) => full.initial(model).await,
        }
    }

    pub fn params(&self) -> Params {
        match self {
            Learner::Lora(adapter) => adapter.params(),
            Learner::Full(full) => full.params().clone(),
        }
    }

    pub fn attach(&self, model: &Transformer) -> Transformer {
        match self {
            Learner::Lora(adapter) => adapter.attach(model),
            Learner::Full(full) => full.attach(model),
        }
    }

    /// What there is to say about the adapter that a run starts from.
    pub fn warnings(&self) -> &[Warning] {
        match self {
            Learner::Lora(adapter) => &adapter.warnings,
            Learner::Full(_) => &[],
        }
    }

    /// How many numbers are trained.
    pub fn parameters(&self) -> usize {
        match self {
            Learner::Lora(adapter) => adapter.parameters(),
            Learner::Full(full) => full.parameters(),
        }
    }

    /// The sites of the adapter; none for full fine-tuning.
    pub fn spec(&self) -> AdapterSpec {
        match self {
            Learner::Lora(adapter) => adapter.spec.clone(),
            Learner::Full(_) => AdapterSpec::default(),
        }
    }

    pub fn write(&self, device: &Device, flat: &[f32]) {
        self.params().p.upload(device, flat);
    }

    /// Splits numbers in this layout into matrices without padding, under PEFT's names for an adapter and the
    /// checkpoint's names for a model.
    pub fn named(&self, config: &Config, flat: &[f32]) -> Vec<(String, HostMatrix)> {
        match self {
            Learner::Lora(adapter) => adapter.named(flat),
            Learner::Full(full) => full.named(config, flat),
        }
    }

    /// The inverse of `named`. Errors: those of `find`.
    pub fn gather(&self, config: &Config, find: Find) -> Result<Vec<f32>> {
        match self {
            Learner::Lora(adapter) => adapter.gather(find),
            Learner::Full(full) => full.gather(config, find),
        }
    }

    /// The files for the parameters `flat`, which are in this layout.
    pub async fn export(&self, model: &Transformer, flat: &[f32], origin: &Origin) -> Result<Files> {
        match self {
            Learner::Lora(adapter) => Ok(Files::Adapter(AdapterFiles::new(adapter, flat, origin))),
            Learner::Full(full) => Ok(Files::Checkpoint(full.checkpoint(model, flat).await?)),
        }
    }
}
