//! What the dispatches of a plan take and do, one by one: for measurements. A step is not run like this.

use super::cost::Cost;
use super::plan::Plan;
use crate::device::{Device, KernelKey, Span};
use crate::error::Result;

/// A dispatch that was measured.
#[derive(Debug, Clone)]
pub struct Timed {
    pub key: KernelKey,
    pub groups: [u32; 3],
    pub cost: Cost,
    pub span: Span,
}

impl Plan {
    /// What each dispatch computes and moves, with the plan's rows in sequences of `seq_len`, all of them labelled.
    pub fn costs(&self, seq_len: usize) -> Vec<Cost> {
        self.ready.iter().zip(&self.sizes).map(|(ready, size)| Cost::of(&ready.key, size, seq_len)).collect()
    }

    /// Runs the plan once with its input as it is, a pass for each dispatch. Errors: `DeviceLost`.
    pub async fn profile(&self, device: &Device, seq_len: usize) -> Result<Vec<Timed>> {
        let spans = device.profile(&self.ready).await?;
        let measured = self.ready.iter().zip(self.costs(seq_len)).zip(spans);
        Ok(measured
            .map(|((ready, cost), span)| Timed { key: ready.key.clone(), groups: ready.groups, cost, span })
            .collect())
    }

    /// Milliseconds in which the host encodes the whole plan, which is not submitted. `None` where nothing is encoded.
    pub fn time_to_encode(&self, device: &Device) -> Option<f64> {
        device.time_to_encode(&self.ready)
    }
}
