//! Rows: what a step trains on. A row has T+1 token ids: the first T are inputs, and those of the last T that carry
//! loss are labels. Masked tokens and padding carry no loss. Rows are laid out so that a run can be repeated in PyTorch
//! number for number.

use std::ops::Range;

use super::formats::{Content, Conversation, Document, Example, Reading};
use super::records::task_prompt;
use super::tokenizer::Tokenizer;
use super::warning::Warning;
use crate::error::{Error, Result};

/// The maximum size of the text, in bytes: in a page, and natively.
pub const PAGE_LIMIT: u64 = 8_000_000;
pub const NATIVE_LIMIT: u64 = 64_000_000;

/// Fills a row after its last token. It never carries loss, and no token before it sees it.
const PAD: u32 = 0;

/// A text with at least this many tokens per character is in a language that the tokenizer does not know: above one,
/// characters fall apart into bytes. Measured with the embedded tokenizer: English 0.3, German and French 0.5, Czech
/// 0.7, code 0.6, tables of digits 1.0, Russian 1.8, Greek 1.9, Chinese 2.9, Japanese 3.0; with GPT-2's: Russian and
/// Greek 1.1, Japanese 1.4.
const UNKNOWN_FROM: f64 = 1.05;

/// T+1 ids, and which of the last T are labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// T+1 ids, padded on the right.
    pub ids: Vec<u32>,
    /// T flags: whether `ids[t + 1]` is a label, that is, carries loss.
    pub labels: Vec<bool>,
    /// How many of the T inputs are tokens, not padding.
    pub tokens: usize,
}

impl Row {
    /// Takes the first T+1 of `ids`. `is_label` says by index which of them are labels; the first id never is one,
    /// since nothing predicts it.
    fn new(ids: &[u32], seq_len: usize, is_label: impl Fn(usize) -> bool) -> Row {
        let length = seq_len.saturating_add(1);
        let real = ids.len().min(length);
        let mut row: Vec<u32> = ids.iter().copied().take(real).collect();
        row.resize(length, PAD);
        let labels = (1..=seq_len).map(|at| at < real && is_label(at)).collect();
        Row { ids: row, labels, tokens: real.min(seq_len) }
    }
}

/// The rows of some documents, in file order.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    pub rows: Vec<Row>,
    /// Characters of all texts.
    pub characters: usize,
    /// Their tokens, without those that the post-processor adds and without end-of-text tokens.
    pub tokens: usize,
    /// Number of examples that were longer than a row.
    pub cut: usize,
    /// What the user should know about how the files were read.
    pub warnings: Vec<Warning>,
}

/// Lays documents out as rows of T = `seq_len` inputs.
///
/// Plain texts are joined, each followed by the end-of-text token, and split into windows of T+1 ids with stride T. The
/// last window is padded, so every id except the very first is a label exactly once. These rows go where the first
/// plain text is in the file order. An example is one row. All ids of a text are labels; of a prompt and its
/// completion, only those of the completion are. Both end with the end-of-text token, if the tokenizer has one. A
/// conversation is rendered by the chat template, and its labels are what the assistant says. Examples that are longer
/// than a row are cut on the right.
pub fn rows(tokenizer: &Tokenizer, documents: &[Document], seq_len: usize) -> Result<Rows> {
    if seq_len == 0 {
        return Err(Error::Setting {
            name: "seq-len".to_owned(),
            value: "0".to_owned(),
            expected: "at least 1".to_owned(),
        });
    }
    let mut all = Rows::default();
    let mut blank = true;
    let mut stream = Vec::new();
    let mut stream_at = None;
    for document in documents {
        let Reading { content, warnings } = document.read()?;
        all.warnings.extend(warnings);
        match content {
            Content::Text(text) => {
                blank &= text.trim().is_empty();
                stream_at.get_or_insert(all.rows.len());
                stream.extend(all.encode(tokenizer, &text, true)?);
                stream.extend(tokenizer.eos());
            }
            Content::Examples(examples) => {
                blank &= examples.is_empty();
                for example in &examples {
                    all.push(tokenizer, example, &document.name, seq_len)?;
                }
            }
        }
    }
    if blank || all.characters == 0 {
        return Err(Error::TextEmpty);
    }
    if let Some(at) = stream_at {
        if stream.len() <= seq_len {
            return Err(Error::TextTooShort { found: stream.len(), needed: seq_len.saturating_add(1) });
        }
        let windows = (0..stream.len().saturating_sub(1)).step_by(seq_len).filter_map(|start| stream.get(start..));
        let windows: Vec<Row> = windows.map(|window| Row::new(window, seq_len, |_| true)).collect();
        all.rows.splice(at..at, windows);
    }
    Ok(all)
}

impl Rows {
    fn push(&mut self, tokenizer: &Tokenizer, example: &Example, name: &str, seq_len: usize) -> Result<()> {
        let row = match example {
            Example::Text(text) => {
                let mut ids = self.encode(tokenizer, text, true)?;
                ids.extend(tokenizer.eos());
                self.cut(&ids, seq_len, |_| true)
            }
            Example::Pair { prompt, completion } => self.pair(tokenizer, prompt, completion, seq_len)?,
            Example::Task { instruction, input, output } => {
                self.pair(tokenizer, &task_prompt(instruction, input), output, seq_len)?
            }
            Example::Conversation(conversation) => self.conversation(tokenizer, conversation, name, seq_len)?,
        };
        self.rows.push(row);
        Ok(())
    }

