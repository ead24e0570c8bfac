//! A frozen norm: RMS norm where it has only a gain, layer norm where it has a bias too.

use super::config::{Config, NormKind};
use crate::device::Tensor;
use crate::ops::{RmsNorm, layer_norm, rms_norm};
use crate::plan::{Recorder, Var};

/// The parameters of a norm, [C] each.
#[derive(Clone)]
pub struct NormWeights {
    pub gain: Tensor,
    pub bias: Option<Tensor>,
}

impl NormWeights {
    pub fn record(&self, rec: &mut Recorder, config: &Config, x: &Var) -> Var {
        let eps = config.norm_eps;
        match &self.bias {
            Some(bias) => layer_norm(rec, x, &self.gain, bias, eps),
            None => {
                let plus = if config.norm == NormKind::RmsPlusOne { 1.0 } else { 0.0 };
                rms_norm(rec, x, RmsNorm { weight: &self.gain, plus, eps })
            }
        }
    }
}
