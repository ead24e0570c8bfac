//! The rows of a run: those to train on and those held out.

use super::counts::Counts;
use super::formats::Document;
use super::packing::pack;
use super::repeats::repeats;
use super::rows::{Row, Rows, labels};
use super::tokenizer::Tokenizer;
use crate::error::{Error, Result};
use crate::warning::Warning;

/// The maximum size of the text, in bytes: in a page, and natively.
pub const PAGE_LIMIT: u64 = 8_000_000;
pub const NATIVE_LIMIT: u64 = 64_000_000;

/// The code of the warning that a mean was taken over no labels.
pub const NOTHING_MEASURED: &str = "nothing_measured";

pub struct DatasetOptions {
    /// T.
    pub seq_len: usize,
    /// The fraction of the rows to hold out, in [0, 1). It is ignored if held-out documents are given.
    pub holdout: f64,
    /// The most rows that are held out, whatever the fraction.
    pub holdout_at_most: Option<usize>,
    /// The maximum size of all documents together, in bytes.
    pub limit_bytes: u64,
}

/// The rows of a run.
#[derive(Debug, Clone)]
pub struct Dataset {
    pub rows: Vec<Row>,
    pub held_out: Vec<Row>,
    /// Whether every row to train on is a conversation.
    pub is_chat: bool,
    /// Counts of the documents to train on, including the rows held out from them.
    pub counts: Counts,
    pub warnings: Vec<Warning>,
}

impl Dataset {
    /// Lays out rows to train on and held-out rows. The held-out rows are those of `eval_documents` if given, otherwise
    /// the last floor(f·rows) in file order, where f is `holdout`: at least one if f > 0 and there are two rows, at
    /// most `holdout_at_most`. Errors: as `rows`, and `DataFormat` if no row to train on has a label, or none of
    /// `eval_documents`.
    pub fn from_documents(
        tokenizer: &Tokenizer,
        documents: &[Document],
        eval_documents: Option<&[Document]>,
        options: &DatasetOptions,
    ) -> Result<Dataset> {
        let seq_len = options.seq_len;
        if !(0.0..1.0).contains(&options.holdout) {
            let (name, expected) = ("holdout".to_owned(), "a fraction, at least 0 and below 1".to_owned());
            return Err(Error::Setting { name, value: options.holdout.to_string(), expected });
        }
        let sizes = documents.iter().chain(eval_documents.unwrap_or_default()).map(|d| d.bytes.len() as u64);
        check_size(sizes.sum(), options.limit_bytes)?;

        let Rows { mut rows, counts, mut warnings } = super::rows(tokenizer, documents, seq_len)?;
        let is_chat = !rows.is_empty() && counts.conversations == rows.len();
        let mut all = counts;
        let held_out = match eval_documents {
            Some(documents) => {
                let eval = super::rows(tokenizer, documents, seq_len)?;
                if eval.labels() == 0 {
                    return Err(nothing_to_learn(documents, &eval.all_warnings(seq_len), seq_len));
                }
                all = all.and(eval.counts);
                warnings.extend(eval.warnings);
                eval.rows
            }
            None => rows.split_off(rows.len().saturating_sub(held_out_rows(rows.len(), options))),
        };
        warnings.extend(all.warnings(seq_len));
        if labels(&rows) == 0 {
            return Err(nothing_to_learn(documents, &warnings, seq_len));
        }
        warnings.extend(repeats(&rows));
        if !held_out.is_empty() && labels(&held_out) == 0 {
            let message = format!(
                "nothing in the held-out part ({} of {} rows) is learnt, so there is no held-out loss; put other \
                 examples at the end, make the rows longer, or hold out more",
                held_out.len(),
                rows.len().saturating_add(held_out.len())
            );
            warnings.push(Warning { code: NOTHING_MEASURED, message });
        }
        Ok(Dataset { rows, held_out, is_chat, counts, warnings })
    }

    pub fn warned_of(&self, code: &str) -> bool {
        self.warnings.iter().any(|warning| warning.code == code)
    }

    /// The rows to train on as steps take them: those of a group share one.
    pub fn groups(&self, packing: bool) -> Vec<Vec<&Row>> {
        let members = |group: Vec<usize>| group.into_iter().filter_map(|row| self.rows.get(row)).collect();
        match packing {
            true => pack(&self.rows).into_iter().map(members).collect(),
            false => self.rows.iter().map(|row| vec![row]).collect(),
        }
    }

    /// Number of labels in the rows to train on.
    pub fn labels(&self) -> usize {
        labels(&self.rows)
    }
}

fn nothing_to_learn(documents: &[Document], warnings: &[Warning], seq_len: usize) -> Error {
    let name = documents.first().map_or(String::new(), |d| d.name.clone());
    let cut = warnings.iter().filter(|warning| warning.code == "rows_cut");
    let said: String = cut.map(|warning| format!("; {}", warning.message)).collect();
    let reason = format!(
        "there is nothing to learn in the rows of {seq_len} tokens: prompts fill them, or the assistant says \
         nothing{said}"
    );
    Error::DataFormat { name, reason }
}

/// Returns an error for more than `limit` bytes. A file's size is known before it is read, so call this first.
pub fn check_size(bytes: u64, limit: u64) -> Result<()> {
    if bytes > limit { Err(Error::TextTooLarge { bytes, limit }) } else { Ok(()) }
}

fn held_out_rows(rows: usize, options: &DatasetOptions) -> usize {
    let fraction = options.holdout;
    let wanted = if fraction == 0.0 || rows < 2 { 0 } else { ((fraction * rows as f64) as usize).max(1) };
    wanted.min(options.holdout_at_most.unwrap_or(usize::MAX))
}
