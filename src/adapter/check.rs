//! The check of every export: a wrong adapter file usually loads and does nothing, so the bytes are read back into a
//! second set of linears, and a probe's logits must be equal: bit for bit, or, where ranks and scales were folded into
//! one, up to rounding.

use super::{Adapter, AdapterFiles};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::Transformer;
use crate::model::logits::{Logits, LogitsDraft};
use crate::plan::{Progress, Recorder};

/// Of the largest logit: what rounding a folded B may change, an order of magnitude above what it does.
const FOLDED_TOLERANCE: f32 = 1e-4;

/// The plans of a check before they are finished.
pub struct ExportCheckDraft {
    exported: Adapter,
    imported: Adapter,
    first: LogitsDraft,
    second: LogitsDraft,
    probe: Vec<u32>,
}

/// Two plans that are the same except for the linears: one reads the adapter that is exported, the other the adapter
/// that the bytes hold.
pub struct ExportCheck {
    exported: Adapter,
    imported: Adapter,
    first: Logits,
    second: Logits,
    probe: Vec<u32>,
}

impl ExportCheckDraft {
    pub fn recorders(&self) -> [&Recorder; 2] {
        let ([first], [second]) = (self.first.recorders(), self.second.recorders());
        [first, second]
    }

    pub async fn finish(self, progress: &mut Progress<'_>) -> Result<ExportCheck> {
        let ExportCheckDraft { exported, imported, first, second, probe } = self;
        let first = first.finish(progress).await?;
        let second = second.finish(progress).await?;
        Ok(ExportCheck { exported, imported, first, second, probe })
    }
}

impl ExportCheck {
    /// Records both plans for a probe of at least one token.
    pub fn record(model: &Transformer, like: &Adapter, probe: &[u32]) -> Result<ExportCheckDraft> {
        assert!(!probe.is_empty(), "the check of an export needs a token to compute");
        let device = &model.device;
        let exported = Adapter::new(device, &model.config, like.spec.clone())?;
        let imported = Adapter::new(device, &model.config, like.spec.folded())?;
        let first = Logits::record(&exported.attach(model), probe.len(), 1, 1, None)?;
        let second = Logits::record(&imported.attach(model), probe.len(), 1, 1, None)?;
        Ok(ExportCheckDraft { exported, imported, first, second, probe: probe.to_vec() })
    }

    /// Errors: `ExportCheck` if the files do not compute what the parameters `flat` do, or whatever loading them
    /// reports.
    pub async fn run(&self, device: &Device, flat: &[f32], files: &AdapterFiles) -> Result<()> {
        let loaded = files.parameters(&self.imported)?;
        self.exported.write(device, flat);
        self.imported.write(device, &loaded);
        let last = [(self.probe.len() as u32).saturating_sub(1)];
        let expected = self.first.run(&self.probe, &last, 0, 1.0).await?;
        let found = self.second.run(&self.probe, &last, 0, 1.0).await?;
        let tolerance = match self.exported.spec.is_uniform() {
            true => 0.0,
            false => expected.iter().fold(0.0f32, |most, x| most.max(x.abs())) * FOLDED_TOLERANCE,
        };
        let same = |e: f32, f: f32| e.to_bits() == f.to_bits() || (e - f).abs() <= tolerance;
        match expected.iter().zip(&found).enumerate().find(|(_, (e, f))| !same(**e, **f)) {
            Some((row, (&expected, &found))) => Err(Error::ExportCheck { row, expected, found }),
            None => Ok(()),
        }
    }
}
