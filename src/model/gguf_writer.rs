//! A model's shape as the metadata of a GGUF file, and the tensors of that file.

use super::config::{Config, Layer, NormKind};
use super::gguf::{architecture, converted};
use super::gguf_names::name;
use super::rope::{Rope, RopeScaling};
use super::tensors::TensorSpec;
use crate::error::{Error, Result};
use crate::files::gguf_writer::{Field, Metadata, Written};
use crate::files::safetensors::{Converted, Dtype};
use crate::warning::Warning;

/// llama.cpp gives every layer of SmolLM3 rope but each of so many.
const STEP_WITHOUT_ROPE: usize = 4;
/// Of Gemma's layers, each of so many sees everything. The others have this rope.
const STEP_WITHOUT_WINDOW: usize = 6;
const ROPE_IN_WINDOW: Rope = Rope { theta: 10_000.0, scaling: RopeScaling::None };
const GEMMA3: &str = "gemma3_text";
const PHI3: &str = "phi3";

/// What a file says before its data, except for the tokenizer.
pub struct GgufOutline {
    pub metadata: Metadata,
    /// The factors of rope's periods, which stand before the model's tensors.
    pub rope_factors: Vec<f32>,
    /// What llama.cpp computes otherwise.
    pub warning: Option<Warning>,
}

impl Config {
    /// Errors: `NotYet` for what llama.cpp's file of such a model cannot say.
    pub fn gguf_outline(&self) -> Result<GgufOutline> {
        let (own, _) = architecture(self.family);
        let model_type = self.family.model_type;
        let Layer { window, rope } = self.as_in_llama_cpp()?;
        let size = self.heads.size;
        let count = |key: &str, n: usize| (format!("{own}.{key}"), Field::U32(n as u32));
        let norm = if self.norm == NormKind::LayerNorm { "layer_norm" } else { "layer_norm_rms" };
        let mut metadata = vec![
            ("general.architecture".to_string(), Field::Word(own.to_string())),
            ("general.type".to_string(), Field::Word("model".to_string())),
            count("block_count", self.layers),
            count("context_length", self.context),
            count("embedding_length", self.hidden),
            count("feed_forward_length", self.intermediate),
            count("attention.head_count", self.heads.query),
            count("vocab_size", self.vocabulary),
            (format!("{own}.attention.{norm}_epsilon"), Field::F32(self.norm_eps)),
        ];
        if self.norm != NormKind::LayerNorm {
            let keys = [("head_count_kv", self.heads.key), ("key_length", size), ("value_length", size)];
            metadata.extend(keys.map(|(key, n)| count(&format!("attention.{key}"), n)));
        }
        metadata.extend(window.map(|window| count("attention.sliding_window", window)));
        let mut rope_factors = Vec::new();
        if let Some(rope) = rope {
            metadata.push(count("rope.dimension_count", size));
            metadata.push((format!("{own}.rope.freq_base"), Field::F32(rope.theta as f32)));
            match rope.scaling {
                RopeScaling::None => {}
                RopeScaling::Linear { factor } => {
                    metadata.push((format!("{own}.rope.scaling.type"), Field::Word("linear".to_string())));
                    metadata.push((format!("{own}.rope.scaling.factor"), Field::F32(factor as f32)));
                }
                RopeScaling::Llama3 { .. } if own != "llama" => {
                    return Err(self.not_yet(" with rope that is scaled by llama3"));
                }
                RopeScaling::Llama3 { .. } => {
                    let plain = Rope { scaling: RopeScaling::None, ..rope }.frequencies(size);
                    let pairs = plain.into_iter().zip(rope.frequencies(size));
                    rope_factors = pairs.map(|(plain, own)| plain / own).collect();
                }
                RopeScaling::Yarn(_) => return Err(self.not_yet(" with rope that is scaled by yarn")),
            }
        }
        let is_ignored = model_type == PHI3 && window.is_some_and(|window| window < self.context);
        let warning = is_ignored.then(|| Warning {
            code: "window_ignored",
            message: format!(
                "a token of this model sees {} tokens; llama.cpp lets it see all before it, so longer texts continue \
                 otherwise there",
                window.unwrap_or_default()
            ),
        });
        Ok(GgufOutline { metadata, rope_factors, warning })
    }

    /// The window and rope of a file, from which llama.cpp gives every layer its own. Errors: `NotYet` where a layer of
    /// this model has another.
    fn as_in_llama_cpp(&self) -> Result<Layer> {
        let model_type = self.family.model_type;
        let has_window = model_type == GEMMA3 || model_type == PHI3;
        // A window that no text is longer than is none.
        let own = |layer: usize| {
            let Layer { window, rope } = self.layer(layer);
            Layer { window: window.filter(|window| has_window || *window < self.context), rope }
        };
        let layers = || (0..self.layers).map(|layer| (layer, own(layer)));
        let window = layers().find_map(|(_, found)| found.window);
        if window.is_some() && !has_window {
            return Err(self.not_yet(" with a sliding window"));
        }
        let sees_all = |found: &Layer| model_type != GEMMA3 || found.window.is_none();
        let rope = layers().filter(|(_, found)| sees_all(found)).find_map(|(_, found)| found.rope);
        let of = |layer: usize| {
            let is_last_of = |step: usize| layer.saturating_add(1).is_multiple_of(step);
            match model_type {
                "smollm3" if is_last_of(STEP_WITHOUT_ROPE) => Layer { window, rope: None },
                GEMMA3 if is_last_of(STEP_WITHOUT_WINDOW) => Layer { window: None, rope },
                GEMMA3 => Layer { window, rope: Some(ROPE_IN_WINDOW) },
                _ => Layer { window, rope },
            }
        };
        if rope.is_none() && self.family.positions.is_none() && model_type != GEMMA3 {
            return Err(self.not_yet(" without rope"));
        }
        if layers().any(|(layer, found)| found != of(layer)) {
            return Err(self.not_yet(" whose layers have rope or windows in another order"));
        }
        if self.query_scale.is_some() {
            return Err(self.not_yet(" with scores of another scale"));
        }
        Ok(Layer { window, rope })
    }

    fn not_yet(&self, which: &str) -> Error {
        Error::NotYet { what: format!("a GGUF file of a {} model{which}", self.family.model_type) }
    }

    /// The tensors of such a file in their order: matrices in a type, where their rows are whole blocks of it, else in
    /// f16; vectors in f32.
    pub fn gguf_tensors(&self, dtype: Dtype) -> (Vec<(TensorSpec, Written)>, Option<Warning>) {
        let mut other = None;
        let (block, _) = dtype.block();
        let written = |spec: TensorSpec| {
            let own = match (spec.role.is_weight(), (spec.size()[1] as u64).is_multiple_of(block)) {
                (false, _) => Dtype::F32,
                (true, true) => dtype,
                (true, false) => {
                    other.get_or_insert_with(|| spec.name.clone());
                    Dtype::F16
                }
            };
            let is_transposed = converted(&spec, self) == Some(Converted::Transposed);
            let shape = if is_transposed { spec.size().to_vec() } else { spec.shape.clone() };
            let name = name(spec.role);
            (spec, Written { name, shape, dtype: own })
        };
        let tensors = self.tensors().into_iter().map(written).collect();
        let warning = other.map(|name| Warning {
            code: "f16_instead",
            message: format!("`{name}` and others like it have rows of no whole blocks of {dtype}; they are in F16"),
        });
        (tensors, warning)
    }
}
