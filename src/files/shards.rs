//! A checkpoint in several files of safetensors, with the index that says which tensor is in which. Together they are
//! one [`Source`]: the files one behind the other, in the order of their names.
//!
//! An index comes from anywhere, and so does what lies beside it: it names files of its own folder only, and every name
//! must be in exactly the file that the index says, and no other.
//!
//! Format: `{"metadata": {"total_size": bytes}, "weight_map": {tensor: file}}`, as transformers writes it.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::json;
use super::safetensors::{Entry, Header, MOST_TENSORS, Other, Pairs};
use super::source::Source;
use crate::error::{Error, Result};
use crate::warning::Warning;

/// The maximum size of an index, in bytes.
pub const LONGEST_INDEX: u64 = 16 << 20;

/// What `model.safetensors.index.json` says.
pub struct Index {
    /// Its name, for messages.
    name: String,
    /// The file that each tensor is in.
    places: BTreeMap<String, String>,
    /// What it says about the bytes of all tensors together.
    total_size: Option<Value>,
    bytes: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object with a `weight_map`")]
struct RawIndex {
    #[serde(default)]
    metadata: Value,
    weight_map: Pairs<String>,
    /// With them, only an object is read, and not a list of its values.
    #[serde(flatten)]
    _others: BTreeMap<String, IgnoredAny>,
}

/// The files of an index, in the order of their names.
pub struct Shards {
    index: Index,
    files: Vec<Shard>,
}

struct Shard {
    /// As the index calls it.
    name: String,
    /// Where it begins in all files together.
    begin: u64,
    source: Source,
}

impl Index {
    /// Parses the bytes of the index that is called `name`. Errors: `Shards`.
    pub fn parse(bytes: &[u8], name: &str) -> Result<Index> {
        let mut index = Index { name: name.to_string(), places: BTreeMap::new(), total_size: None, bytes: Vec::new() };
        if bytes.len() as u64 > LONGEST_INDEX {
            return Err(index.refusal(format!("it is larger than {LONGEST_INDEX} bytes")));
        }
        let raw: RawIndex = json::read(bytes).map_err(|reason| index.refusal(reason))?;
        if raw.weight_map.0.len() > MOST_TENSORS {
            return Err(index.refusal(format!("it names more than {MOST_TENSORS} tensors")));
        }
        index.bytes = bytes.to_vec();
        index.total_size = raw.metadata.get("total_size").cloned();
        for (tensor, file) in raw.weight_map.0 {
            if !is_plain(&file) {
                let reason = format!("{file:?} is not the name of a safetensors file in the folder of the index");
                return Err(index.refusal(reason));
            }
            if index.places.contains_key(&tensor) {
                return Err(index.refusal(format!("it names tensor `{tensor}` twice")));
            }
            index.places.insert(tensor, file);
        }
        match index.places.is_empty() {
            true => Err(index.refusal("it names no tensors".to_string())),
            false => Ok(index),
        }
    }

    /// All files of the index as one source. `open` finds a file by its name, and nothing where it is missing. Errors:
    /// `Shards`, those of `open`.
    pub fn join(self, mut open: impl FnMut(&str) -> Result<Option<Source>>) -> Result<Source> {
        let names: BTreeSet<&String> = self.places.values().collect();
        let (mut files, mut missing, mut bytes) = (Vec::with_capacity(names.len()), Vec::new(), 0_u64);
        for name in names {
            let Some(source) = open(name)? else {
                missing.push(name);
                continue;
            };
            let begin = bytes;
            bytes = bytes.saturating_add(source.bytes);
            files.push(Shard { name: name.clone(), begin, source });
        }
        if let Some(first) = missing.first() {
            let (lacking, all) = (missing.len(), missing.len().saturating_add(files.len()));
            let reason = format!("of its {all} files, {lacking} cannot be found, the first of them `{first}`");
            return Err(self.refusal(reason));
        }
        Ok(Source::of_shards(Rc::new(Shards { index: self, files }), bytes))
    }

