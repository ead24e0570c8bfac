//! Which columns of a table, or keys of records, hold the text.

use super::formats::{Document, Form};
use super::json_records::json_records;
use super::table::likely_header;
use crate::error::{Error, Result};

/// Which columns of a table, or keys of a record, hold the text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Columns {
    /// Those whose names are known.
    #[default]
    Known,
    Text(String),
    Pair {
        prompt: String,
        completion: String,
    },
}

impl Columns {
    /// The columns that were chosen by name. Errors: `Setting` unless it is the text's, or the prompt's and the
    /// completion's.
    pub fn chosen(text: Option<String>, prompt: Option<String>, completion: Option<String>) -> Result<Columns> {
        let refuse = |name: &str, value: String, expected: &str| {
            Err(Error::Setting { name: name.to_owned(), value, expected: expected.to_owned() })
        };
        match (text, prompt, completion) {
            (None, None, None) => Ok(Columns::Known),
            (Some(text), None, None) => Ok(Columns::Text(text)),
            (None, Some(prompt), Some(completion)) if prompt != completion => Ok(Columns::Pair { prompt, completion }),
            (None, Some(_), Some(both)) => refuse("completion-column", both, "another column than the prompt's"),
            (None, Some(prompt), None) => refuse("prompt-column", prompt, "a completion-column beside it"),
            (None, None, Some(completion)) => refuse("completion-column", completion, "a prompt-column beside it"),
            (Some(text), ..) => refuse("text-column", text, "no prompt-column or completion-column beside it"),
        }
    }
}

impl Document {
    /// The names to choose columns from: those of a table's first line, or the keys of the first record. Running text
    /// has none. Errors: as `read`.
    pub fn column_names(&self) -> Result<Vec<String>> {
        let text = self.text()?;
        Ok(match self.form(&text) {
            Form::Prose => Vec::new(),
            Form::Json => {
                let first = json_records(self, &text)?.into_iter().next();
                first.map(|(_, record)| record.fields.into_keys().collect()).unwrap_or_default()
            }
            Form::Table => likely_header(&text, self.has_ending("tsv")).map_or(Vec::new(), |(_, _, names)| names),
        })
    }
}
