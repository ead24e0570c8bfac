//! The GGUF format of llama.cpp: facts about a model and its tensors in one file. It is checked before anything is
//! allocated.
//!
//! A file is a header (magic, version, counts), the metadata (keys with typed values), the table of tensors (name,
//! shape, type, offset) and, aligned, the data. Nothing says how long all but the data is, so the beginning is read
//! again, twice as much, until the table is complete. A file comes from anywhere, so the rules are stricter than the
//! format's: no duplicate names, no gaps, no overlaps, and limits on all counts.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::blocks::Blocks;
use super::safetensors::{Dtype, Entry, MOST_TENSORS};
use super::source::Source;
use crate::error::{Error, Result};

/// How a file begins.
pub const MAGIC: &[u8; 4] = b"GGUF";
/// The maximum size of what stands before the data, in bytes.
const LONGEST_BEGINNING: u64 = 64 << 20;
/// How much of it is read at first.
const FIRST_READ: u64 = 1 << 20;
/// The maximum number of values in the metadata, those in lists included.
const MOST_VALUES: u64 = 4_000_000;
/// Where there is no `general.alignment`.
pub(super) const ALIGNMENT: u64 = 32;

/// What a file says before its data begins.
pub struct Gguf {
    /// Numbers, words, and lists of them.
    pub metadata: BTreeMap<String, Value>,
    /// In the order of the file, under the names of the file.
    pub tensors: Vec<Entry>,
}

impl Gguf {
    /// Reads the beginning of a file. Errors: `Gguf`, `Io`.
    pub async fn read(source: &Source) -> Result<Gguf> {
        let longest = source.bytes.min(LONGEST_BEGINNING);
        let mut length = longest.min(FIRST_READ);
        loop {
            match Gguf::parse(&source.read(0, length).await?, source.bytes) {
                Ok(gguf) => return Ok(gguf),
                Err(Fault::Short) if length < longest => length = longest.min(length.saturating_mul(2)),
                Err(fault) => return Err(fault.of(&source.name, source.bytes)),
            }
        }
    }

    /// What the beginning of a file of `file_bytes` bytes says. Errors: `Gguf`.
    pub fn of(beginning: &[u8], file_bytes: u64, file: &str) -> Result<Gguf> {
        Gguf::parse(beginning, file_bytes).map_err(|fault| fault.of(file, file_bytes))
    }

    fn parse(beginning: &[u8], file_bytes: u64) -> Result<Gguf, Fault> {
        let mut reader = Reader { rest: beginning, values: 0 };
        if reader.take(4)? != MAGIC {
            return bad("it does not begin with `GGUF`");
        }
        match reader.u32()? {
            2 | 3 => {}
            version if version.swap_bytes() < 16 => return bad("its numbers are big-endian"),
            version => return bad(format!("it has the version {version} of the format; 2 and 3 are read")),
        }
        let (tensors, fields) = (reader.u64()?, reader.u64()?);
        if tensors > MOST_TENSORS as u64 {
            return bad(format!("it claims {tensors} tensors; the limit is {MOST_TENSORS}"));
        }
        let mut metadata = BTreeMap::new();
        for _ in 0..fields {
            let key = reader.string()?;
            let kind = reader.u32()?;
            let value = reader.value(&key, kind)?;
            if metadata.contains_key(&key) {
                return bad(format!("the metadata names `{key}` twice"));
            }
            metadata.insert(key, value);
        }
        let alignment = metadata.get("general.alignment").map_or(Some(ALIGNMENT), Value::as_u64);
        let Some(alignment) = alignment.filter(|it| it.is_power_of_two() && (8..=1 << 16).contains(it)) else {
            return bad("`general.alignment` is no power of two between 8 and 65536");
        };

        let mut found = Vec::new();
        for _ in 0..tensors {
            found.push(reader.tensor()?);
        }
        let names: HashSet<&str> = found.iter().map(|entry| entry.name.as_str()).collect();
        if names.len() < found.len() {
            return bad("two of its tensors have one name");
        }
        let read = beginning.len().saturating_sub(reader.rest.len()) as u64;
        let begin = read.next_multiple_of(alignment);
        let end = place(&mut found, begin, alignment)?;
        // Whoever writes a file may leave out the padding after the last tensor.
        if file_bytes != end && file_bytes != end.next_multiple_of(alignment) && !found.is_empty() {
            return bad(format!("its tensors end at byte {end}, the file at {file_bytes}"));
        }
        Ok(Gguf { metadata, tensors: found })
    }
}

