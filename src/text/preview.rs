//! Rows as people see them: token by token, with the labels marked. A wrong mask is the mistake that is hardest to
//! notice.

use super::rows::Row;
use super::tokenizer::Tokenizer;

/// A character has at most so many bytes, and a token at least one.
const MOST_PARTS: usize = 4;

/// A row without its padding.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PreviewRow {
    pub tokens: Vec<PreviewToken>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PreviewToken {
    /// As people read it. Tokens that are parts of one character are shown together; a character that a row cuts off
    /// shows as U+FFFD.
    pub text: String,
    /// How many tokens of the row these are: one, unless they are parts of one character.
    pub tokens: usize,
    /// Whether it is a label, that is, carries loss.
    pub trained: bool,
}

/// The first `most` rows.
pub fn preview(tokenizer: &Tokenizer, rows: &[Row], most: usize) -> Vec<PreviewRow> {
    let show = |row: &Row| {
        // The first id of a row is only an input; flag t belongs to id t + 1.
        let trained: Vec<bool> = std::iter::once(false).chain(row.labels.iter().copied()).collect();
        let real =
            trained.iter().rposition(|trained| *trained).map_or(0, |last| last.saturating_add(1)).max(row.tokens);
        PreviewRow { tokens: whole_characters(tokenizer, row.ids.iter().copied().zip(trained).take(real)) }
    };
    rows.iter().take(most).map(show).collect()
}

/// Puts tokens together until they are whole characters. A character is learnt if its last token is: the first token of
/// a row never is, and no other character is divided.
fn whole_characters(tokenizer: &Tokenizer, ids: impl Iterator<Item = (u32, bool)>) -> Vec<PreviewToken> {
    let mut shown: Vec<PreviewToken> = Vec::new();
    let mut open: Vec<u32> = Vec::new();
    for (id, trained) in ids {
        open.push(id);
        let (text, is_whole) = tokenizer.piece(&open);
        let piece = PreviewToken { text, tokens: open.len(), trained };
        match shown.last_mut().filter(|_| open.len() > 1) {
            Some(last) => *last = piece,
            None => shown.push(piece),
        }
        if is_whole || open.len() >= MOST_PARTS {
            open.clear();
        }
    }
    shown
}
