//! Rotary positions: what config.json says about them, and the frequencies that follow from it, which are computed and
//! rounded as transformers does it (`modeling_rope_utils.py`).

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "config.json comes from anywhere"
)]

use std::f64::consts::PI;

use serde_json::Value;

use super::fields::Fields;
use crate::error::Result;

const FACTOR: &str = "factor";
const ORIGINAL_CONTEXT: &str = "original_max_position_embeddings";
/// Every `rope_type` that is computed, with the fields that it has besides those that all have.
const TYPES: [(&str, &[&str]); 4] = [
    ("default", &[]),
    ("linear", &[FACTOR]),
    ("llama3", &[FACTOR, ORIGINAL_CONTEXT, "low_freq_factor", "high_freq_factor"]),
    (
        "yarn",
        &[
            FACTOR,
            ORIGINAL_CONTEXT,
            "attention_factor",
            "beta_fast",
            "beta_slow",
            "mscale",
            "mscale_all_dim",
            "truncate",
        ],
    ),
];
const SHARED: [&str; 4] = ["rope_type", "type", "rope_theta", "partial_rotary_factor"];

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rope {
    /// The base of the frequencies.
    pub theta: f64,
    pub scaling: RopeScaling,
}

/// How frequencies are changed for a longer context, by `rope_type`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    None,
    /// All are divided.
    Linear {
        factor: f64,
    },
    /// Low frequencies are divided, high ones are kept.
    Llama3 {
        factor: f64,
        low_freq_factor: f64,
        high_freq_factor: f64,
        original_context: usize,
    },
    Yarn(Yarn),
}

/// Peng et al. 2023: low frequencies are divided, high ones are kept, and cosines and sines are multiplied.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Yarn {
    pub factor: f64,
    pub original_context: usize,
    /// Frequencies that turn more often than this within the original context are kept.
    pub beta_fast: f64,
    /// Frequencies that turn less often than this within it are divided.
    pub beta_slow: f64,
    /// The frequencies where that begins and ends are counted in whole numbers.
    pub truncate: bool,
    /// The factor of cosines and sines.
    pub attention_factor: f64,
}

impl Rope {
    /// What config.json says. transformers 5 writes `rope_parameters`, earlier ones `rope_scaling` beside `rope_theta`.
    pub(super) fn read(fields: &Fields, theta: f64, context: usize) -> Result<Rope> {
        refuse_partial(fields)?;
        let plain = Rope { theta: fields.number_or("rope_theta", theta)?, scaling: RopeScaling::None };
        let of = |name| fields.get(name).map(|value| plain.with(fields, name, value, context)).transpose();
        match (of("rope_scaling")?, of("rope_parameters")?) {
            (None, None) => Ok(plain),
            (Some(rope), None) | (None, Some(rope)) => Ok(rope),
            (Some(rope), Some(same)) => {
                fields.check("rope_parameters", rope == same, "it says something else than `rope_scaling`")?;
                Ok(rope)
            }
        }
    }

    /// What the object `value` of the field `name` says, where it says anything, and this rope otherwise.
    pub(super) fn with(self, fields: &Fields, name: &str, value: &Value, context: usize) -> Result<Rope> {
        let rope = Fields(value);
        let named = rope.get("rope_type").or_else(|| rope.get("type"));
        let kind = named.map_or(Some("default"), Value::as_str);
        let known = TYPES.iter().find(|(other, _)| Some(*other) == kind);
        let (Some((kind, own)), Some(object)) = (known, value.as_object()) else {
            return Err(Fields::unsupported(name, value));
        };
        let is_unknown = |field: &str| !SHARED.contains(&field) && !own.contains(&field);
        if let Some((field, value)) = object.iter().find(|(field, value)| !value.is_null() && is_unknown(field)) {
            return Err(Fields::unsupported(&format!("{name}.{field}"), value));
        }
        let theta = rope.number_or("rope_theta", self.theta)?;
        refuse_partial(&rope)?;
        let original_context = match fields.get(ORIGINAL_CONTEXT) {
            Some(_) => fields.count(ORIGINAL_CONTEXT, 1 << 20)?,
            None => rope.count_or(ORIGINAL_CONTEXT, 1 << 20, Some(context))?,
        };
        let scaling = match *kind {
            "linear" => RopeScaling::Linear { factor: rope.number(FACTOR)? },
            "llama3" => {
                let (low, high) = (rope.number("low_freq_factor")?, rope.number("high_freq_factor")?);
                rope.check("high_freq_factor", high > low, "it must exceed low_freq_factor")?;
                let factor = rope.number(FACTOR)?;
                RopeScaling::Llama3 { factor, low_freq_factor: low, high_freq_factor: high, original_context }
            }
            "yarn" => {
                rope.check("rope_theta", theta > 1.0, "yarn needs a base above 1")?;
                let factor = rope.number_or(FACTOR, context as f64 / original_context as f64)?;
                RopeScaling::Yarn(Yarn {
                    factor,
                    original_context,
                    beta_fast: rope.number_or("beta_fast", 32.0)?,
                    beta_slow: rope.number_or("beta_slow", 1.0)?,
                    truncate: rope.flag_or("truncate", true)?,
                    attention_factor: attention_factor(&rope, factor)?,
                })
            }
            _ => RopeScaling::None,
        };
        Ok(Rope { theta, scaling })
    }

