//! From text to the numbers of a step: bytes → documents → examples → token ids → rows → batches. All on the CPU.
//!
//! `formats` reads a file into text or examples, `chat` renders conversations as the model expects them, `tokenizer`
//! turns text into ids, `dataset` lays ids out as rows with their labels, `batches` says which rows a step takes and
//! in which form the GPU gets them, `preview` shows rows to people. A run can be repeated elsewhere number for number,
//! so each of these says exactly what it does. Nothing here knows of a model or of a device.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

pub mod batches;
pub mod chat;
pub mod dataset;
pub mod formats;
pub mod preview;
pub mod tokenizer;

pub use batches::{Batches, MicroBatch};
pub use dataset::{Dataset, DatasetOptions, NATIVE_LIMIT, PAGE_LIMIT, Row, Rows, Warning, check_size, rows};
pub use formats::Document;
pub use preview::{PreviewRow, PreviewToken, preview};
pub use tokenizer::{StreamDecoder, Tokenizer, TokenizerFiles};

/// Words of an error, cut where they repeat a long part of a file.
fn shortened(reason: String) -> String {
    const LONGEST: usize = 300;
    match reason.char_indices().nth(LONGEST) {
        None => reason,
        Some((end, _)) => format!("{}…", reason.get(..end).unwrap_or_default()),
    }
}