    /// The tensor is in this file and should be.
    fn check(&self, tensor: &str, file: &str) -> Result<()> {
        match self.places.get(tensor) {
            Some(place) if place == file => Ok(()),
            Some(place) => {
                Err(self.refusal(format!("`{file}` holds tensor `{tensor}`, which should be in `{place}` alone")))
            }
            None => Err(self.refusal(format!("`{file}` holds tensor `{tensor}`, which the index does not name"))),
        }
    }

    fn refusal(&self, reason: String) -> Error {
        Error::Shards { file: self.name.clone(), reason }
    }
}

impl Shards {
    /// What the index is called.
    pub fn name(&self) -> &str {
        &self.index.name
    }

    /// The index as it is.
    pub fn index(&self) -> &[u8] {
        &self.index.bytes
    }

    /// The names of the files and their bytes, in their order.
    pub fn files(&self) -> impl Iterator<Item = (&str, u64)> {
        self.files.iter().map(|file| (file.name.as_str(), file.source.bytes))
    }

    /// The headers of all files as one. Offsets are from the start of the first file.
    pub(super) async fn header(&self) -> Result<Header> {
        let mut whole = Header { entries: Vec::new(), others: Vec::new(), metadata: Vec::new(), warnings: Vec::new() };
        for Shard { name, begin, source } in &self.files {
            let header = source.header_of_file().await?;
            for tensor in header.names() {
                self.index.check(tensor, name)?;
            }
            let moved = |at: u64| at.saturating_add(*begin);
            whole.entries.extend(header.entries.into_iter().map(|it| Entry {
                begin: moved(it.begin),
                end: moved(it.end),
                ..it
            }));
            whole.others.extend(header.others.into_iter().map(|it| Other {
                begin: moved(it.begin),
                end: moved(it.end),
                ..it
            }));
            whole.metadata.extend(header.metadata);
        }
        whole.entries.sort_by(|a, b| a.name.cmp(&b.name));
        whole.others.sort_by(|a, b| a.name.cmp(&b.name));

        let found: BTreeSet<&str> = whole.names().collect();
        if let Some((tensor, file)) = self.index.places.iter().find(|(tensor, _)| !found.contains(tensor.as_str())) {
            return Err(self.index.refusal(format!("tensor `{tensor}` is missing from `{file}`")));
        }
        whole.warnings.extend(self.other_size(&whole));
        Ok(whole)
    }

    /// Published checkpoints often get this number wrong, and nothing depends on it.
    fn other_size(&self, header: &Header) -> Option<Warning> {
        let claimed = self.index.total_size.as_ref()?;
        let entries = header.entries.iter().map(|entry| (entry.begin, entry.end));
        let ranges = entries.chain(header.others.iter().map(|other| (other.begin, other.end)));
        let bytes = ranges.fold(0_u64, |sum, (begin, end)| sum.saturating_add(end.saturating_sub(begin)));
        (claimed.as_u64() != Some(bytes)).then(|| Warning {
            code: "total_size",
            message: format!(
                "`{}` gives {} as the bytes of all tensors (`total_size`), but the files hold {bytes}: the files count",
                self.index.name,
                json::shown(claimed)
            ),
        })
    }

    /// Bytes that may begin in one file and end in another.
    pub(super) async fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>> {
        let end = offset.saturating_add(length);
        let mut bytes = Vec::new();
        for Shard { begin, source, .. } in &self.files {
            let (from, to) = (offset.max(*begin), end.min(begin.saturating_add(source.bytes)));
            if from < to {
                let part = source.read(from.saturating_sub(*begin), to.saturating_sub(from)).await?;
                if part.len() as u64 == length {
                    return Ok(part);
                }
                bytes.extend(part);
            }
        }
        Ok(bytes)
    }
}

/// Whether it can only be a file that lies beside the index.
fn is_plain(file: &str) -> bool {
    let is_path = |c: char| c.is_control() || matches!(c, '/' | '\\' | ':');
    file.ends_with(".safetensors") && !file.starts_with('.') && !file.contains(is_path)
}
