//! A model's shape as the metadata of a GGUF file, and the tensors of that file.

use super::config::Config;
use super::gguf::{architecture, name};
use super::linear::Target;
use super::rope::{Rope, RopeScaling};
use super::tensors::{Role, TensorSpec};
use crate::error::{Error, Result};
use crate::files::gguf_writer::{Field, Metadata, Written};
use crate::files::safetensors::Dtype;
use crate::warning::Warning;

/// The families that are written: Llama, and those that differ from it in what llama.cpp knows of each.
const WRITTEN: [&str; 5] = ["llama", "mistral", "qwen2", "qwen3", "smollm3"];
/// llama.cpp gives every layer of SmolLM3 rope but each of so many.
const STEP_WITHOUT_ROPE: usize = 4;

/// What a file says before its data, except for the tokenizer.
pub struct GgufOutline {
    pub metadata: Metadata,
    /// The factors of rope's periods, which stand before the model's tensors.
    pub rope_factors: Vec<f32>,
    /// Where rows of q and k take turns, those of a head.
    pub head: Option<usize>,
}

impl Config {
    /// Errors: `NotYet` for what llama.cpp's file of such a model cannot say.
    pub fn gguf_outline(&self) -> Result<GgufOutline> {
        let model_type = self.family.model_type;
        let not_yet = |which: &str| Error::NotYet { what: format!("a GGUF file of a {model_type} model{which}") };
        if !WRITTEN.contains(&model_type) {
            return Err(not_yet(""));
        }
        let (own, interleaved) = architecture(self.family);
        let mut rope = None;
        for layer in 0..self.layers {
            let found = self.layer(layer);
            if found.window.is_some_and(|window| window < self.context) {
                return Err(not_yet(" with a sliding window"));
            }
            let has_rope = model_type != "smollm3" || layer.saturating_add(1) % STEP_WITHOUT_ROPE != 0;
            let is_usual =
                has_rope == found.rope.is_some() && rope.is_none_or(|rope| found.rope.is_none_or(|it| it == rope));
            if !is_usual {
                return Err(not_yet(" whose layers have rope in another order"));
            }
            rope = rope.or(found.rope);
        }
        let Some(rope) = rope else { return Err(not_yet(" without rope")) };
        let size = self.heads.size;
        let count = |key: &str, n: usize| (format!("{own}.{key}"), Field::U32(n as u32));
        let mut metadata = vec![
            ("general.architecture".to_string(), Field::Word(own.to_string())),
            ("general.type".to_string(), Field::Word("model".to_string())),
            count("block_count", self.layers),
            count("context_length", self.context),
            count("embedding_length", self.hidden),
            count("feed_forward_length", self.intermediate),
            count("attention.head_count", self.heads.query),
            count("attention.head_count_kv", self.heads.key),
            count("attention.key_length", size),
            count("attention.value_length", size),
            count("rope.dimension_count", size),
            count("vocab_size", self.vocabulary),
            (format!("{own}.attention.layer_norm_rms_epsilon"), Field::F32(self.norm_eps)),
            (format!("{own}.rope.freq_base"), Field::F32(rope.theta as f32)),
        ];
        let mut rope_factors = Vec::new();
        match rope.scaling {
            RopeScaling::None => {}
            RopeScaling::Linear { factor } => {
                metadata.push((format!("{own}.rope.scaling.type"), Field::Word("linear".to_string())));
                metadata.push((format!("{own}.rope.scaling.factor"), Field::F32(factor as f32)));
            }
            RopeScaling::Llama3 { .. } => {
                let plain = Rope { scaling: RopeScaling::None, ..rope }.frequencies(size);
                rope_factors = plain.into_iter().zip(rope.frequencies(size)).map(|(plain, own)| plain / own).collect();
            }
            RopeScaling::Yarn(_) => return Err(not_yet(" with rope that is scaled by yarn")),
        }
        Ok(GgufOutline { metadata, rope_factors, head: interleaved.then_some(size) })
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
            let name = name(spec.role);
            let shape = spec.shape.clone();
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

/// Whether rows of a tensor take turns where those of q and k do.
pub fn is_rotated(role: Role) -> bool {
    matches!(role, Role::Weight(_, Target::Q | Target::K) | Role::Bias(_, Target::Q | Target::K))
}