/// Moves the tensors, which are counted from the beginning of the data, to where they are in the file: one behind the
/// other, each aligned. Returns where they end.
fn place(tensors: &mut [Entry], begin: u64, alignment: u64) -> Result<u64, Fault> {
    let mut order: Vec<&mut Entry> = tensors.iter_mut().collect();
    order.sort_by_key(|entry| (entry.begin, entry.end));
    let (mut expected, mut last) = (begin, begin);
    for entry in order {
        let moved = entry.begin.checked_add(begin).zip(entry.end.checked_add(begin));
        let next = moved.and_then(|(_, end)| end.checked_next_multiple_of(alignment));
        let (Some((from, to)), Some(next)) = (moved, next) else {
            return bad(format!("tensor `{}` is larger than this machine can address", entry.name));
        };
        if from != expected {
            let fault = if from > expected { "leaves a gap before it" } else { "overlaps another tensor" };
            return bad(format!("tensor `{}` {fault}", entry.name));
        }
        (entry.begin, entry.end, expected, last) = (from, to, next, to);
    }
    Ok(last)
}

/// Why the beginning of a file cannot be used.
enum Fault {
    /// It goes on behind what was read.
    Short,
    Bad(String),
}

impl Fault {
    fn of(self, file: &str, bytes: u64) -> Error {
        let reason = match self {
            Fault::Bad(reason) => reason,
            Fault::Short if bytes <= LONGEST_BEGINNING => "it ends before its table of tensors is complete".to_string(),
            Fault::Short => format!("what stands before its data has more than {LONGEST_BEGINNING} bytes"),
        };
        Error::Gguf { file: file.to_string(), reason }
    }
}

fn bad<T>(reason: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Bad(reason.into()))
}

/// JSON has no numbers that are not finite, and nothing that a model needs is one.
fn finite(key: &str, number: f64) -> Result<Value, Fault> {
    serde_json::Number::from_f64(number)
        .map(Value::Number)
        .map_or_else(|| bad(format!("`{key}` is no finite number")), Ok)
}

