//! What a family's config.json says, as data. Unknown model types and features end in an error that names them.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "config.json comes from anywhere"
)]

use serde_json::Value;

use super::llama;
use crate::error::{Error, Result};
use crate::ops::Heads;

/// 60 GB in f32: more than any graphics adapter that this engine could use has.
const MOST_PARAMETERS: u64 = 15_000_000_000;
/// Positions times head size: the tables of rope hold as many numbers, 128 MiB each half at most.
const MOST_ANGLES: usize = 1 << 26;

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
        self.count_parameters().and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX)
    }

    /// As `parameters`; `None` if there are more than can be counted.
    pub fn count_parameters(&self) -> Option<u64> {
        let size = |n: usize| u64::try_from(n).ok();
        let product = |a: u64, b: u64| a.checked_mul(b);
        let sum = |terms: &[u64]| terms.iter().try_fold(0u64, |sum, term| sum.checked_add(*term));
        let (hidden, head) = (size(self.hidden)?, size(self.heads.size)?);
        let (query, key) = (product(size(self.heads.query)?, head)?, product(size(self.heads.key)?, head)?);
        let across = sum(&[product(2, query)?, product(2, key)?, product(3, size(self.intermediate)?)?, 2])?;
        let blocks = product(size(self.layers)?, product(hidden, across)?)?;
        let tables = product(if self.tied { 1 } else { 2 }, product(size(self.vocabulary)?, hidden)?)?;
        sum(&[blocks, hidden, tables])
    }

    /// Refuses a model that no file of this kind holds, and tables of positions that no adapter takes, before anything
    /// is read or allocated.
    pub(super) fn check_size(&self) -> Result<()> {
        let too_large = |field: &str, reason: String| Err(Error::Config { field: field.to_string(), reason });
        match self.count_parameters() {
            Some(count) if count <= MOST_PARAMETERS => {}
            Some(count) => {
                return too_large(
                    "(file)",
                    format!("it describes {count} parameters, at most {MOST_PARAMETERS} are supported"),
                );
            }
            None => return too_large("(file)", "it describes more parameters than can be counted".to_string()),
        }
        match self.context.checked_mul(self.heads.size) {
            Some(angles) if angles <= MOST_ANGLES => Ok(()),
            _ => too_large(
                "max_position_embeddings",
                format!("with heads of {}, at most {MOST_ANGLES} / that is supported", self.heads.size),
            ),
        }
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
            Some(value) => {
                value.as_bool().ok_or_else(|| Self::invalid(field, &format!("expected true or false, found {value}")))
            }
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
