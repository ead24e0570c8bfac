//! Rows as people see them: token by token, with what is learnt from. A wrong mask is the quietest mistake of a run.

use super::dataset::Row;
use super::tokenizer::Tokenizer;

/// A row without its padding.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PreviewRow {
    pub tokens: Vec<PreviewToken>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PreviewToken {
    /// As a person reads it; a part of a character shows as U+FFFD.
    pub text: String,
    /// Does it carry loss as a label?
    pub trained: bool,
}

/// The first `most` rows.
pub fn preview(tokenizer: &Tokenizer, rows: &[Row], most: usize) -> Vec<PreviewRow> {
    let show = |row: &Row| {
        // The first id of a row is an input only; label t is id t + 1.
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