    fn pair(&mut self, tokenizer: &Tokenizer, prompt: &str, completion: &str, seq_len: usize) -> Result<Row> {
        let mut ids = self.encode(tokenizer, prompt, true)?;
        let first_label = ids.len();
        ids.extend(self.encode(tokenizer, completion, false)?);
        ids.extend(tokenizer.eos());
        Ok(self.cut(&ids, seq_len, |at| at >= first_label))
    }

    /// The template writes every special token itself. A token is a label if the assistant says any part of it.
    fn conversation(
        &mut self,
        tokenizer: &Tokenizer,
        conversation: &Conversation,
        name: &str,
        seq_len: usize,
    ) -> Result<Row> {
        let line = conversation.line;
        let template = match tokenizer.chat_template() {
            None => return Err(Error::NoChatTemplate { name: name.to_owned(), line }),
            Some(Err(reason)) => return Err(Error::ChatTemplate { reason: reason.clone() }),
            Some(Ok(template)) => template,
        };
        let text = template.text(conversation, false).map_err(|refusal| refusal.error(name, line))?;
        let (ids, offsets) = tokenizer.encode_with_offsets(&text)?;
        self.count(&text, ids.len());

        let horizon = offsets.get(seq_len).map_or(text.len(), |token| token.end);
        let spans = template.assistant_spans(conversation, &text, horizon);
        let is_said = |token: &Range<usize>| spans.iter().any(|span| token.start < span.end && span.start < token.end);
        Ok(self.cut(&ids, seq_len, |at| offsets.get(at).is_some_and(is_said)))
    }

    fn cut(&mut self, ids: &[u32], seq_len: usize, is_label: impl Fn(usize) -> bool) -> Row {
        self.cut = self.cut.saturating_add(usize::from(ids.len() > seq_len.saturating_add(1)));
        Row::new(ids, seq_len, is_label)
    }

    /// Encodes `text` and counts its characters and tokens.
    fn encode(&mut self, tokenizer: &Tokenizer, text: &str, special: bool) -> Result<Vec<u32>> {
        let ids = tokenizer.encode(text, special)?;
        self.count(text, ids.len().saturating_sub(if special { tokenizer.specials() } else { 0 }));
        Ok(ids)
    }

    fn count(&mut self, text: &str, tokens: usize) {
        self.characters = self.characters.saturating_add(text.chars().count());
        self.tokens = self.tokens.saturating_add(tokens);
    }
}

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
    /// Counts of the documents to train on, including the rows held out from them, as in [`Rows`].
    pub characters: usize,
    pub tokens: usize,
    pub warnings: Vec<Warning>,
}

impl Dataset {
    /// Lays out rows to train on and held-out rows. The held-out rows are those of `eval_documents` if given, otherwise
    /// the last floor(f·rows) in file order, where f is `holdout`: at least one if f > 0 and there are two rows, at
    /// most `holdout_at_most`.
    pub fn from_documents(
        tokenizer: &Tokenizer,
        documents: &[Document],
        eval_documents: Option<&[Document]>,
        options: &DatasetOptions,
    ) -> Result<Dataset> {
        if !(0.0..1.0).contains(&options.holdout) {
            let (name, expected) = ("holdout".to_owned(), "a fraction, at least 0 and below 1".to_owned());
            return Err(Error::Setting { name, value: options.holdout.to_string(), expected });
        }
        let sizes = documents.iter().chain(eval_documents.unwrap_or_default()).map(|d| d.bytes.len() as u64);
        check_size(sizes.sum(), options.limit_bytes)?;

        let Rows { mut rows, characters, tokens, mut cut, mut warnings } = rows(tokenizer, documents, options.seq_len)?;
        let mut examples = rows.len();
        let held_out = match eval_documents {
            Some(documents) => {
                let eval = self::rows(tokenizer, documents, options.seq_len)?;
                cut = cut.saturating_add(eval.cut);
                examples = examples.saturating_add(eval.rows.len());
                warnings.extend(eval.warnings);
                eval.rows
            }
            None => rows.split_off(rows.len().saturating_sub(held_out_rows(rows.len(), options))),
        };
        warnings.extend(rows_cut(cut, examples, options.seq_len));
        warnings.extend(unknown_language(tokens, characters));
        let dataset = Dataset { rows, held_out, characters, tokens, warnings };
        if dataset.labels() == 0 {
            let name = documents.first().map_or(String::new(), |d| d.name.clone());
            let said: String = dataset.warnings.iter().map(|warning| format!("; {}", warning.message)).collect();
            let reason = format!(
                "no row of {} tokens has a label to learn from: prompts fill the rows, or the assistant says \
                 nothing{said}",
                options.seq_len
            );
            return Err(Error::DataFormat { name, reason });
        }
        Ok(dataset)
    }

    /// Number of labels in the rows to train on.
    pub fn labels(&self) -> usize {
        self.rows.iter().map(|row| row.labels.iter().filter(|t| **t).count()).sum()
    }
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

fn rows_cut(cut: usize, examples: usize, seq_len: usize) -> Option<Warning> {
    let message = format!(
        "{cut} of {examples} examples are longer than {} tokens and were cut at the end; a longer sequence \
         length keeps more of them",
        seq_len.saturating_add(1)
    );
    (cut > 0).then_some(Warning { code: "rows_cut", message })
}

fn unknown_language(tokens: usize, characters: usize) -> Option<Warning> {
    let rate = tokens as f64 / characters as f64;
    let message = format!(
        "the model's tokenizer does not know this kind of text well: it needs {rate:.1} tokens for each character, \
         where English needs 0.2 to 0.3; expect poor results"
    );
    (rate >= UNKNOWN_FROM).then_some(Warning { code: "unknown_language", message })
}
