//! What happened to examples on their way to rows, counted, and what the user should know about it.

use crate::warning::Warning;

/// A text with at least this many tokens per character is in a language that the tokenizer does not know: above one,
/// characters fall apart into bytes. Measured with the embedded tokenizer: English 0.3, German and French 0.5, Czech
/// 0.7, code 0.6, tables of digits 1.0, Russian 1.8, Greek 1.9, Chinese 2.9, Japanese 3.0; with GPT-2's: Russian and
/// Greek 1.1, Japanese 1.4.
const UNKNOWN_FROM: f64 = 1.05;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Characters of all texts.
    pub characters: usize,
    /// Their tokens, without those that surround a text.
    pub tokens: usize,
    /// Rows of their own: records, as opposed to windows of running text.
    pub examples: usize,
    /// Those of them that are conversations.
    pub conversations: usize,
    /// Examples that were longer than a row.
    pub cut: usize,
    /// Examples in which the prompt's ids do not begin those of the whole.
    pub boundaries: usize,
    /// Texts that already began or ended with a token that would have been written around them.
    pub written: usize,
    /// Conversations of which no label ends a generated text.
    pub endless: usize,
}

impl Counts {
    pub(super) fn add(&mut self, text: &str, tokens: usize) {
        self.characters = self.characters.saturating_add(text.chars().count());
        self.tokens = self.tokens.saturating_add(tokens);
    }

    pub(super) fn note(&mut self, written: bool) {
        self.written = self.written.saturating_add(usize::from(written));
    }

    /// The sum for the rows of two sets of documents.
    pub(super) fn and(self, other: Counts) -> Counts {
        Counts {
            characters: self.characters.saturating_add(other.characters),
            tokens: self.tokens.saturating_add(other.tokens),
            examples: self.examples.saturating_add(other.examples),
            conversations: self.conversations.saturating_add(other.conversations),
            cut: self.cut.saturating_add(other.cut),
            boundaries: self.boundaries.saturating_add(other.boundaries),
            written: self.written.saturating_add(other.written),
            endless: self.endless.saturating_add(other.endless),
        }
    }

    pub fn warnings(&self, seq_len: usize) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let mut warn = |happened: bool, code, message: String| {
            if happened {
                warnings.push(Warning { code, message });
            }
        };
        let Counts { characters, tokens, examples, cut, boundaries, written, endless, .. } = *self;
        let longest = seq_len.saturating_add(1);
        let message = format!(
            "{cut} of {examples} examples are longer than {longest} tokens and were cut at the end; longer rows keep \
             more of them"
        );
        warn(cut > 0, "rows_cut", message);
        let message = format!(
            "in {boundaries} of {examples} examples the end of the prompt and the beginning of the answer share a \
             token, or the prompt alone has other tokens; every token that holds any of the answer is learnt. Put the \
             space between them at the beginning of the answer, not at the end of the prompt"
        );
        warn(boundaries > 0, "boundary_token", message);
        let message = format!(
            "{written} texts already begin or end with the special token that is put around every text; it was not \
             put there twice"
        );
        warn(written > 0, "special_token_written", message);
        let message = format!(
            "in {endless} of {examples} examples the chat template puts no token that ends a generated text after \
             what the assistant says, so the model does not learn where to stop"
        );
        warn(endless > 0, "no_end_of_turn", message);
        let rate = tokens as f64 / characters as f64;
        let message = format!(
            "the model's tokenizer does not know this kind of text well: it needs {rate:.1} tokens for each \
             character, where English needs 0.2 to 0.3; expect poor results"
        );
        warn(rate >= UNKNOWN_FROM, "unknown_language", message);
        warnings
    }
}
