//! Rows: what a step trains on. A row has T+1 token ids: the first T are inputs, and those of the last T that carry
//! loss are labels. Masked tokens and padding carry no loss. Rows are laid out so that a run can be repeated in PyTorch
//! number for number.

use std::ops::Range;

use super::counts::Counts;
use super::formats::{Content, Conversation, Document, Example, Reading};
use super::records::task_prompt;
use super::tokenizer::Tokenizer;
use crate::error::{Error, Result};
use crate::warning::Warning;

/// Fills a row after its last token. It never carries loss, and no token before it sees it.
const PAD: u32 = 0;

/// Where words are longer on average, they are not counted: English has six characters to a word.
const MOST_IN_WORD: usize = 15;

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

    /// How many positions it takes where rows share one. The last token of a padded row predicts nothing, so its
    /// position goes to whatever follows.
    pub fn positions(&self) -> usize {
        let seq_len = self.labels.len();
        if self.tokens < seq_len { self.tokens.saturating_sub(1) } else { seq_len }
    }
}

/// The rows of some documents, in file order.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    pub rows: Vec<Row>,
    /// What happened to the examples.
    pub counts: Counts,
    /// What the user should know about how the files were read.
    pub warnings: Vec<Warning>,
}

/// Lays documents out as rows of T = `seq_len` inputs.
///
/// Plain texts are joined, each followed by the end-of-text token, and split into windows of T+1 ids with stride T. The
/// last window is padded, so every id except the very first is a label exactly once. These rows go where the first
/// plain text is in the file order. An example is one row, cut on the right if it is longer. All ids of a text are
/// labels. Both end with the end-of-text token, if the tokenizer has one; a token that a text already begins or ends
/// with is not written a second time.
///
/// A prompt and its completion are one text to the tokenizer. If the ids of the prompt alone begin those of the whole,
/// the rest are labels, as in TRL; otherwise a token may hold the end of the prompt and the beginning of the
/// completion, and every token that holds any of the completion is a label. A conversation is rendered by the chat
/// template, and its labels are the tokens that hold any of what the assistant says.
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
    let mut words = 0usize;
    for document in documents {
        let Reading { content, warnings } = document.read()?;
        all.warnings.extend(warnings);
        match content {
            Content::Text(text) => {
                blank &= text.trim().is_empty();
                stream_at.get_or_insert(all.rows.len());
                words = words.saturating_add(text.split_whitespace().count());
                stream.extend(all.text(tokenizer, &text)?);
            }
            Content::Examples(examples) => {
                blank &= examples.is_empty();
                for example in &examples {
                    all.push(tokenizer, example, &document.name, seq_len)?;
                }
            }
        }
    }
    if blank || all.counts.characters == 0 {
        return Err(Error::TextEmpty);
    }
    if let Some(at) = stream_at {
        if stream.len() <= seq_len {
            return Err(too_short(words, all.counts.characters, stream.len(), seq_len.saturating_add(1)));
        }
        let windows = (0..stream.len().saturating_sub(1)).step_by(seq_len).filter_map(|start| stream.get(start..));
        let windows: Vec<Row> = windows.map(|window| Row::new(window, seq_len, |_| true)).collect();
        all.rows.splice(at..at, windows);
    }
    Ok(all)
}

impl Rows {
    /// Number of labels.
    pub fn labels(&self) -> usize {
        labels(&self.rows)
    }

    /// Everything that the user should know about rows of `seq_len` inputs.
    pub fn all_warnings(&self, seq_len: usize) -> Vec<Warning> {
        self.warnings.iter().cloned().chain(self.counts.warnings(seq_len)).collect()
    }

    fn push(&mut self, tokenizer: &Tokenizer, example: &Example, name: &str, seq_len: usize) -> Result<()> {
        let row = match example {
            Example::Text(text) => {
                let ids = self.text(tokenizer, text)?;
                self.cut(&ids, seq_len, |_| true)
            }
            Example::Pair { prompt, completion } => self.pair(tokenizer, prompt, completion, seq_len)?,
            Example::Task { instruction, input, output } => {
                self.pair(tokenizer, &task_prompt(instruction, input), output, seq_len)?
            }
            Example::Conversation(conversation) => self.conversation(tokenizer, conversation, name, seq_len)?,
        };
        self.counts.examples = self.counts.examples.saturating_add(1);
        self.rows.push(row);
        Ok(())
    }