struct Reader<'a> {
    rest: &'a [u8],
    /// How many values of the metadata were read.
    values: u64,
}

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: u64) -> Result<&'a [u8], Fault> {
        let bytes = usize::try_from(bytes).map_err(|_| Fault::Short)?;
        let (part, rest) = self.rest.split_at_checked(bytes).ok_or(Fault::Short)?;
        self.rest = rest;
        Ok(part)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        self.take(N as u64)?.try_into().map_err(|_| Fault::Short)
    }

    fn u32(&mut self) -> Result<u32, Fault> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, Fault> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn string(&mut self) -> Result<String, Fault> {
        let length = self.u64()?;
        if length > LONGEST_BEGINNING {
            return bad(format!("a string in it claims {length} bytes"));
        }
        let word = str::from_utf8(self.take(length)?);
        word.map(str::to_string).or_else(|_| bad("a string in it is not UTF-8"))
    }

    fn value(&mut self, key: &str, kind: u32) -> Result<Value, Fault> {
        self.values = self.values.saturating_add(1);
        if self.values > MOST_VALUES {
            return bad(format!("its metadata has more than {MOST_VALUES} values"));
        }
        Ok(match kind {
            0 => u8::from_le_bytes(self.array()?).into(),
            1 => i8::from_le_bytes(self.array()?).into(),
            2 => u16::from_le_bytes(self.array()?).into(),
            3 => i16::from_le_bytes(self.array()?).into(),
            4 => self.u32()?.into(),
            5 => i32::from_le_bytes(self.array()?).into(),
            6 => finite(key, f64::from(f32::from_le_bytes(self.array()?)))?,
            7 => (self.array()? != [0]).into(),
            8 => self.string()?.into(),
            9 => self.list(key)?,
            10 => self.u64()?.into(),
            11 => i64::from_le_bytes(self.array()?).into(),
            12 => finite(key, f64::from_le_bytes(self.array()?))?,
            other => return bad(format!("`{key}` has the type {other}, which the format does not know")),
        })
    }

    fn list(&mut self, key: &str) -> Result<Value, Fault> {
        let (kind, count) = (self.u32()?, self.u64()?);
        if kind == 9 {
            return bad(format!("`{key}` is a list of lists"));
        }
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(self.value(key, kind)?);
        }
        Ok(values.into())
    }

    /// Counted from the beginning of the data.
    fn tensor(&mut self) -> Result<Entry, Fault> {
        let name = self.string()?;
        let dimensions = self.u32()?;
        if dimensions > 4 {
            return bad(format!("tensor `{name}` has {dimensions} dimensions"));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            let Ok(n) = usize::try_from(self.u64()?) else {
                return bad(format!("tensor `{name}` is larger than this machine can address"));
            };
            shape.insert(0, n);
        }
        let (kind, begin) = (self.u32()?, self.u64()?);
        let dtype = match dtype(kind) {
            Ok(dtype) => dtype,
            Err(called) => return bad(format!("tensor `{name}` has the type {called}, which is not read")),
        };
        let numbers = shape.iter().try_fold(1_u64, |product, n| product.checked_mul(*n as u64));
        let (block, block_bytes) = dtype.block();
        if block > 1 && shape.len() < 2 {
            return bad(format!("tensor `{name}` is no matrix, as its type {dtype} needs"));
        }
        if !shape.last().is_none_or(|row| (*row as u64).is_multiple_of(block)) {
            return bad(format!("tensor `{name}` has rows that are no multiple of {block}, as its type {dtype} needs"));
        }
        let bytes = numbers.and_then(|numbers| numbers.checked_div(block)?.checked_mul(block_bytes));
        let Some(end) = bytes.and_then(|bytes| begin.checked_add(bytes)) else {
            return bad(format!("tensor `{name}` is larger than this machine can address"));
        };
        Ok(Entry { name, dtype, shape, begin, end, converted: None })
    }
}

/// The type of this number, or what a type that is not read is called.
fn dtype(kind: u32) -> Result<Dtype, String> {
    let called = match kind {
        0 => return Ok(Dtype::F32),
        1 => return Ok(Dtype::F16),
        2 => return Ok(Dtype::Blocks(Blocks::Q4_0)),
        3 => return Ok(Dtype::Blocks(Blocks::Q4_1)),
        6 => return Ok(Dtype::Blocks(Blocks::Q5_0)),
        7 => return Ok(Dtype::Blocks(Blocks::Q5_1)),
        8 => return Ok(Dtype::Blocks(Blocks::Q8_0)),
        12 => return Ok(Dtype::Blocks(Blocks::Q4_K)),
        13 => return Ok(Dtype::Blocks(Blocks::Q5_K)),
        14 => return Ok(Dtype::Blocks(Blocks::Q6_K)),
        30 => return Ok(Dtype::BF16),
        other => UNREAD.iter().find(|(kind, _)| *kind == other).map(|(_, name)| name.to_string()),
    };
    Err(called.unwrap_or_else(|| kind.to_string()))
}

/// Types that are known and not read.
const UNREAD: &[(u32, &str)] = &[
    (9, "Q8_1"),
    (10, "Q2_K"),
    (11, "Q3_K"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
];
