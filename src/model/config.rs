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

use super::family::Family;
use super::fields::Fields;
use super::linear::Target;
use super::rope::Rope;
use crate::error::{Error, Result};
use crate::files::json;
use crate::ops::Heads;
use crate::warning::Warning;

/// 60 GB in f32, which is more than any device that can run this engine has.
const MOST_PARAMETERS: u64 = 15_000_000_000;
/// Positions times head size. Rope's tables hold this many numbers, at most 128 MiB for each half.
const MOST_ANGLES: usize = 1 << 26;

/// A model's shape and everything in which families differ. The fields from `norm` on have the value that Llama gives
/// them unless a family's file says otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub family: &'static Family,
    pub vocabulary: usize,
    pub hidden: usize,
    pub intermediate: usize,
    pub layers: usize,
    pub heads: Heads,
    /// The longest sequence, in tokens.
    pub context: usize,
    /// The embedding table is the output head too.
    pub tied: bool,
    pub norm: NormKind,
    pub norm_eps: f32,
    /// Each head of q and k is normalised before rope (Qwen3).
    pub head_norms: bool,
    /// What attention and the MLP return is normalised before it is added (Gemma).
    pub output_norms: bool,
    pub biases: Biases,
    pub activation: Activation,
    /// How layers differ: layer i is like `pattern[i % pattern.len()]`.
    pub pattern: Vec<Layer>,
    /// Factor of the embedding (Gemma).
    pub embedding_scale: f64,
    /// Factor of the scores; `None` is 1 / sqrt(head size).
    pub query_scale: Option<f64>,
    pub layout: Layout,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// x / rms(x) · w.
    Rms,
    /// x / rms(x) · (1 + w).
    RmsPlusOne,
    /// (x - mean(x)) / std(x) · w + b.
    LayerNorm,
}

/// The activation of the MLP. The gated ones have three matrices (gate, up, down), the other two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// silu(gate) · up.
    SwiGlu,
    /// gelu(gate) · up, by the tanh approximation.
    GeGluTanh,
    /// gelu(up), by the tanh approximation.
    GeluTanh,
}

/// Which linears add a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Biases {
    pub qkv: bool,
    pub o: bool,
    pub mlp: bool,
}

impl Biases {
    pub fn has(self, target: Target) -> bool {
        match target {
            Target::Q | Target::K | Target::V | Target::Qkv => self.qkv,
            Target::O => self.o,
            Target::Gate | Target::Up | Target::GateUp | Target::Down => self.mlp,
        }
    }
}

/// What may differ from layer to layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Layer {
    /// A token sees this many tokens, itself included; `None`: all before it.
    pub window: Option<usize>,
    /// `None`: attention knows no positions (every fourth layer of SmolLM3).
    pub rope: Option<Rope>,
}

/// How a checkpoint lays out its linears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Layout {
    /// q, k and v are one matrix (`c_attn`, `qkv_proj`).
    pub fused_qkv: bool,
    /// gate and up are one matrix (`gate_up_proj`).
    pub fused_gate_up: bool,
    /// Matrices are [in, out] (GPT-2's Conv1D).
    pub transposed: bool,
}

/// With what probability transformers drops numbers of the base while it trains.
const DROPOUTS: [&str; 5] = ["attention_dropout", "attn_pdrop", "embd_pdrop", "hidden_dropout", "resid_pdrop"];

impl Config {
    /// Says which dropout of the base a config.json asks for, because none is computed.
    pub fn dropout_warning(json: &[u8]) -> Option<Warning> {
        let value: Value = json::read(json).ok()?;
        let is_asked = |field: &&str| value.get(*field).and_then(Value::as_f64).is_some_and(|p| p > 0.0);
        let asked: Vec<&str> = DROPOUTS.into_iter().filter(is_asked).collect();
        (!asked.is_empty()).then(|| Warning {
            code: "base_dropout",
            message: format!(
                "config.json sets {} above 0: transformers applies it to the base in training, tabtune does not",
                asked.join(", ")
            ),
        })
    }

    /// Reads config.json. Errors: `Config`, `UnsupportedModel`, `Quantised`, `UnsupportedField`.
    pub fn parse(json: &[u8]) -> Result<Config> {
        let invalid = |reason: String| Error::Config { field: "(file)".to_string(), reason };
        let value: Value = json::read(json).map_err(invalid)?;
        if !value.is_object() {
            return Err(invalid("expected a JSON object".to_string()));
        }
        let family = Family::of(value.get("model_type").and_then(Value::as_str).unwrap_or("(none)"))?;
        Fields(&value).refuse_quantised()?;
        let config = (family.config)(&Fields(&value))?;
        config.check_size()?;
        Ok(config)
    }

    /// What is particular to a layer.
    pub fn layer(&self, layer: usize) -> Layer {
        let same = self.pattern.iter().cycle().nth(layer);
        let Some(same) = same else { unreachable!("the pattern of layers is empty") };
        *same
    }

    /// How many numbers a checkpoint holds.
    pub fn parameters(&self) -> usize {
        self.count_parameters().and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX)
    }

    /// As `parameters`; `None` if there are more than can be counted.
    pub fn count_parameters(&self) -> Option<u64> {
        self.tensors().iter().try_fold(0u64, |sum, tensor| sum.checked_add(tensor.numbers()?))
    }

    /// Refuses a model too large to exist, and tables of positions too large for any device, before anything is read or
    /// allocated.
    fn check_size(&self) -> Result<()> {
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
        let size = self.heads.size;
        match self.context.checked_mul(size) {
            Some(angles) if angles <= MOST_ANGLES => Ok(()),
            _ => too_large(
                "max_position_embeddings",
                format!("with heads of {size}, at most {} is supported", MOST_ANGLES.checked_div(size).unwrap_or(0)),
            ),
        }
    }
}
