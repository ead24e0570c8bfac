//! A GGUF file as a checkpoint: its metadata as config.json, and its tensors under the names of transformers.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "files come from anywhere"
)]

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::config::{Config, NormKind};
use super::family::Family;
use super::gguf_names::name;
use super::linear::Target;
use super::rope::{Rope, RopeScaling};
use super::tensors::{Role, TensorSpec};
use crate::error::{Error, Result};
use crate::files::safetensors::{Converted, Dtype, Entry, Header, to_f32};
use crate::files::{Gguf, Source};

/// An architecture of llama.cpp whose files are read.
struct Architecture {
    /// `general.architecture`, which its own keys of the metadata begin with.
    name: &'static str,
    /// What transformers calls it.
    model_type: &'static str,
    /// llama.cpp rotates neighbours; transformers rotates a row of a head's first half with one of its second. The rows
    /// of q and k are in llama.cpp's order.
    interleaved: bool,
    /// Fields of config.json that it needs, by their keys.
    fields: &'static [(&'static str, &'static str)],
    /// And fields that only some families have, which a file may lack.
    more: &'static [(&'static str, &'static str)],
    /// The field of the activation, and its value.
    activation: (&'static str, &'static str),
}

const LLAMA: Architecture = Architecture {
    name: "llama",
    model_type: "llama",
    interleaved: true,
    fields: &[
        ("hidden_size", "embedding_length"),
        ("intermediate_size", "feed_forward_length"),
        ("num_hidden_layers", "block_count"),
        ("num_attention_heads", "attention.head_count"),
        ("max_position_embeddings", "context_length"),
        ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
    ],
    more: &[],
    activation: ("hidden_act", "silu"),
};

const ARCHITECTURES: [Architecture; 7] = [
    LLAMA,
    Architecture { name: "qwen2", model_type: "qwen2", interleaved: false, ..LLAMA },
    Architecture { name: "qwen3", model_type: "qwen3", interleaved: false, ..LLAMA },
    Architecture {
        name: "gpt2",
        model_type: "gpt2",
        interleaved: false,
        fields: &[
            ("n_embd", "embedding_length"),
            ("n_inner", "feed_forward_length"),
            ("n_layer", "block_count"),
            ("n_head", "attention.head_count"),
            ("n_positions", "context_length"),
            ("layer_norm_epsilon", "attention.layer_norm_epsilon"),
        ],
        activation: ("activation_function", "gelu_new"),
        ..LLAMA
    },
    Architecture {
        name: "gemma3",
        model_type: "gemma3_text",
        interleaved: false,
        more: &[
            ("rope_local_base_freq", LOCAL_BASE),
            ("sliding_window", WINDOW),
            ("sliding_window_pattern", WINDOW_PATTERN),
        ],
        activation: ("hidden_activation", "gelu_pytorch_tanh"),
        ..LLAMA
    },
    Architecture { name: "smollm3", model_type: "smollm3", interleaved: true, ..LLAMA },
    Architecture { name: "phi3", model_type: "phi3", interleaved: false, more: &[("sliding_window", WINDOW)], ..LLAMA },
];

/// Fields of config.json that a file may lack, by their keys.
const OPTIONAL: [(&str, &str); 3] =
    [("num_key_value_heads", "attention.head_count_kv"), ("head_dim", KEY_LENGTH), ("rope_theta", "rope.freq_base")];
/// Those of the object `rope_scaling`.
const SCALING: [(&str, &str); 5] = [
    ("rope_type", "rope.scaling.type"),
    ("factor", "rope.scaling.factor"),
    ("original_max_position_embeddings", "rope.scaling.original_context_length"),
    ("beta_fast", "rope.scaling.yarn_beta_fast"),
    ("beta_slow", "rope.scaling.yarn_beta_slow"),
];
/// Further keys of an architecture that are checked, or that change nothing. Any other may change what is computed.
const KNOWN: [&str; 7] = [
    "vocab_size",
    "attention.value_length",
    "rope.dimension_count",
    "rope.scaling.finetuned",
    "expert_count",
    "expert_used_count",
    "tensor_data_layout",
];
const KEY_LENGTH: &str = "attention.key_length";
const LOCAL_BASE: &str = "rope.freq_base_swa";
const WINDOW: &str = "attention.sliding_window";
const WINDOW_PATTERN: &str = "attention.sliding_window_pattern";