    /// How far each pair of a head's numbers turns from one position to the next.
    pub fn frequencies(&self, head_size: usize) -> Vec<f32> {
        let exponents = (0..head_size).step_by(2).map(|i| i as f32 / head_size as f32);
        let periods = exponents.map(|exponent| self.theta.powf(f64::from(exponent)) as f32);
        match self.scaling {
            RopeScaling::None => periods.map(|period| 1.0 / period).collect(),
            RopeScaling::Linear { factor } => periods.map(|period| 1.0 / period / factor as f32).collect(),
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                let context = original_context as f64;
                let scaled = |frequency: f32| {
                    let length = (2.0 * PI) as f32 / frequency;
                    if f64::from(length) > context / low_freq_factor {
                        return frequency / factor as f32;
                    }
                    if f64::from(length) < context / high_freq_factor {
                        return frequency;
                    }
                    let high = (context as f32 / length - low_freq_factor as f32)
                        / (high_freq_factor - low_freq_factor) as f32;
                    (1.0 - high) * frequency / factor as f32 + high * frequency
                };
                periods.map(|period| scaled(1.0 / period)).collect()
            }
            RopeScaling::Yarn(yarn) => {
                let (first, last) = yarn.ramp(self.theta, head_size);
                let scaled = |(pair, period): (usize, f32)| {
                    let kept = 1.0 - ((pair as f32 - first as f32) / (last - first) as f32).clamp(0.0, 1.0);
                    1.0 / (yarn.factor as f32 * period) * (1.0 - kept) + 1.0 / period * kept
                };
                periods.enumerate().map(scaled).collect()
            }
        }
    }

    /// The factor of cosines and sines.
    pub fn amplitude(&self) -> f32 {
        match self.scaling {
            RopeScaling::Yarn(yarn) => yarn.attention_factor as f32,
            _ => 1.0,
        }
    }
}

impl Yarn {
    /// The first pair whose frequency is not quite kept, and the first that is divided.
    fn ramp(&self, theta: f64, head_size: usize) -> (f64, f64) {
        let pair_of = |turns: f64| {
            head_size as f64 * (self.original_context as f64 / (turns * 2.0 * PI)).ln() / (2.0 * theta.ln())
        };
        let (mut first, mut last) = (pair_of(self.beta_fast), pair_of(self.beta_slow));
        if self.truncate {
            (first, last) = (first.floor(), last.ceil());
        }
        (first, last) = (first.max(0.0), last.min(head_size as f64 - 1.0));
        (first, if first == last { last + 0.001 } else { last })
    }
}

/// Every number of a head is rotated.
fn refuse_partial(fields: &Fields) -> Result<()> {
    match fields.get("partial_rotary_factor") {
        Some(part) if part.as_f64() != Some(1.0) => Err(Fields::unsupported("partial_rotary_factor", part)),
        _ => Ok(()),
    }
}

fn attention_factor(rope: &Fields, factor: f64) -> Result<f64> {
    let number = |field| rope.get(field).map(|_| rope.number(field)).transpose();
    let of = |scale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * scale * factor.ln() + 1.0 };
    Ok(match (number("attention_factor")?, number("mscale")?, number("mscale_all_dim")?) {
        (Some(given), ..) => given,
        (None, Some(scale), Some(all)) => of(scale) / of(all),
        _ => of(1.0),
    })
}
