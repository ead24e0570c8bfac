//! The safetensors format: its header, checked before anything is allocated, and a writer.
//!
//! A file is eight bytes (the header's length, little-endian), the header (one JSON object) and the data. The header
//! names each tensor with its type, its shape and its range in the data. Everything is counted in `u64` bytes, so
//! offsets beyond 4 GiB are correct on wasm32 too. A file comes from anywhere, so the rules are stricter than the
//! format's: no duplicate names, no gaps, no overlaps, no bytes left over, at most [`MOST_TENSORS`] tensors and a
//! header of at most [`LONGEST_HEADER`] bytes. Tensors of types that nothing here computes with are listed apart. This
//! module knows nothing about models: whoever reads a tensor compares its shape with what `config.json` implies.
//!
//! Format: <https://huggingface.co/docs/safetensors>.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

pub use super::dtype::{Dtype, encode, to_f32};
use super::written::Written;
use crate::error::{Error, Result};
use crate::warning::Warning;

/// The maximum size of a header, in bytes.
pub const LONGEST_HEADER: u64 = 16 << 20;
/// The maximum number of tensors in a file.
pub const MOST_TENSORS: usize = 20_000;

/// One tensor of a file: row-major numbers of type `dtype` in the bytes `begin..end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// Offsets are from the start of the file, not of its data.
    pub begin: u64,
    pub end: u64,
    pub converted: Option<Converted>,
}

/// What llama.cpp's converter did to a tensor. It is undone when the tensor is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Converted {
    /// In each run of so many rows, which are those of a head, rows of the first half and of the second take turns.
    Interleaved(usize),
    /// A matrix that the model has as [in, out] is [out, in].
    Transposed,
    /// A norm that multiplies by 1 + w holds 1 + w.
    PlusOne,
}

impl Entry {
    /// Where `count` of its numbers are, from `first` on, and how many bytes they have. Both are whole blocks.
    pub fn range(&self, first: u64, count: u64) -> (u64, u64) {
        let (block, bytes) = self.dtype.block();
        let bytes = |numbers: u64| numbers.checked_div(block).unwrap_or(0).saturating_mul(bytes);
        (self.begin.saturating_add(bytes(first)), bytes(count))
    }
}

/// A tensor of another type, such as whole numbers. Its bytes are never read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    pub name: String,
    /// As the file calls it: `I64`.
    pub dtype: String,
    pub begin: u64,
    pub end: u64,
}

/// What a file contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Sorted by name.
    pub entries: Vec<Entry>,
    /// Sorted by name.
    pub others: Vec<Other>,
    /// In the order of the file.
    pub metadata: Vec<(String, String)>,
    pub warnings: Vec<Warning>,
}

impl Header {
    /// The header's length in bytes, from the file's first eight.
    pub fn length(first8: &[u8; 8], file_bytes: u64, file: &str) -> Result<u64> {
        if let Some((_, found, advice)) = NOT_SAFETENSORS.iter().find(|(begin, _, _)| first8.starts_with(begin)) {
            let (file, found, advice) = (file.to_string(), found.to_string(), advice.to_string());
            return Err(Error::NotSafetensors { file, found, advice });
        }
        let length = u64::from_le_bytes(*first8);
        if length > LONGEST_HEADER {
            return Err(refusal(file, format!("its header claims {length} bytes; the limit is {LONGEST_HEADER}")));
        }
        if length.saturating_add(8) > file_bytes {
            return Err(refusal(file, format!("its header claims {length} bytes, but the file has only {file_bytes}")));
        }
        Ok(length)
    }

