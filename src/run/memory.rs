//! The memory of a run, known before anything is loaded: everything that a run allocates is allocated on a device that
//! has a ledger, but no memory.

use serde::Serialize;

use super::keeper::PROBE_TOKENS;
use super::learner::Learner;
use super::settings::Settings;
use super::snapshots::Snapshots;
use crate::adapter::ExportCheck;
use crate::device::{Device, Format, Pool, Usage};
use crate::error::Result;
use crate::generate::Generator;
use crate::model::{Config, TensorSpec, Transformer};
use crate::ops::{ChunkSize, Chunks};
use crate::plan::Progress;
use crate::train::{Evaluator, Trainer};

/// How many tokens a chat template is taken to add to a prompt, as long as nobody can count them.
const USUAL_TEMPLATE: usize = 32;

/// The bytes that a run holds on the device at its peak, by what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    pub weights: u64,
    /// The tables of rotary positions, for the whole context.
    pub rope: u64,
    /// What is trained, with its gradient and the optimizer's moments.
    pub adapter: u64,
    /// The pool without the logits.
    pub activations: u64,
    pub logits: u64,
    /// The keys and values of samples.
    pub cache: u64,
    /// Tokens, labels, results, and the copies of the adapter that are kept and checked.
    pub other: u64,
}

impl Memory {
    pub fn total(&self) -> u64 {
        let Memory { weights, rope, adapter, activations, logits, cache, other } = self;
        weights + rope + adapter + activations + logits + cache + other
    }
}

/// A model that has not been loaded.
pub struct Unloaded {
    /// On a device that computes nothing.
    pub model: Transformer,
    /// How many tokens the prompt of samples has. `None`: at most one for each of its bytes, and some of a template.
    pub prompt_tokens: Option<usize>,
}

impl Unloaded {
    /// A model for `device`, which is not touched, with its matrices stored as `format` says. Errors: `GpuLimit`.
    pub fn new(device: &Device, config: &Config, format: &dyn Fn(&TensorSpec) -> Format) -> Result<Unloaded> {
        let model = Transformer::zeros(&device.dry_copy(), config.clone(), format)?;
        Ok(Unloaded { model, prompt_tokens: None })
    }

    /// The memory of a run with these settings. Errors: `Setting`, `GpuLimit`.
    pub async fn memory(&self, settings: &Settings) -> Result<Memory> {
        let mut base = self.model.clone();
        base.pool = Pool::default();
        let (device, config) = (&base.device, &base.config);
        let spec = settings.check(config)?;
        let loaded = device.bytes();

        let learner = Learner::new(&base, settings.method, spec)?;
        let learned = device.bytes() - loaded;
        // In the order of a run, because its plans share the pool.
        let (params, model) = (learner.params(), learner.attach(&base));
        let (batch, seq_len) = (settings.batch, settings.seq_len);
        let mut progress = Progress::silent();
        let trainer = Trainer::record(&model, &params, settings.trainer(batch))?;
        let evaluator = Evaluator::record(&model, batch, seq_len)?;
        let trainer = trainer.finish(&mut progress).await?;
        let _evaluator = evaluator.finish(&mut progress).await?;
        let _snapshots = Snapshots::new(device, &params)?;
        let _check = match &learner {
            Learner::Lora(adapter) => {
                let probe = vec![0; PROBE_TOKENS.min(seq_len)];
                Some(ExportCheck::record(&base, adapter, &probe)?.finish(&mut progress).await?)
            }
            Learner::Full(_) => None,
        };
        // The frozen matrices of a checkpoint are read whole.
        let _read = match &learner {
            Learner::Lora(_) => None,
            Learner::Full(_) => Some(device.buffer("read", base.largest_frozen(), Usage::Staging)?),
        };
        let before = device.bytes();
        let prompt = self.prompt_tokens.unwrap_or(settings.prompt.len() + USUAL_TEMPLATE);
        let tokens = (settings.sample_every > 0).then_some(prompt.saturating_add(settings.max_tokens));
        let caches = tokens.map(|tokens| Generator::caches(&model, tokens)).transpose()?;
        let cache = device.bytes() - before;
        drop(caches);
        let _generator = match tokens {
            Some(tokens) => Some(Generator::record(&model, tokens)?.finish(&mut progress).await?),
            None => None,
        };
        let total = device.bytes();

        let weights = base.weight_bytes();
        let rope = loaded - weights;
        let adapter = learned + trainer.buffers().m.bytes() + trainer.buffers().v.bytes();
        let rows = batch * seq_len;
        let size = if settings.lean { ChunkSize::Small } else { ChunkSize::Large };
        let logits = Chunks::new(device, rows, config.vocabulary, size)?.logits_bytes(rows, base.head());
        let activations = base.pool.bytes() - logits;
        let other = total - loaded - adapter - activations - logits - cache;
        Ok(Memory { weights, rope, adapter, activations, logits, cache, other })
    }
}
