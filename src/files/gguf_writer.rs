//! What a GGUF file says before its data, written: metadata and the table of tensors. Behind it come the tensors, in
//! the order of the table, each with its padding.

use super::blocks::Blocks;
use super::gguf::{ALIGNMENT, MAGIC};
use super::safetensors::Dtype;
pub use super::written::Written;

/// A value of the metadata, with the type that llama.cpp looks for.
pub enum Field {
    U32(u32),
    I32s(Vec<i32>),
    F32(f32),
    F32s(Vec<f32>),
    Bool(bool),
    Word(String),
    Words(Vec<String>),
}

/// Keys with their values, in the order of the file.
pub type Metadata = Vec<(String, Field)>;

/// The bytes of a file up to its data.
pub fn beginning(metadata: &[(String, Field)], tensors: &[Written]) -> Vec<u8> {
    let mut file = MAGIC.to_vec();
    file.extend(3_u32.to_le_bytes());
    file.extend((tensors.len() as u64).to_le_bytes());
    file.extend((metadata.len() as u64).to_le_bytes());
    for (key, field) in metadata {
        word(key, &mut file);
        write(field, &mut file);
    }
    let mut offset = 0_u64;
    for tensor in tensors {
        word(&tensor.name, &mut file);
        file.extend((tensor.shape.len() as u32).to_le_bytes());
        for n in tensor.shape.iter().rev() {
            file.extend((*n as u64).to_le_bytes());
        }
        file.extend(kind(tensor.dtype).to_le_bytes());
        file.extend(offset.to_le_bytes());
        offset = offset.saturating_add(tensor.bytes()).next_multiple_of(ALIGNMENT);
    }
    let padded = file.len().saturating_add(padding(file.len() as u64));
    file.resize(padded, 0);
    file
}

/// How many zeros follow so many bytes.
pub fn padding(bytes: u64) -> usize {
    bytes.next_multiple_of(ALIGNMENT).saturating_sub(bytes) as usize
}

fn kind(dtype: Dtype) -> u32 {
    match dtype {
        Dtype::F32 => 0,
        Dtype::F16 => 1,
        Dtype::Blocks(Blocks::Q8_0) => 8,
        other => unreachable!("nothing is written as {other}"),
    }
}

fn write(field: &Field, file: &mut Vec<u8>) {
    let (kind, bytes): (u32, &[u8]) = match field {
        Field::U32(number) => (4, &number.to_le_bytes()),
        Field::F32(number) => (6, &number.to_le_bytes()),
        Field::Bool(value) => (7, &[u8::from(*value)]),
        Field::Word(_) => (8, &[]),
        Field::I32s(_) | Field::F32s(_) | Field::Words(_) => (9, &[]),
    };
    file.extend(kind.to_le_bytes());
    file.extend(bytes);
    match field {
        Field::Word(text) => word(text, file),
        Field::I32s(numbers) => {
            file.extend(5_u32.to_le_bytes());
            file.extend((numbers.len() as u64).to_le_bytes());
            file.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        }
        Field::F32s(numbers) => {
            file.extend(6_u32.to_le_bytes());
            file.extend((numbers.len() as u64).to_le_bytes());
            file.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        }
        Field::Words(words) => {
            file.extend(8_u32.to_le_bytes());
            file.extend((words.len() as u64).to_le_bytes());
            words.iter().for_each(|text| word(text, file));
        }
        _ => {}
    }
}

fn word(text: &str, file: &mut Vec<u8>) {
    file.extend((text.len() as u64).to_le_bytes());
    file.extend(text.as_bytes());
}
