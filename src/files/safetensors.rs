//! The safetensors format: its header, checked before anything is allocated, and a writer.
//!
//! A file is eight bytes (the header's length, little-endian), the header (one JSON object) and the data. The header
//! names each tensor with its type, its shape and its range in the data. Everything is counted in `u64` bytes, so
//! offsets beyond 4 GiB are correct on wasm32 too. A file comes from anywhere, so the rules are stricter than the
//! format's: no duplicate names, no gaps, no overlaps, no bytes left over, at most [`MOST_TENSORS`] tensors and a
//! header of at most [`LONGEST_HEADER`] bytes. This module knows nothing about models: whoever reads a tensor compares
//! its shape with what `config.json` implies.
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

use crate::error::{Error, Result};

/// The maximum size of a header, in bytes.
pub const LONGEST_HEADER: u64 = 16 << 20;
/// The maximum number of tensors in a file.
pub const MOST_TENSORS: usize = 20_000;

/// A number format that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    F32,
    F16,
    BF16,
}

impl Dtype {
    /// Bytes per number.
    pub fn bytes(self) -> u64 {
        match self {
            Dtype::F32 => 4,
            Dtype::F16 | Dtype::BF16 => 2,
        }
    }
}

/// One tensor of a file: row-major numbers of type `dtype` in the bytes `begin..end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// Offsets are from the start of the file, not of its data.
    pub begin: u64,
    pub end: u64,
}

/// What a file contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Sorted by name.
    pub entries: Vec<Entry>,
    /// In the order of the file.
    pub metadata: Vec<(String, String)>,
}

impl Header {
    /// The header's length in bytes, from the file's first eight.
    pub fn length(first8: &[u8; 8], file_bytes: u64, file: &str) -> Result<u64> {
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
        let mut entries = Vec::with_capacity(raw.tensors.len());
        for (name, tensor) in raw.tensors {
            entries.push(tensor.check(name, data_begin).map_err(|reason| refusal(file, reason))?);
        }

        entries.sort_by_key(|e| (e.begin, e.end));
        let mut expected = data_begin;
        for entry in &entries {
            if entry.begin != expected {
                let fault = if entry.begin > expected { "leaves a gap before it" } else { "overlaps another tensor" };
                return Err(refusal(file, format!("tensor `{}` {fault}", entry.name)));
            }
            expected = entry.end;
        }
        if expected != file_bytes {
            return Err(refusal(file, format!("its tensors end at byte {expected}, the file at {file_bytes}")));
        }

        entries.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(name) = duplicate(entries.iter().map(|e| e.name.as_str())) {
            return Err(refusal(file, format!("tensor `{name}` is named twice")));
        }
        let mut keys: Vec<&str> = raw.metadata.iter().map(|(key, _)| key.as_str()).collect();
        keys.sort_unstable();
        if let Some(key) = duplicate(keys.into_iter()) {
            return Err(refusal(file, format!("the metadata names `{key}` twice")));
        }
        Ok(Header { entries, metadata: raw.metadata })
    }

    pub fn get(&self, name: &str) -> Option<&Entry> {
        let at = self.entries.binary_search_by(|e| e.name.as_str().cmp(name)).ok()?;
        self.entries.get(at)
    }
}

/// Appends the numbers in `bytes` (little-endian, a whole number of them) to `out`.
pub fn to_f32(dtype: Dtype, bytes: &[u8], out: &mut Vec<f32>) {
    match dtype {
        Dtype::F32 => out.extend(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b))),
        Dtype::F16 => out.extend(bytes.as_chunks().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f32())),
        Dtype::BF16 => out.extend(bytes.as_chunks().0.iter().map(|b| half::bf16::from_le_bytes(*b).to_f32())),
    }
}

/// Appends `numbers` in the format `dtype`, each rounded to nearest (ties to even). Returns false if one of them is not
/// finite in that format.
pub fn encode(dtype: Dtype, numbers: &[f64], out: &mut Vec<u8>) -> bool {
    let mut finite = true;
    for &x in numbers {
        match dtype {
            Dtype::F32 => {
                let rounded = x as f32;
                finite &= rounded.is_finite();
                out.extend(rounded.to_le_bytes());
            }
            Dtype::F16 => {
                let rounded = half::f16::from_f64(x);
                finite &= rounded.is_finite();
                out.extend(rounded.to_le_bytes());
            }
            Dtype::BF16 => {
                let rounded = half::bf16::from_f64(x);
                finite &= rounded.is_finite();
                out.extend(rounded.to_le_bytes());
            }
        }
    }
    finite
}

/// Writes a file of F32 tensors (name, shape, numbers). Header and data are sorted by name, so equal tensors give equal
/// bytes; the header is padded with spaces so that the data begins at a multiple of eight.
pub fn write(tensors: &[(String, Vec<usize>, &[f32])], metadata: &[(String, String)]) -> Vec<u8> {
    let mut sorted: Vec<_> = tensors.iter().collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));

    let mut fields = Vec::with_capacity(sorted.len().saturating_add(1));
    if !metadata.is_empty() {
        let map: std::collections::BTreeMap<_, _> = metadata.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        fields.push((METADATA, serde_json::json!(map)));
    }
    let mut end = 0_u64;
    for (name, shape, numbers) in &sorted {
        assert_eq!(shape.iter().product::<usize>(), numbers.len(), "the numbers of tensor `{name}`");
        let begin = end;
        end = end.saturating_add(size_of_val(*numbers) as u64);
        fields
            .push((name.as_str(), serde_json::json!({ "dtype": "F32", "shape": shape, "data_offsets": [begin, end] })));
    }
    fields.sort_by(|a, b| a.0.cmp(b.0));

    let fields: Vec<String> =
        fields.iter().map(|(name, value)| format!("{}:{value}", serde_json::json!(name))).collect();
    let mut header = format!("{{{}}}", fields.join(","));
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }

    let mut file = Vec::with_capacity(header.len().saturating_add(8).saturating_add(end as usize));
    file.extend((header.len() as u64).to_le_bytes());
    file.extend(header.as_bytes());
    for number in sorted.iter().flat_map(|(_, _, numbers)| numbers.iter()) {
        file.extend(number.to_le_bytes());
    }
    file
}

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
    fn check(self, name: String, data_begin: u64) -> Result<Entry, String> {
        let dtype = match self.dtype.as_str() {
            "F32" => Dtype::F32,
            "F16" => Dtype::F16,
            "BF16" => Dtype::BF16,
            other => return Err(format!("tensor `{name}` has the type {other}; only F32, F16 and BF16 are supported")),
        };
        let (begin, end) = self.data_offsets;
        let bytes = self.shape.iter().try_fold(dtype.bytes(), |bytes, n| bytes.checked_mul(*n));
        if bytes.is_none() || bytes != end.checked_sub(begin) {
            return Err(format!("tensor `{name}` of shape {:?} does not fill the bytes {begin}..{end}", self.shape));
        }
        let shape = self.shape.iter().map(|n| usize::try_from(*n)).collect::<Result<Vec<_>, _>>();
        let (Ok(shape), Some(begin), Some(end)) = (shape, begin.checked_add(data_begin), end.checked_add(data_begin))
        else {
            return Err(format!("tensor `{name}` is larger than this machine can address"));
        };
        Ok(Entry { name, dtype, shape, begin, end })
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
