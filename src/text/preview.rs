//! Rows as people see them: token by token, with the labels marked. A wrong mask is the mistake that is hardest to
//! notice.

use super::rows::Row;
use super::tokenizer::Tokenizer;

/// A row without its padding.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PreviewRow {
    pub tokens: Vec<PreviewToken>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PreviewToken {
    /// As people read it; an incomplete character shows as U+FFFD.
    pub text: String,
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
        let tokens = row.ids.iter().zip(trained).take(real);
        PreviewRow {
            tokens: tokens.map(|(id, trained)| PreviewToken { text: tokenizer.piece(*id), trained }).collect(),
        }
    };
    rows.iter().take(most).map(show).collect()
}
