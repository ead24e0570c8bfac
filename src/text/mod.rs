//! From text to the numbers of a step: bytes → documents → examples → token ids → rows → batches. All on the CPU.
//!
//! `formats` reads a file into text or examples, `tokenizer` turns text into ids,
//! `dataset` lays ids out as rows with their targets, `batches` says which rows a step takes and in which form the GPU gets
//! them. A run can be repeated elsewhere number for number, so each of these says exactly what it does. Nothing here knows
//! of a model or of a device.

pub mod batches;
pub mod dataset;
pub mod formats;
pub mod tokenizer;

pub use batches::{Batches, MicroBatch};
pub use dataset::{Dataset, DatasetOptions, NATIVE_LIMIT, PAGE_LIMIT, Row, Rows, Warning, check_size, rows};
pub use formats::Document;
pub use tokenizer::{StreamDecoder, Tokenizer, TokenizerFiles};
