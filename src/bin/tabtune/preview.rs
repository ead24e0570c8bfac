//! The first rows of a text on a terminal, token by token: labels are plain, tokens without loss are faint.

use std::io::IsTerminal as _;

use tabtune::text::preview::{PreviewRow, preview};
use tabtune::text::rows::Row;
use tabtune::text::tokenizer::Tokenizer;

/// How many rows are shown.
const SHOWN: usize = 3;

/// What is put around tokens without loss: brackets where colours are not wanted (<https://no-color.org>).
const FAINT: (&str, &str) = ("\x1b[2m", "\x1b[0m");
const BRACKETS: (&str, &str) = ("[", "]");

/// A line for each of the first rows, and one that explains them.
pub fn lines(tokenizer: &Tokenizer, rows: &[Row]) -> Vec<String> {
    let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let marks = if colours { FAINT } else { BRACKETS };
    let shown = preview(tokenizer, rows, SHOWN);
    let legend = format!("the first rows, token by token; {}only read, not learnt from{}", marks.0, marks.1);
    let lines = shown.iter().zip(1..).map(|(row, number)| format!("row {number}: {}", line(row, marks)));
    std::iter::once(legend).chain(lines).collect()
}

/// Tokens with a space between them, and marks around runs of tokens without loss.
fn line(row: &PreviewRow, (open, close): (&str, &str)) -> String {
    let runs = row.tokens.chunk_by(|a, b| a.trained == b.trained);
    let parts = runs.map(|run| {
        let text = run.iter().map(|token| visible(&token.text)).collect::<Vec<_>>().join(" ");
        if run.iter().any(|token| token.trained) { text } else { format!("{open}{text}{close}") }
    });
    parts.collect::<Vec<_>>().join(" ")
}

/// Shows spaces and line ends, which are tokens or parts of them, and nothing that moves the cursor.
fn visible(piece: &str) -> String {
    let show = |c| match c {
        ' ' => '·',
        '\n' => '↵',
        '\r' => '␍',
        '\t' => '⇥',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    piece.chars().map(show).collect()
}
