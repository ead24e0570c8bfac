//! The files people bring, read as running text or as examples. The ending of a file's name decides which; an ending
//! that is not known, or a text that looks like records, is looked at. It knows nothing about tokens.

use minijinja::value::Value;

use super::records::{Record, example_of, is_json_lines, json_records, role};
use super::table::{Table, is_table};
use super::warning::Warning;
use crate::error::{Error, Result};

/// A file: its name, whose extension determines the format, and its bytes.
#[derive(Debug, Clone)]
pub struct Document {
    pub name: String,
    pub bytes: Vec<u8>,
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
#[derive(Debug, PartialEq)]
pub struct Conversation {
    /// At least one object with a `role`.
    pub messages: Vec<Value>,
    /// Messages before this one are the prompt: the assistant's are not learnt.
    pub first_learnt: usize,
    /// A list of objects.
    pub tools: Option<Value>,
    /// An object: variables of the template.
    pub variables: Option<Value>,
    /// The line of the file, from 1.
    pub line: usize,
}

impl Conversation {
    /// Whether the assistant says this message, and it is to be learnt.
    pub fn is_learnt(&self, message: usize) -> bool {
        message >= self.first_learnt && self.messages.get(message).and_then(role).as_deref() == Some("assistant")
    }
}

/// The form of a file.
#[derive(Clone, Copy, PartialEq)]
enum Form {
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
    fn of_content(text: &str) -> Form {
        if is_json_lines(text) {
            Form::Json
        } else if is_table(text) {
            Form::Table
        } else {
            Form::Prose
        }
    }
}

impl Document {
    /// Errors: `text_not_utf8`, `not_text`, `data_line` with the line number (from 1), `data_format`.
    pub fn read(&self) -> Result<Reading> {
        let text = self.text()?;
        let ending = self.name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
        let known = ending.as_deref().and_then(Form::of_ending);
        let looks = || Form::of_content(&text);
        let mut warnings = Vec::new();
        let form = match (known, &ending) {
            (Some(Form::Prose), _) | (None, None) => {
                let looks = looks();
                if looks != Form::Prose {
                    let message = format!(
                        "`{}` is learnt as running text, braces and separators included, but looks like {}: give \
                         it as a {} file to train on the records",
                        self.name,
                        looks.name(),
                        if looks == Form::Json { ".jsonl" } else { ".csv" }
                    );
                    warnings.push(Warning { code: "looks_like_records", message });
                }
                Form::Prose
            }
            (Some(known), _) => known,
            (None, Some(_)) => {
                let looks = looks();
                if looks != Form::Prose {
                    let message = format!("`{}` was read as {}, by its content", self.name, looks.name());
                    warnings.push(Warning { code: "read_as", message });
                }
                looks
            }
        };
        let content = match form {
            Form::Prose => Content::Text(text.into_owned()),
            Form::Json => {
                let example = |(line, record): (usize, Record)| {
                    example_of(record, line).map_err(|reason| self.broken(line, reason))
                };
                Content::Examples(json_records(self, &text)?.into_iter().map(example).collect::<Result<_>>()?)
            }
            Form::Table => {
                let table = Table::read(self, &text, ending.as_deref() == Some("tsv"))?;
                warnings.extend(table.warnings);
                Content::Examples(table.examples)
            }
        };
        warnings.extend(self.written_as_tasks(&content));
        Ok(Reading { content, warnings })
    }

    fn written_as_tasks(&self, content: &Content) -> Option<Warning> {
        let Content::Examples(examples) = content else { return None };
        let tasks = examples.iter().filter(|example| matches!(example, Example::Task { .. })).count();
        let message = format!(
            "`{}`: {tasks} records of `instruction` and `output` are written as Alpaca prompts, and that is how the \
             model has to be asked; give `prompt` and `completion` for another form",
            self.name
        );
        (tasks > 0).then_some(Warning { code: "alpaca_prompt", message })
    }

    pub(super) fn broken(&self, line: usize, reason: String) -> Error {
        Error::DataLine { name: self.name.clone(), line, reason: super::shortened(reason) }
    }

    pub(super) fn unusable(&self, reason: String) -> Error {
        Error::DataFormat { name: self.name.clone(), reason: super::shortened(reason) }
    }
}
