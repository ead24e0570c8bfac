//! The files people bring, read as running text or as examples. The ending of a file's name decides which; an ending
//! that is not known, or a text that looks like records, is looked at. It knows nothing about tokens.

use minijinja::value::Value;

use super::columns::Columns;
use super::json_records::{is_json_lines, json_records};
use super::notes::Notes;
use super::records::{Record, example_of};
use super::table::{Table, is_table};
use super::time_stamps::time_stamps;
use crate::error::{Error, Result};
use crate::warning::Warning;

/// A file: its name, whose extension determines the format, its bytes, and which of its columns to read.
#[derive(Debug, Clone)]
pub struct Document {
    pub name: String,
    pub bytes: Vec<u8>,
    pub columns: Columns,
}

/// What a document holds, and what its reader should know about how it was read.
#[derive(Debug, PartialEq)]
pub struct Reading {
    pub content: Content,
    pub warnings: Vec<Warning>,
}

#[derive(Debug, PartialEq)]
pub enum Content {
    /// Running text, which is joined with that of other files.
    Text(String),
    /// Independent examples.
    Examples(Vec<Example>),
}

#[derive(Debug, PartialEq)]
pub enum Example {
    Text(String),
    Pair {
        prompt: String,
        completion: String,
    },
    /// Written as an Alpaca prompt; `input` may be empty.
    Task {
        instruction: String,
        input: String,
        output: String,
    },
    Conversation(Conversation),
}

/// The input of a chat template. Keys keep the order of the file; those whose value is null are dropped, as TRL does.
#[derive(Debug, Default, PartialEq)]
pub struct Conversation {
    /// At least one object with a `role`.
    pub messages: Vec<Value>,
    /// Which messages are learnt, each said by the assistant. The others are only read.
    pub learnt: Vec<bool>,
    /// A list of objects.
    pub tools: Option<Value>,
    /// An object: variables of the template.
    pub variables: Option<Value>,
    /// The line of the file, from 1.
    pub line: usize,
}

/// The form of a file.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Form {
    Prose,
    Json,
    Table,
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Form::Prose => "running text",
            Form::Json => "JSON records",
            Form::Table => "a table of records",
        }
    }

    fn of_ending(ending: &str) -> Option<Form> {
        match ending {
            "txt" | "md" | "markdown" | "text" | "rst" | "log" | "srt" => Some(Form::Prose),
            "jsonl" | "ndjson" | "jl" | "json" => Some(Form::Json),
            "csv" | "tsv" => Some(Form::Table),
            _ => None,
        }
    }

    /// By the content alone.
    fn of_content(text: &str, columns: &Columns) -> Form {
        if is_json_lines(text) {
            Form::Json
        } else if is_table(text, columns) {
            Form::Table
        } else {
            Form::Prose
        }
    }
}

impl Document {
    pub fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Document {
        Document { name: name.into(), bytes: bytes.into(), columns: Columns::Known }
    }

    pub(super) fn has_ending(&self, wanted: &str) -> bool {
        self.name.rsplit_once('.').is_some_and(|(_, ending)| ending.eq_ignore_ascii_case(wanted))
    }

    /// The form that the ending says, and that of the content if the ending is not known. A name without an ending is
    /// that of running text.
    pub(super) fn form(&self, text: &str) -> Form {
        let Some((_, ending)) = self.name.rsplit_once('.') else { return Form::Prose };
        Form::of_ending(&ending.to_ascii_lowercase()).unwrap_or_else(|| Form::of_content(text, &self.columns))
    }

    /// Says it if a file is read as something that only its content suggests, or is not what its content suggests.
    fn doubt(&self, form: Form, text: &str) -> Option<Warning> {
        let known = self.name.rsplit_once('.').and_then(|(_, ending)| Form::of_ending(&ending.to_ascii_lowercase()));
        if form != Form::Prose {
            let message = format!("`{}` was read as {}, by its content", self.name, form.name());
            return known.is_none().then_some(Warning { code: "read_as", message });
        }
        if is_web_page(text) {
            let message = format!(
                "`{}` is a web page: its tags are learnt as well; save it as text, or copy its text",
                self.name
            );
            return Some(Warning { code: "web_page", message });
        }
        let looks = Form::of_content(text, &self.columns);
        let message = format!(
            "`{}` is learnt as running text, braces and separators included, but looks like {}: give it as a {} file \
             to train on the records",
            self.name,
            looks.name(),
            if looks == Form::Json { ".jsonl" } else { ".csv" }
        );
        (looks != Form::Prose).then_some(Warning { code: "looks_like_records", message })
    }

    /// Errors: `text_not_utf8`, `not_text`, `data_line` and `unknown_columns` with the line number (from 1).
    pub fn read(&self) -> Result<Reading> {
        let text = self.text()?;
        let form = self.form(&text);
        let mut warnings: Vec<Warning> = self.doubt(form, &text).into_iter().collect();
        let mut notes = Notes::default();
        let content = match form {
            Form::Prose => {
                if self.columns != Columns::Known {
                    let message = format!("`{}` is running text, which has no columns to choose from", self.name);
                    warnings.push(Warning { code: "no_columns", message });
                }
                warnings.extend(time_stamps(&self.name, &text));
                Content::Text(text.into_owned())
            }
            Form::Json => {
                let example = |(line, record)| self.example(record, line, &mut notes);
                Content::Examples(json_records(self, &text)?.into_iter().map(example).collect::<Result<_>>()?)
            }
            Form::Table => {
                let table = Table::read(self, &text, &mut notes)?;
                warnings.extend(table.warnings);
                Content::Examples(table.examples)
            }
        };
        warnings.extend(notes.warnings(&self.name));
        Ok(Reading { content, warnings })
    }

    pub(super) fn example(&self, mut record: Record, line: usize, notes: &mut Notes) -> Result<Example> {
        let keys = record.keys(&self.columns).map_err(|reason| self.unknown_columns(line, reason))?;
        example_of(record, keys, line, notes).map_err(|reason| self.broken(line, reason))
    }

    pub(super) fn unknown_columns(&self, line: usize, reason: String) -> Error {
        Error::UnknownColumns { name: self.name.clone(), line, reason: super::shortened(reason) }
    }

    pub(super) fn broken(&self, line: usize, reason: String) -> Error {
        Error::DataLine { name: self.name.clone(), line, reason: super::shortened(reason) }
    }

    pub(super) fn unusable(&self, reason: String) -> Error {
        Error::DataFormat { name: self.name.clone(), reason: super::shortened(reason) }
    }
}

/// By how HTML begins: with its doctype or its outermost tag.
fn is_web_page(text: &str) -> bool {
    let begin: String = text.trim_start().chars().take(14).collect::<String>().to_ascii_lowercase();
    begin.starts_with("<!doctype html") || begin.starts_with("<html>") || begin.starts_with("<html ")
}
