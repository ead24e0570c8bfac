//! From text to the input of a training step: bytes → documents → examples → token ids → rows → batches. All of it runs
//! on the CPU.
//!
//! `decoding` makes text of a file's bytes, `formats` reads it as text or examples (`records`, `arguments`, `table`),
//! `chat` renders conversations the way the model expects them, `tokenizer` turns text into ids, `rows` lays ids out
//! with labels, `dataset` holds some of them out, `packing` lets short ones share a row, `batches` picks the rows of a
//! step and lays them out for the device, `preview` shows rows to people. Another program must be able to repeat a run
//! number for number, so each module documents exactly what it does. Nothing here knows about models or devices.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod arguments;
pub mod batches;
pub mod chat;
pub mod columns;
mod counts;
pub mod dataset;
mod decoding;
pub mod formats;
mod json_records;
mod notes;
pub mod packing;
pub mod preview;
mod prompt;
mod records;
mod repeats;
pub mod rows;
mod table;
mod time_stamps;
pub mod tokenizer;

pub use batches::{Batches, MicroBatch};
pub use columns::Columns;
pub use counts::Counts;
pub use dataset::{Dataset, DatasetOptions, NATIVE_LIMIT, PAGE_LIMIT, check_size};
pub use formats::{Conversation, Document};
pub use preview::{PreviewRow, PreviewToken, preview};
pub use prompt::Prompt;
pub use rows::{Row, Rows, rows};
pub use tokenizer::{StreamDecoder, Tokenizer, TokenizerFiles};

/// The message of an error, cut short because it may repeat a long part of a file.
fn shortened(reason: String) -> String {
    const LONGEST: usize = 300;
    match reason.char_indices().nth(LONGEST) {
        None => reason,
        Some((end, _)) => format!("{}…", reason.get(..end).unwrap_or_default()),
    }
}