    /// The ids of a text, with the special tokens around it.
    fn text(&mut self, tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>> {
        let mut ids = tokenizer.encode(text, false)?;
        self.counts.add(text, ids.len());
        self.counts.note(tokenizer.surround(&mut ids).written);
        Ok(ids)
    }

    fn pair(&mut self, tokenizer: &Tokenizer, prompt: &str, completion: &str, seq_len: usize) -> Result<Row> {
        let whole = format!("{prompt}{completion}");
        let (mut ids, offsets) = tokenizer.encode_with_offsets(&whole)?;
        self.counts.add(&whole, ids.len());
        let alone = tokenizer.encode(prompt, false)?;
        let first_label = match ids.starts_with(&alone) {
            true => alone.len(),
            false => {
                self.counts.boundaries = self.counts.boundaries.saturating_add(1);
                offsets.iter().take_while(|token| token.end <= prompt.len()).count()
            }
        };
        let around = tokenizer.surround(&mut ids);
        self.counts.note(around.written);
        let first_label = first_label.saturating_add(around.before);
        Ok(self.cut(&ids, seq_len, |at| at >= first_label))
    }

    /// The template writes every special token itself.
    fn conversation(
        &mut self,
        tokenizer: &Tokenizer,
        conversation: &Conversation,
        name: &str,
        seq_len: usize,
    ) -> Result<Row> {
        let place = format!("`{name}`, line {}", conversation.line);
        let template = tokenizer.chat_template(&place)?;
        let text = tokenizer.render(conversation, &place, false)?;
        let (ids, offsets) = tokenizer.encode_with_offsets(&text)?;
        self.counts.add(&text, ids.len());
        self.counts.conversations = self.counts.conversations.saturating_add(1);

        let horizon = offsets.get(seq_len).map_or(text.len(), |token| token.end);
        let spans = template.assistant_spans(conversation, &text, horizon);
        let is_said = |token: &Range<usize>| spans.iter().any(|span| token.start < span.end && span.start < token.end);
        let begins_before =
            |token: &Range<usize>| spans.iter().any(|span| token.start < span.start && span.start < token.end);
        let straddles = offsets.iter().take(seq_len.saturating_add(1)).any(begins_before);
        self.counts.boundaries = self.counts.boundaries.saturating_add(usize::from(straddles));
        let row = self.cut(&ids, seq_len, |at| offsets.get(at).is_some_and(is_said));
        let ends = row.labels.iter().zip(ids.iter().skip(1)).any(|(label, id)| *label && tokenizer.is_stop(*id));
        let endless = !ends && ids.len() <= seq_len.saturating_add(1) && row.labels.contains(&true);
        self.counts.endless = self.counts.endless.saturating_add(usize::from(endless));
        Ok(row)
    }

    fn cut(&mut self, ids: &[u32], seq_len: usize, is_label: impl Fn(usize) -> bool) -> Row {
        self.counts.cut = self.counts.cut.saturating_add(usize::from(ids.len() > seq_len.saturating_add(1)));
        Row::new(ids, seq_len, is_label)
    }
}

/// How long a text would have to be is told from how many tokens it has now, and rounded up to tens.
fn too_short(words: usize, characters: usize, found: usize, needed: usize) -> Error {
    // Some scripts put no spaces between words.
    let has_words = words.saturating_mul(MOST_IN_WORD) >= characters;
    let (length, unit) = if has_words { (words, "word") } else { (characters, "character") };
    let enough = length.saturating_mul(needed).div_ceil(found.max(1)).next_multiple_of(10);
    let size = format!("{length} {unit}{}", if length == 1 { "" } else { "s" });
    Error::TextTooShort { size, enough, found, needed }
}

/// Number of labels of some rows.
pub(super) fn labels(rows: &[Row]) -> usize {
    rows.iter().map(|row| row.labels.iter().filter(|label| **label).count()).sum()
}
