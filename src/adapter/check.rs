//! The check of every export. A wrong adapter file usually loads without an error and has no effect, so the bytes are
//! read back into a second set of linears, which must give the same logits for a probe: bit for bit, or up to rounding
//! if several ranks and scales were folded into one.

use super::{Adapter, AdapterFiles};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::Transformer;
use crate::model::logits::{Logits, LogitsDraft};
use crate::plan::{Progress, Recorder};

/// How much rounding a folded B may change a logit, relative to the largest one. The measured change is ten times
/// smaller.
const FOLDED_TOLERANCE: f32 = 1e-4;

/// The recorded plans of a check, not finished yet.
pub struct ExportCheckDraft {
    exported: Adapter,
    imported: Adapter,
    first: LogitsDraft,
    second: LogitsDraft,
    probe: Vec<u32>,
}

/// Two plans that are the same except for the linears: one reads the adapter being exported, the other the adapter in
/// the exported bytes.
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
        assert!(!probe.is_empty(), "the check of an export needs at least one token");
        let device = &model.device;
        let exported = Adapter::new(device, &model.config, like.spec.clone())?;
        let imported = Adapter::new(device, &model.config, like.spec.folded())?;
        let first = Logits::record(&exported.attach(model), probe.len(), 1, 1, None)?;
        let second = Logits::record(&imported.attach(model), probe.len(), 1, 1, None)?;
        Ok(ExportCheckDraft { exported, imported, first, second, probe: probe.to_vec() })
    }

    /// Errors: `ExportCheck` if the files do not compute the same as the parameters `flat`, and the errors of loading
    /// them.
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