    /// Parses the header, `json`, of a file of `file_bytes` bytes. The data need not have been read.
    pub fn parse(json: &[u8], file_bytes: u64, file: &str) -> Result<Header> {
        let raw: RawHeader = serde_json::from_slice(json).map_err(|e| refusal(file, e.to_string()))?;
        let data_begin = (json.len() as u64).saturating_add(8);
        let (mut entries, mut others) = (Vec::with_capacity(raw.tensors.len()), Vec::new());
        for (name, tensor) in raw.tensors {
            match tensor.check(name, data_begin).map_err(|reason| refusal(file, reason))? {
                Ok(entry) => entries.push(entry),
                Err(other) => others.push(other),
            }
        }

        let mut ranges: Vec<(u64, u64, &str)> = Vec::with_capacity(entries.len().saturating_add(others.len()));
        ranges.extend(entries.iter().map(|e| (e.begin, e.end, e.name.as_str())));
        ranges.extend(others.iter().map(|e| (e.begin, e.end, e.name.as_str())));
        ranges.sort_unstable();
        let mut expected = data_begin;
        for (begin, end, name) in &ranges {
            if *begin != expected {
                let fault = if *begin > expected { "leaves a gap before it" } else { "overlaps another tensor" };
                return Err(refusal(file, format!("tensor `{name}` {fault}")));
            }
            expected = *end;
        }
        if expected != file_bytes {
            return Err(refusal(file, format!("its tensors end at byte {expected}, the file at {file_bytes}")));
        }

        let mut names: Vec<&str> = ranges.into_iter().map(|(_, _, name)| name).collect();
        names.sort_unstable();
        if let Some(name) = duplicate(names.into_iter()) {
            return Err(refusal(file, format!("tensor `{name}` is named twice")));
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        others.sort_by(|a, b| a.name.cmp(&b.name));
        let mut keys: Vec<&str> = raw.metadata.iter().map(|(key, _)| key.as_str()).collect();
        keys.sort_unstable();
        if let Some(key) = duplicate(keys.into_iter()) {
            return Err(refusal(file, format!("the metadata names `{key}` twice")));
        }
        Ok(Header { entries, others, metadata: raw.metadata, warnings: Vec::new() })
    }

    /// The names of all tensors, whatever their types are.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let entries = self.entries.iter().map(|entry| entry.name.as_str());
        entries.chain(self.others.iter().map(|other| other.name.as_str()))
    }

    pub fn get(&self, name: &str) -> Option<&Entry> {
        let at = self.entries.binary_search_by(|e| e.name.as_str().cmp(name)).ok()?;
        self.entries.get(at)
    }
}

/// Writes a file of F32 tensors (name, shape, numbers). Header and data are sorted by name, so equal tensors give equal
/// bytes; the header is padded with spaces so that the data begins at a multiple of eight.
pub fn write(tensors: &[(String, Vec<usize>, &[f32])], metadata: &[(String, String)]) -> Vec<u8> {
    let mut sorted: Vec<_> = tensors.iter().collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    let written = |(name, shape, numbers): &&(String, Vec<usize>, &[f32])| {
        assert_eq!(shape.iter().product::<usize>(), numbers.len(), "the numbers of tensor `{name}`");
        Written { name: name.clone(), shape: shape.clone(), dtype: Dtype::F32 }
    };
    let mut file = beginning(&sorted.iter().map(written).collect::<Vec<_>>(), metadata);
    for number in sorted.iter().flat_map(|(_, _, numbers)| numbers.iter()) {
        file.extend(number.to_le_bytes());
    }
    file
}

/// The bytes of a file up to its data: the numbers of these tensors, in their order.
pub fn beginning(tensors: &[Written], metadata: &[(String, String)]) -> Vec<u8> {
    let mut fields = Vec::with_capacity(tensors.len().saturating_add(1));
    if !metadata.is_empty() {
        let map: std::collections::BTreeMap<_, _> = metadata.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        fields.push((METADATA, serde_json::json!(map)));
    }
    let mut end = 0_u64;
    for tensor in tensors {
        let Written { name, shape, dtype } = tensor;
        let begin = end;
        end = end.saturating_add(tensor.bytes());
        let field = serde_json::json!({ "dtype": dtype.to_string(), "shape": shape, "data_offsets": [begin, end] });
        fields.push((name, field));
    }
    fields.sort_by(|a, b| a.0.cmp(b.0));

    let fields: Vec<String> =
        fields.iter().map(|(name, value)| format!("{}:{value}", serde_json::json!(name))).collect();
    let mut header = format!("{{{}}}", fields.join(","));
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file
}

/// How files begin that are often found under a safetensors name, what they are, and what to do.
const NOT_SAFETENSORS: &[(&[u8], &str, &str)] = &[
    (
        b"version ",
        "a pointer of Git LFS, not the file itself",
        "run `git lfs pull` in its folder, or download the file",
    ),
    (b"PK\x03\x04", "a ZIP archive, as PyTorch writes its pickles", "load it in Python and save it as safetensors"),
    (b"\x80\x02", "a pickle of PyTorch", "load it in Python and save it as safetensors"),
    (
        b"GGUF",
        "a GGUF file of llama.cpp",
        "give it its own name, which ends in .gguf, and the file itself as the model",
    ),
    (b"<!DOCTYP", "a web page", "download the file itself; its address may need a login"),
    (b"<!doctyp", "a web page", "download the file itself; its address may need a login"),
    (b"<html", "a web page", "download the file itself; its address may need a login"),
    (b"\x1f\x8b", "compressed with gzip", "unpack it"),
];

