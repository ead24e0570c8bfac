//! What a family's config.json says, as data. Unknown model types and features end in an error that names them.

use serde_json::Value;

use super::llama;
use crate::error::{Error, Result};
use crate::ops::Heads;

#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub model_type: String,
    pub vocabulary: usize,
    pub hidden: usize,
    pub intermediate: usize,
    pub layers: usize,
    pub heads: Heads,
    /// Most tokens of a sequence.
    pub context: usize,
    pub rms_norm_eps: f32,
    pub rope_theta: f64,
    /// The embedding table is the output head too.
    pub tied: bool,
}

impl Config {
    /// Reads config.json. Errors: `Config`, `UnsupportedModel`, `UnsupportedField`.
    pub fn parse(json: &[u8]) -> Result<Config> {
        let invalid = |reason: String| Error::Config { field: "(file)".to_string(), reason };
        let value: Value = serde_json::from_slice(json).map_err(|e| invalid(e.to_string()))?;
        if !value.is_object() {
            return Err(invalid("expected a JSON object".to_string()));
        }
        let model_type = value.get("model_type").and_then(Value::as_str).unwrap_or("(none)");
        match model_type {
            "llama" => llama::config(&Fields(&value)),
            other => Err(Error::UnsupportedModel { model_type: other.to_string() }),
        }
    }

    pub fn parameters(&self) -> usize {
        let (q, kv) = (self.heads.query * self.heads.size, self.heads.key * self.heads.size);
        let block = self.hidden * (2 * q + 2 * kv + 3 * self.intermediate + 2);
        let table = self.vocabulary * self.hidden;
        self.layers * block + self.hidden + if self.tied { table } else { 2 * table }
    }
}

/// Typed access to config.json.
pub(super) struct Fields<'a>(pub &'a Value);

impl Fields<'_> {
    fn invalid(field: &str, reason: &str) -> Error {
        Error::Config { field: field.to_string(), reason: reason.to_string() }
    }

    pub fn unsupported(field: &str, value: &Value) -> Error {
        Error::UnsupportedField { field: field.to_string(), value: value.to_string() }
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
        match (self.get(field), default) {
            (None, Some(default)) => Ok(default),
            (None, None) => Err(Self::invalid(field, "it is missing")),
            (Some(value), _) => match value.as_u64() {
                Some(n) if (1..=most).contains(&n) => Ok(n as usize),
                _ => Err(Self::invalid(field, &format!("expected a whole number from 1 to {most}, found {value}"))),
            },
        }
    }

    /// A positive finite number.
    pub fn number_or(&self, field: &str, default: f64) -> Result<f64> {
        match self.get(field) {
            None => Ok(default),
            Some(value) => match value.as_f64() {
                Some(x) if x.is_finite() && x > 0.0 => Ok(x),
                _ => Err(Self::invalid(field, &format!("expected a positive number, found {value}"))),
            },
        }
    }

    pub fn flag_or(&self, field: &str, default: bool) -> Result<bool> {
        match self.get(field) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| Self::invalid(field, &format!("expected true or false, found {value}"))),
        }
    }

    /// Refuses a feature unless it is absent or has the one value that the engine computes.
    pub fn only(&self, field: &str, supported: &Value) -> Result<()> {
        match self.get(field) {
            Some(value) if value != supported => Err(Self::unsupported(field, value)),
            _ => Ok(()),
        }
    }

    pub fn check(&self, field: &str, good: bool, reason: &str) -> Result<()> {
        if good { Ok(()) } else { Err(Self::invalid(field, reason)) }
    }
}
