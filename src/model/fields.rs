//! Typed access to config.json, with the ranges that each kind of field may have.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "config.json comes from anywhere"
)]

use serde_json::Value;

use crate::error::{Error, Result};
use crate::files::json;

/// Fields of checkpoints whose weights are codes: those of transformers and of MLX, and an older one.
const QUANTISED: [&str; 3] = ["quantization_config", "quantization", "compression_config"];

/// A JSON object of fields.
pub struct Fields<'a>(pub &'a Value);

impl Fields<'_> {
    fn invalid(field: &str, reason: &str) -> Error {
        Error::Config { field: field.to_string(), reason: reason.to_string() }
    }

    pub fn unsupported(field: &str, value: &Value) -> Error {
        Error::UnsupportedField { field: field.to_string(), value: json::shown(value) }
    }

    /// The value, unless it is missing or null.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    /// A whole number from 1 to `most`.
    pub fn count(&self, field: &str, most: u64) -> Result<usize> {
        self.count_or(field, most, None)
    }

    pub fn count_or(&self, field: &str, most: u64, default: Option<usize>) -> Result<usize> {
        self.count_from(field, 1, most, default)
    }

    /// A whole number from `least` to `most`.
    pub fn count_from(&self, field: &str, least: u64, most: u64, default: Option<usize>) -> Result<usize> {
        match (self.get(field), default) {
            (None, Some(default)) => Ok(default),
            (None, None) => Err(Self::invalid(field, "it is missing")),
            (Some(value), _) => match value.as_u64() {
                Some(n) if (least..=most).contains(&n) => Ok(n as usize),
                _ => Err(Self::invalid(
                    field,
                    &format!("expected a whole number from {least} to {most}, found {}", json::shown(value)),
                )),
            },
        }
    }

    /// Refuses a config.json without these fields, for which families have different defaults.
    pub fn require(&self, fields: &[&str]) -> Result<()> {
        let missing = fields.iter().find(|field| self.get(field).is_none());
        missing.map_or(Ok(()), |field| Err(Self::invalid(field, "it is missing")))
    }

    /// Refuses a field that a family does not have.
    pub fn refuse(&self, field: &str) -> Result<()> {
        self.get(field).map_or(Ok(()), |value| Err(Self::unsupported(field, value)))
    }

    /// A positive finite number, which it must be in f32 too.
    pub fn number(&self, field: &str) -> Result<f64> {
        match self.get(field) {
            None => Err(Self::invalid(field, "it is missing")),
            Some(_) => self.number_or(field, 1.0),
        }
    }

    pub fn number_or(&self, field: &str, default: f64) -> Result<f64> {
        match self.get(field) {
            None => Ok(default),
            Some(value) => match value.as_f64() {
                Some(x) if (x as f32).is_finite() && x as f32 > 0.0 => Ok(x),
                _ => Err(Self::invalid(field, &format!("expected a positive number, found {}", json::shown(value)))),
            },
        }
    }

    pub fn flag_or(&self, field: &str, default: bool) -> Result<bool> {
        match self.get(field) {
            None => Ok(default),
            Some(value) => value
                .as_bool()
                .ok_or_else(|| Self::invalid(field, &format!("expected true or false, found {}", json::shown(value)))),
        }
    }

    /// Refuses the checkpoint of a library that quantises: its tensors hold codes, not numbers.
    pub fn refuse_quantised(&self) -> Result<()> {
        let Some((field, found)) = QUANTISED.iter().find_map(|field| Some((field, self.get(field)?))) else {
            return Ok(());
        };
        let method = found.get("quant_method").and_then(Value::as_str).or_else(|| {
            let is_set = |field: &str| found.get(field).and_then(Value::as_bool) == Some(true);
            (is_set("load_in_4bit") || is_set("load_in_8bit")).then_some("bitsandbytes")
        });
        let method = method.map_or(String::new(), |method| format!(" with the method {method}"));
        Err(Error::Quantised { what: format!("config.json has `{field}`{method}") })
    }

    /// Checks the numbers per head, which follow from `field`.
    pub fn check_head(&self, field: &str, size: usize) -> Result<()> {
        let good = size >= 4 && size.is_multiple_of(4) && size <= 256;
        self.check(field, good, &format!("heads of {size}; supported are multiples of 4 up to 256"))
    }

    pub fn check(&self, field: &str, good: bool, reason: &str) -> Result<()> {
        if good { Ok(()) } else { Err(Self::invalid(field, reason)) }
    }
}
