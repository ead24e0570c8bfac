//! Estimates the memory of a run before it starts.

use super::base::Base;
use super::keeper::PROBE_TOKENS;
use super::settings::Settings;
use super::snapshots::Snapshots;
use crate::adapter::{Adapter, ExportCheck};
use crate::error::Result;
use crate::train::{Evaluator, Trainer};

/// About how many bytes a LoRA run occupies on the device at its peak: weights, adapter, optimizer and activations. The
/// plans are recorded but not finished. The result is right only for a model without any plans yet.
pub fn memory(base: &Base, settings: &Settings) -> Result<u64> {
    let device = &base.model.device;
    let adapter = Adapter::new(device, &base.model.config, settings.check(&base.model.config)?)?;
    let (params, model) = (adapter.params(), adapter.attach(&base.model));
    let trainer = Trainer::record(&model, &params, settings.trainer(settings.batch))?;
    let evaluator = Evaluator::record(&model, settings.batch, settings.seq_len)?;
    let snapshots = Snapshots::new(device, &params)?;
    let check = ExportCheck::record(&base.model, &adapter, &vec![0; PROBE_TOKENS.min(settings.seq_len)])?;
    let bytes = device.bytes().saturating_add(base.model.pool.bytes());
    drop((trainer, evaluator, snapshots, check));
    Ok(bytes)
}
