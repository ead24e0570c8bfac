//! A frozen norm: RMS norm where it has only a gain, layer norm where it has a bias too.

use crate::device::Tensor;
use crate::ops::{layer_norm, rms_norm};
use crate::plan::{Recorder, Var};

/// The parameters of a norm, [C] each.
#[derive(Clone)]
pub struct NormWeights {
    pub gain: Tensor,
    pub bias: Option<Tensor>,
}

impl NormWeights {
    pub fn record(&self, rec: &mut Recorder, x: &Var, eps: f32) -> Var {
        match &self.bias {
            Some(bias) => layer_norm(rec, x, &self.gain, bias, eps),
            None => rms_norm(rec, x, &self.gain, eps),
        }
    }
}