/// Types that are known and not read, and the bits of one number.
const OTHER_TYPES: &[(&str, u64)] = &[
    ("BOOL", 8),
    ("U8", 8),
    ("I8", 8),
    ("F8_E5M2", 8),
    ("F8_E4M3", 8),
    ("F8_E8M0", 8),
    ("I16", 16),
    ("U16", 16),
    ("I32", 32),
    ("U32", 32),
    ("I64", 64),
    ("U64", 64),
    ("F64", 64),
    ("C64", 64),
    ("F4", 4),
    ("F6_E2M3", 6),
    ("F6_E3M2", 6),
];

/// The key of the header that does not name a tensor.
const METADATA: &str = "__metadata__";

/// The header as it is in the JSON, with nothing checked except the number of tensors.
struct RawHeader {
    tensors: Vec<(String, RawTensor)>,
    metadata: Vec<(String, String)>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl RawTensor {
    /// A tensor that can be read, or one of another type.
    fn check(self, name: String, data_begin: u64) -> Result<Result<Entry, Other>, String> {
        let dtype = match self.dtype.as_str() {
            "F32" => Some(Dtype::F32),
            "F16" => Some(Dtype::F16),
            "BF16" => Some(Dtype::BF16),
            _ => None,
        };
        let other = OTHER_TYPES.iter().find(|(name, _)| *name == self.dtype).map(|(_, bits)| *bits);
        let Some(bits) = dtype.map(|dtype| dtype.block().1.saturating_mul(8)).or(other) else {
            return Err(format!("tensor `{name}` has the type {}, which no version of the format knows", self.dtype));
        };
        let (begin, end) = self.data_offsets;
        let bits = self.shape.iter().try_fold(bits, |bits, n| bits.checked_mul(*n));
        if bits.is_none() || bits != end.checked_sub(begin).and_then(|bytes| bytes.checked_mul(8)) {
            return Err(format!("tensor `{name}` of shape {:?} does not fill the bytes {begin}..{end}", self.shape));
        }
        let shape = self.shape.iter().map(|n| usize::try_from(*n)).collect::<Result<Vec<_>, _>>();
        let (Ok(shape), Some(begin), Some(end)) = (shape, begin.checked_add(data_begin), end.checked_add(data_begin))
        else {
            return Err(format!("tensor `{name}` is larger than this machine can address"));
        };
        Ok(match dtype {
            Some(dtype) => Ok(Entry { name, dtype, shape, begin, end, converted: None }),
            None => Err(Other { name, dtype: self.dtype, begin, end }),
        })
    }
}

/// A JSON object as a list, which keeps the order and any duplicate names.
pub(crate) struct Pairs<T>(pub Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for PairsVisitor<T> {
            type Value = Pairs<T>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object whose values are of one type")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<T>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor(PhantomData))
    }
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeaderVisitor;
        impl<'de> Visitor<'de> for HeaderVisitor {
            type Value = RawHeader;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object of tensors")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
                let mut tensors = Vec::new();
                let mut metadata = None;
                while let Some(key) = map.next_key::<String>()? {
                    if key != METADATA {
                        tensors.push((key, map.next_value()?));
                    } else if metadata.replace(map.next_value::<Pairs<String>>()?.0).is_some() {
                        return Err(serde::de::Error::duplicate_field(METADATA));
                    }
                    if tensors.len() > MOST_TENSORS {
                        return Err(serde::de::Error::custom(format!("it holds more than {MOST_TENSORS} tensors")));
                    }
                }
                Ok(RawHeader { tensors, metadata: metadata.unwrap_or_default() })
            }
        }
        deserializer.deserialize_map(HeaderVisitor)
    }
}

/// The first of two equal neighbours.
fn duplicate<'a>(sorted: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    sorted.clone().zip(sorted.skip(1)).find(|(a, b)| a == b).map(|(a, _)| a)
}

fn refusal(file: &str, reason: String) -> Error {
    Error::Safetensors { file: file.to_owned(), reason }
}
