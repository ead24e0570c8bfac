//! JSON as Python writes it. Python's `json` writes numbers that are not finite as `NaN`, `Infinity` and `-Infinity`,
//! which no standard knows, and Windows programs put a byte order mark in front. Neither must matter where nobody reads
//! that value.
//!
//! [`plain`] makes JSON of it that any parser reads, and every byte behind the mark stays where it was, so that lines
//! and columns in messages are those of the file. In the place of each such number there is then a string that a file
//! hardly holds: one character that cannot be typed, which no reader takes for a number. [`not_finite`] recognises it,
//! and [`message`] and [`shown`] write it as the file did.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Python's names, and the strings of the same length that replace them, with and without their quotes.
const NOT_FINITE: [(&str, &str, &str); 3] = [
    ("NaN", "\"\u{7f}\"", "\u{7f}"),
    ("Infinity", "\"\u{7f}.....\"", "\u{7f}....."),
    ("-Infinity", "\"\u{7f}......\"", "\u{7f}......"),
];

/// Reads a whole file. The error is its reason, with line and column.
pub fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, String> {
    serde_json::from_slice(&plain(json)?).map_err(|error| message(&error))
}

/// The same JSON without a byte order mark, and with strings in the place of numbers that are not finite. Errors: the
/// reason why it cannot be UTF-8.
pub fn plain(json: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    if json.starts_with(b"\xff\xfe") || json.starts_with(b"\xfe\xff") {
        return Err("it is UTF-16 text; save it as UTF-8".to_string());
    }
    let json = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json);
    let mut replaced: Option<Vec<u8>> = None;
    let (mut in_string, mut is_escaped, mut before) = (false, false, b' ');
    for (at, byte) in json.iter().copied().enumerate() {
        if in_string {
            in_string = is_escaped || byte != b'"';
            is_escaped = !is_escaped && byte == b'\\';
        } else if byte == b'"' {
            in_string = true;
        } else if matches!(byte, b'N' | b'I' | b'-')
            && !continues_a_word(before)
            && let Some((name, string, _)) = json.get(at..).and_then(name_at_the_start)
        {
            let place = at..at.saturating_add(name.len());
            if let Some(place) = replaced.get_or_insert_with(|| json.to_vec()).get_mut(place) {
                place.copy_from_slice(string.as_bytes());
            }
        }
        before = byte;
    }
    Ok(replaced.map_or(Cow::Borrowed(json), Cow::Owned))
}

/// A whole word, not the beginning of another.
fn name_at_the_start(json: &[u8]) -> Option<&'static (&'static str, &'static str, &'static str)> {
    NOT_FINITE.iter().find(|(name, _, _)| {
        let rest = json.strip_prefix(name.as_bytes());
        rest.is_some_and(|rest| !rest.first().is_some_and(|byte| continues_a_word(*byte)))
    })
}

fn continues_a_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'.')
}

/// Python's name of the number in whose place this value stands.
pub fn not_finite(value: &Value) -> Option<&'static str> {
    let value = value.as_str()?;
    NOT_FINITE.iter().find(|(_, _, string)| *string == value).map(|(name, _, _)| *name)
}

/// The value as the file has it.
pub fn shown(value: &Value) -> String {
    as_written(value.to_string())
}

/// A parser's message, in the words of the file.
pub fn message(error: &serde_json::Error) -> String {
    as_written(error.to_string())
}

/// Words, or JSON, that came from a parser's values, as the file has them.
pub fn as_written(mut words: String) -> String {
    for (name, string, content) in NOT_FINITE {
        // Parsers write the string as Rust does.
        words = words.replace(&format!("string {content:?}"), name).replace(string, name);
    }
    words
}
