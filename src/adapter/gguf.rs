//! llama.cpp's form of an adapter: a GGUF file with its scale in the metadata, and an A [rank, in] and a B [out, rank]
//! for each linear, as PEFT has them. Where llama.cpp rotates neighbours, the rows of B for q and k are interleaved.
//!
//! llama.cpp's factor of B A is alpha / rank, with the rank of each B, or 1 if alpha is 0.

use super::contents::mismatch;
use super::form::Form;
use super::{AdapterFiles, HostMatrix, Origin, Pair};
use crate::error::{Error, Result};
use crate::files::Gguf;
use crate::files::gguf_writer::{Field, Written, beginning, padding};
use crate::files::safetensors::{Dtype, Header};
use crate::files::source::interleaved_row;
use crate::model::gguf::architecture;
use crate::model::{Config, Target};

const KIND: &str = "general.type";
const ARCHITECTURE: &str = "general.architecture";
const ADAPTER_KIND: &str = "adapter.type";
const ALPHA: &str = "adapter.lora.alpha";
/// An adapter that only works behind certain tokens.
const INVOCATION: &str = "adapter.alora.invocation_tokens";
/// Where a base may be named: an address, whose end is its name, or a title.
const BASE: [&str; 2] = ["general.base_model.0.repo_url", "general.base_model.0.name"];
/// In front of what tabtune notes.
const OWN: &str = "tabtune.";

pub(super) struct GgufConfig {
    pub alpha: f64,
    interleaved: bool,
}

impl GgufConfig {
    /// What a file says before its data. Errors: `Gguf`, `AdapterMismatch`, `UnsupportedAdapter`.
    pub fn read(file: &[u8], model: &Config) -> Result<(GgufConfig, Header)> {
        let gguf = parse(file)?;
        let word = |key: &str| gguf.metadata.get(key).and_then(|value| value.as_str()).unwrap_or("(none)");
        if word(KIND) != "adapter" {
            let reason = format!("it is no adapter (`{KIND}` = {}); a model is given as the model", word(KIND));
            return Err(Error::Gguf { file: Form::Gguf.weights().to_string(), reason });
        }
        if word(ADAPTER_KIND) != "lora" || gguf.metadata.contains_key(INVOCATION) {
            let feature = match word(ADAPTER_KIND) {
                "lora" => format!("`{INVOCATION}`"),
                other => format!("`{ADAPTER_KIND}` = {other}"),
            };
            return Err(Error::UnsupportedAdapter { feature });
        }
        let (own, interleaved) = architecture(model.family);
        if word(ARCHITECTURE) != own {
            let found = word(ARCHITECTURE);
            return Err(mismatch(format!("it is for a model of the architecture `{found}`, this one's is `{own}`")));
        }
        let alpha = gguf.metadata.get(ALPHA).and_then(|alpha| alpha.as_f64()).unwrap_or(0.0);
        let header = Header { entries: gguf.tensors, others: Vec::new(), metadata: Vec::new(), warnings: Vec::new() };
        Ok((GgufConfig { alpha, interleaved }, header))
    }

    /// B as the model has it.
    pub fn in_order(&self, b: HostMatrix, target: Target, model: &Config) -> HostMatrix {
        let head = model.heads.size;
        if !is_rotated(target, self.interleaved) {
            return b;
        }
        let rows = (0..b.rows).map(|row| interleaved_row(row, head));
        let values = rows.flat_map(|row| b.values.chunks(b.cols).nth(row).unwrap_or_default().iter().copied());
        HostMatrix { values: values.collect(), ..b }
    }
}

fn parse(file: &[u8]) -> Result<Gguf> {
    Gguf::of(file, file.len() as u64, Form::Gguf.weights())
}

fn is_rotated(target: Target, interleaved: bool) -> bool {
    interleaved && matches!(target, Target::Q | Target::K)
}

/// What a file notes about its base: its name, and what other forms keep in the header of their tensors.
pub(super) fn noted(file: &[u8]) -> Result<(String, Vec<(String, String)>)> {
    let metadata = parse(file)?.metadata;
    let base = BASE.iter().find_map(|key| metadata.get(*key)?.as_str()).unwrap_or_default().to_string();
    let own = metadata
        .iter()
        .filter_map(|(key, value)| Some((key.strip_prefix(OWN)?.to_string(), value.as_str()?.to_string())));
    Ok((base, own.collect()))
}

/// The file of an adapter of one rank and alpha.
pub(super) fn file(pairs: &[Pair], model: &Config, origin: &Origin) -> AdapterFiles {
    let (own, interleaved) = architecture(model.family);
    let alpha = pairs.first().map_or(0.0, |pair| pair.site.alpha);
    let word = |key: &str, value: &str| (key.to_string(), Field::Word(value.to_string()));
    let [_, base] = BASE;
    let mut metadata = vec![
        word(ARCHITECTURE, own),
        word(KIND, "adapter"),
        word(ADAPTER_KIND, "lora"),
        (ALPHA.to_string(), Field::F32(alpha as f32)),
        ("general.base_model.count".to_string(), Field::U32(1)),
        word(base, &origin.base),
    ];
    metadata.extend(origin.metadata().map(|(key, value)| word(&format!("{OWN}{key}"), &value)));

    let (mut tensors, mut data) = (Vec::new(), Vec::new());
    for Pair { site, a, b } in pairs {
        let mut rows: Vec<&[f32]> = b.values.chunks(b.cols).collect();
        if is_rotated(site.target, interleaved) {
            for (row, values) in b.values.chunks(b.cols).enumerate() {
                if let Some(place) = rows.get_mut(interleaved_row(row, model.heads.size)) {
                    *place = values;
                }
            }
        }
        for (which, matrix, rows) in [('A', a, vec![a.values.as_slice()]), ('B', b, rows)] {
            let name = Form::Gguf.key(model.family, site.layer, site.target, which);
            let tensor = Written { name, shape: vec![matrix.rows, matrix.cols], dtype: Dtype::F32 };
            data.extend(rows.into_iter().flatten().flat_map(|x| x.to_le_bytes()));
            data.resize(data.len().saturating_add(padding(tensor.bytes())), 0);
            tensors.push(tensor);
        }
    }
    let mut file = beginning(&metadata, &tensors);
    file.append(&mut data);
    AdapterFiles { config: String::new(), weights: file }
}