/// The base of rope where the metadata has none, as in llama.cpp.
const USUAL_BASE: f64 = 10_000.0;
/// What rope's periods are multiplied with, and the most bytes it can have.
const ROPE_FACTORS: &str = "rope_freqs.weight";
const MOST_FACTORS: u64 = 4096;

/// A model that a GGUF file holds.
pub struct GgufModel<'a> {
    gguf: &'a Gguf,
    file: &'a str,
    architecture: &'static Architecture,
}

impl<'a> GgufModel<'a> {
    /// Errors: `Gguf` for a file that holds no whole model, `UnsupportedModel`.
    pub fn new(gguf: &'a Gguf, file: &'a str) -> Result<GgufModel<'a>> {
        let word = |key: &str| gguf.metadata.get(key).and_then(Value::as_str);
        let refusal = |reason: String| Err(Error::Gguf { file: file.to_string(), reason });
        if let Some(kind) = gguf.metadata.get("general.type").filter(|kind| *kind != "model") {
            return refusal(format!("it holds no model (`general.type` = {kind})"));
        }
        if let Some(parts) = gguf.metadata.get("split.count").filter(|parts| **parts != 0 && **parts != 1) {
            return refusal(format!(
                "it is one of {parts} parts of a model; join them with `llama-gguf-split --merge`"
            ));
        }
        let name = word("general.architecture").unwrap_or("(none)");
        match ARCHITECTURES.iter().find(|known| known.name == name) {
            Some(architecture) => Ok(GgufModel { gguf, file, architecture }),
            None => {
                let names = ARCHITECTURES.map(|known| known.name).join(", ");
                let supported = format!("{names}, where the file is a GGUF file");
                Err(Error::UnsupportedModel { model_type: name.to_string(), supported })
            }
        }
    }

    /// The value of one of the architecture's own keys.
    fn own(&self, key: &str) -> Option<&Value> {
        self.gguf.metadata.get(&self.full(key)).filter(|value| !value.is_null())
    }

    fn full(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture.name)
    }

    fn unsupported(&self, key: &str, value: &Value) -> Error {
        Error::UnsupportedField { field: self.full(key), value: value.to_string() }
    }

    /// Every field of config.json that is read from the metadata, with its key.
    fn fields(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.architecture.fields.iter().chain(self.architecture.more).copied().chain(OPTIONAL).chain(SCALING)
    }

    /// An error about config.json, in the words of the file that it was made from.
    pub fn explain(&self, error: Error) -> Error {
        let called = |field: &str| {
            let last = field.rsplit('.').next();
            let key = self.fields().find(|(known, _)| Some(*known) == last);
            key.map_or_else(|| field.to_string(), |(_, key)| self.full(key))
        };
        match error {
            Error::UnsupportedField { field, value } => Error::UnsupportedField { field: called(&field), value },
            Error::Config { field, reason } => {
                let words: Vec<String> = reason.split(' ').map(called).collect();
                let place = if field == "(file)" { String::new() } else { format!("`{}`: ", called(&field)) };
                Error::Gguf { file: self.file.to_string(), reason: format!("{place}{}", words.join(" ")) }
            }
            other => other,
        }
    }

    fn tensor(&self, name: &str) -> Option<&Entry> {
        self.gguf.tensors.iter().find(|entry| entry.name == name)
    }

    fn refuse_unknown(&self) -> Result<()> {
        for (key, value) in &self.gguf.metadata {
            let own = key.strip_prefix(self.architecture.name).and_then(|key| key.strip_prefix('.'));
            let is_known = |key: &&str| KNOWN.contains(key) || self.fields().any(|(_, known)| known == *key);
            if let Some(key) = own.filter(|key| !is_known(key)) {
                return Err(self.unsupported(key, value));
            }
        }
        if let Some(experts) = self.own("expert_count").filter(|experts| **experts != 0) {
            return Err(self.unsupported("expert_count", experts));
        }
        for key in [KEY_LENGTH, "attention.value_length", "rope.dimension_count"] {
            if let Some(value) = self.own(key).filter(|value| value.as_u64() != self.head_size()) {
                return Err(self.unsupported(key, value));
            }
        }
        Ok(())
    }

    /// As in llama.cpp: of how many numbers rope turns it says nothing.
    fn head_size(&self) -> Option<u64> {
        let whole = |key: &str| self.own(key).and_then(Value::as_u64);
        let divided = || whole("embedding_length")?.checked_div(whole("attention.head_count")?);
        whole(KEY_LENGTH).or_else(divided)
    }

    fn is_gemma(&self) -> bool {
        self.architecture.model_type == "gemma3_text"
    }

    /// The window of the layers that slide, and which layers those are.
    fn windows(&self) -> [(&'static str, Option<Value>); 2] {
        // A window of 0 is none.
        let window = self.own(WINDOW).filter(|window| **window != 0).cloned();
        // Of a Gemma without a window, every layer sees everything.
        let everywhere = (self.is_gemma() && window.is_none()).then(|| 1.into());
        let pattern = everywhere.or_else(|| self.own(WINDOW_PATTERN).cloned());
        [("sliding_window", window), ("sliding_window_pattern", pattern)]
    }

    /// `rope_scaling` of config.json. Errors: `UnsupportedField`, `Io`.
    async fn rope_scaling(&self, source: &Source) -> Result<Option<Value>> {
        // As in llama.cpp, a factor without a type is a linear one.
        let kind = match (self.own("rope.scaling.type"), self.own("rope.scaling.factor")) {
            (None, None) => "none",
            (None, Some(_)) => "linear",
            (Some(kind), _) => kind.as_str().ok_or_else(|| self.unsupported("rope.scaling.type", kind))?,
        };
        if let Some(entry) = self.tensor(ROPE_FACTORS) {
            if kind != "none" {
                return Err(self.unsupported("rope.scaling.type", &kind.into()));
            }
            let unknown =
                || Error::UnsupportedField { field: ROPE_FACTORS.to_string(), value: entry.dtype.to_string() };
            let mut factors = Vec::new();
            if entry.dtype == Dtype::F32 && entry.end.saturating_sub(entry.begin) <= MOST_FACTORS {
                let bytes = source.read(entry.begin, entry.end.saturating_sub(entry.begin)).await?;
                to_f32(entry.dtype, &bytes, &mut factors);
            }
            return self.llama3(&factors).map(Some).ok_or_else(unknown);
        }
        match kind {
            "none" => Ok(None),
            "linear" | "yarn" => {
                // The others are yarn's.
                let read = if kind == "yarn" { SCALING.len() } else { 2 };
                let own = |(field, key): &(&str, &str)| Some((field.to_string(), self.own(key)?.clone()));
                let mut scaling: Map<String, Value> = SCALING.iter().take(read).filter_map(own).collect();
                scaling.insert("rope_type".to_string(), kind.into());
                Ok(Some(scaling.into()))
            }
            _ => Err(self.unsupported("rope.scaling.type", &kind.into())),
        }
    }

    /// Llama 3's factors of rope's periods say what they were made with, except for what all models of it share.
    fn llama3(&self, factors: &[f32]) -> Option<Value> {
        let (low, high, context) = (1.0, 4.0, 8192);
        let (factor, theta) = (f64::from(*factors.last()?), self.own("rope.freq_base")?.as_f64()?);
        let size = usize::try_from(self.head_size()?).ok().filter(|size| size.div_ceil(2) == factors.len())?;
        let scaling =
            RopeScaling::Llama3 { factor, low_freq_factor: low, high_freq_factor: high, original_context: context };
        let rope = |scaling| Rope { theta, scaling }.frequencies(size);
        let pairs = rope(RopeScaling::None).into_iter().zip(rope(scaling));
        let is_same = |((plain, scaled), factor): ((f32, f32), &f32)| (plain / scaled - factor).abs() <= 1e-4 * factor;
        pairs.zip(factors).all(is_same).then(|| {
            json!({
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low,
                "high_freq_factor": high,
                "original_max_position_embeddings": context,
            })
        })
    }

    /// The metadata as config.json. Errors: `UnsupportedField`, `Gguf`, `Io`.
    pub async fn config(&self, source: &Source) -> Result<Vec<u8>> {
        self.refuse_unknown()?;
        let lacks = |what: String| Error::Gguf { file: self.file.to_string(), reason: format!("it lacks {what}") };
        let embedding = self.tensor("token_embd.weight").ok_or_else(|| lacks("tensor `token_embd.weight`".into()))?;
        let mut config = Map::new();
        for (field, key) in self.architecture.fields {
            let value = self.own(key).ok_or_else(|| lacks(format!("`{}` in its metadata", self.full(key))))?;
            config.insert(field.to_string(), value.clone());
        }
        let metadata = &self.gguf.metadata;
        let token = |key: &str| metadata.get(&format!("tokenizer.ggml.{key}_token_id")).cloned().unwrap_or_default();
        let (activation, name) = self.architecture.activation;
        let head_size = self.head_size().map(Value::from);
        let own = [
            ("model_type", Some(self.architecture.model_type.into())),
            (activation, Some(name.into())),
            ("tie_word_embeddings", Some(self.tensor("output.weight").is_none().into())),
            ("attention_bias", Some(self.tensor("blk.0.attn_q.bias").is_some().into())),
            ("mlp_bias", Some(self.tensor("blk.0.ffn_up.bias").is_some().into())),
            ("vocab_size", embedding.shape.first().map(|rows| (*rows).into())),
            ("num_key_value_heads", self.own("attention.head_count_kv").cloned()),
            ("head_dim", head_size.clone()),
            ("query_pre_attn_scalar", head_size.filter(|_| self.is_gemma())),
            ("rope_theta", Some(self.own("rope.freq_base").cloned().unwrap_or_else(|| USUAL_BASE.into()))),
            ("rope_local_base_freq", self.own(LOCAL_BASE).cloned()),
            ("rope_scaling", self.rope_scaling(source).await?),
            // Where one is missing, transformers takes that of the family's first model.
            ("bos_token_id", Some(token("bos"))),
            ("eos_token_id", Some(token("eos"))),
            ("pad_token_id", Some(token("padding"))),
        ];
        for (field, value) in own.into_iter().chain(self.windows()) {
            config.extend(value.map(|value| (field.to_string(), value)));
        }
        Ok(Value::from(config).to_string().into_bytes())
    }

    /// The tensors under the names that the model gives them. What it does not have keeps its name.
    pub fn header(&self, config: &Config) -> Header {
        let specs = config.tensors().into_iter().chain([config.head()]);
        let specs: HashMap<String, TensorSpec> = specs.map(|spec| (name(spec.role), spec)).collect();
        let renamed = |entry: &Entry| match specs.get(&entry.name) {
            Some(spec) => Entry { name: spec.name.clone(), converted: converted(spec, config), ..entry.clone() },
            None => entry.clone(),
        };
        let tensors = self.gguf.tensors.iter().filter(|entry| entry.name != ROPE_FACTORS);
        let mut entries: Vec<Entry> = tensors.map(renamed).collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Header { entries, others: Vec::new(), metadata: Vec::new(), warnings: Vec::new() }
    }
}

/// What llama.cpp's converter does to a tensor.
pub fn converted(spec: &TensorSpec, config: &Config) -> Option<Converted> {
    let (_, interleaved) = architecture(config.family);
    match spec.role {
        Role::Weight(_, Target::Q | Target::K) | Role::Bias(_, Target::Q | Target::K) => {
            interleaved.then_some(Converted::Interleaved(config.heads.size))
        }
        Role::Weight(..) => spec.transposed.then_some(Converted::Transposed),
        Role::Norm(..) | Role::FinalNorm => (config.norm == NormKind::RmsPlusOne).then_some(Converted::PlusOne),
        _ => None,
    }
}

/// The architecture of llama.cpp that computes a family, and whether rows of q and k are interleaved in its files.
pub fn architecture(family: &Family) -> (&'static str, bool) {
    // Its converter makes a Llama of a Mistral, which it is, but for a window.
    let model_type = if family.model_type == "mistral" { "llama" } else { family.model_type };
    let known = ARCHITECTURES.iter().find(|known| known.model_type == model_type);
    let known = known.unwrap_or_else(|| unreachable!("llama.cpp has an architecture for every family here"));
    (known.name, known.interleaved)
}
