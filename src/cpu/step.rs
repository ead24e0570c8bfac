//! The uniforms of `shaders/shared/step.wesl`, field by field.

use bytemuck::{Pod, Zeroable};

/// What depends on the batch, the step and the adapter's strength.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Pod, Zeroable, serde::Serialize, serde::Deserialize)]
pub struct Step {
    pub rows: u32,
    pub labelled: u32,
    pub position: u32,
    pub step: u32,
    pub micro: u32,
    pub seed: u32,
    pub inv_labels: f32,
    pub strength: f32,
    pub learning_rate: f32,
    pub weight_decay: f32,
    pub clip: f32,
    pub bias_1: f32,
    pub bias_2: f32,
    pub dropout: f32,
    pub first_row: u32,
    pub first_labelled: u32,
}

/// Scalars of one adapted linear.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(super) struct Site {
    pub scale: f32,
    pub site: u32,
    pub rank: u32,
    unused: u32,
}

/// A range of the labelled rows, for the head.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(super) struct Chunk {
    pub first: u32,
    pub rows: u32,
}

impl Chunk {
    /// How many of its rows have a label.
    pub fn labelled(self, step: &Step) -> usize {
        step.labelled.saturating_sub(self.first).min(self.rows) as usize
    }
}
