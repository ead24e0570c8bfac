//! The files people bring: plain text, JSON Lines and CSV, read as text or examples. It knows nothing about
//! tokens.

use std::collections::BTreeMap;

use minijinja::value::{Value, ValueKind};

use crate::error::{Error, Result};

/// A file: its name, whose extension determines the format, and its bytes.
#[derive(Debug, Clone)]
pub struct Document {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// What a document contains.
#[derive(Debug, PartialEq)]
pub enum Content {
    /// Running text, which is joined with that of other files: `.txt`, `.md` and any unknown extension.
    Text(String),
    /// Independent examples: `.jsonl`, `.json` and `.csv`.
    Examples(Vec<Example>),
}

#[derive(Debug, PartialEq)]
pub enum Example {
    Text(String),
    Pair { prompt: String, completion: String },
    Conversation(Conversation),
}

/// The input of a chat template. Values are unchanged, and keys keep the order of the file.
#[derive(Debug, PartialEq)]
pub struct Conversation {
    /// At least one object with a `role`.
    pub messages: Vec<Value>,
    pub tools: Option<Value>,
    /// The line of the file, from 1.
    pub line: usize,
}

impl Conversation {
    /// Whether the assistant says this message.
    pub fn is_assistant(&self, message: usize) -> bool {
        self.messages.get(message).and_then(role).as_deref() == Some("assistant")
    }
}

fn role(message: &Value) -> Option<String> {
    message.get_attr("role").ok()?.as_str().map(str::to_owned)
}

impl Document {
    /// Errors: `text_not_utf8`, `data_line` with the line number (from 1), `data_format`.
    pub fn read(&self) -> Result<Content> {
        let text = self.text()?;
        let extension = self.name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
        match extension.as_deref() {
            Some("jsonl" | "json") => self.read_json_lines(text).map(Content::Examples),
            Some("csv") => self.read_csv(text).map(Content::Examples),
            _ => Ok(Content::Text(text.to_owned())),
        }
    }

    /// The bytes as UTF-8, without a byte order mark.
    fn text(&self) -> Result<&str> {
        let text = std::str::from_utf8(&self.bytes)
            .map_err(|e| Error::TextNotUtf8 { name: self.name.clone(), offset: e.valid_up_to() })?;
        Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
    }

    /// Reads one JSON object per line and skips blank lines.
    fn read_json_lines(&self, text: &str) -> Result<Vec<Example>> {
        let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
        let read = |(number, line)| {
            let fields: BTreeMap<String, Value> = serde_json::from_str(line).map_err(|e| in_one_line(&e))?;
            example_of(fields, number)
        };
        lines.map(|(number, line)| read((number, line)).map_err(|reason| self.broken(number, reason))).collect()
    }

    /// Needs a header with the column `text`, or `prompt` and `completion`. Other columns are ignored.
    fn read_csv(&self, text: &str) -> Result<Vec<Example>> {
        let mut reader = csv::ReaderBuilder::new().from_reader(text.as_bytes());
        let header = reader.headers().map_err(|e| self.broken_csv(text, &e))?;
        let column = |name: &str| header.iter().position(|field| field.trim() == name);
        let (whole, prompt, completion) = (column("text"), column("prompt"), column("completion"));
        if whole.is_none() && (prompt.is_none() || completion.is_none()) {
            let reason = "the first line must name the column `text`, or `prompt` and `completion`".to_owned();
            return Err(Error::DataFormat { name: self.name.clone(), reason });
        }

        let mut examples = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|e| self.broken_csv(text, &e))?;
            let field = |column: Option<usize>| column.and_then(|at| record.get(at)).unwrap_or_default().to_owned();
            examples.push(match whole {
                Some(_) => Example::Text(field(whole)),
                None => Example::Pair { prompt: field(prompt), completion: field(completion) },
            });
        }
        Ok(examples)
    }

    fn broken_csv(&self, text: &str, error: &csv::Error) -> Error {
        // The reader counts blank lines before a record as part of the record.
        let begin = error.position().map_or(0, |p| p.byte() as usize);
        let blank = text.get(begin..).unwrap_or_default().chars().take_while(|c| matches!(c, '\r' | '\n'));
        let line =
            error.position().map_or(1, |p| p.line() as usize).saturating_add(blank.filter(|c| *c == '\n').count());
        match error.kind() {
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                self.broken(line, format!("expected {expected_len} fields, as in the first line, but found {len}"))
            }
            _ => self.broken(line, error.to_string()),
        }
    }

    fn broken(&self, line: usize, reason: String) -> Error {
        Error::DataLine { name: self.name.clone(), line, reason: super::shortened(reason) }
    }
}

/// The keys of a record decide what it is: `text`, otherwise `prompt` and `completion`, otherwise `messages`.
fn example_of(mut fields: BTreeMap<String, Value>, line: usize) -> Result<Example, String> {
    let mut take = |key: &str| match fields.remove(key) {
        None => Ok(None),
        Some(value) => {
            value.as_str().map(|text| Some(text.to_owned())).ok_or_else(|| format!("`{key}` is not a string"))
        }
    };
    if let Some(text) = take("text")? {
        return Ok(Example::Text(text));
    }
    match (take("prompt")?, take("completion")?, fields.remove("messages")) {
        (Some(prompt), Some(completion), _) => Ok(Example::Pair { prompt, completion }),
        (Some(_), None, _) => Err("`completion` is missing".to_owned()),
        (None, Some(_), _) => Err("`prompt` is missing".to_owned()),
        (None, None, Some(messages)) => {
            let tools = fields.remove("tools").filter(|tools| !tools.is_none());
            Ok(Example::Conversation(Conversation { messages: messages_of(&messages)?, tools, line }))
        }
        (None, None, None) => {
            Err("expected `text`, or `prompt` and `completion`, or `messages`, but found none of them".to_owned())
        }
    }
}

/// Checks roles only. Content is up to the chat template: some accept lists, or no content for a tool call.
fn messages_of(value: &Value) -> Result<Vec<Value>, String> {
    let list = (value.kind() == ValueKind::Seq).then(|| value.try_iter().ok()).flatten();
    let messages: Vec<Value> = list.ok_or("`messages` is not a list")?.collect();
    match messages.iter().zip(1..).find(|(message, _)| role(message).is_none()) {
        Some((_, number)) => Err(format!("message {number} of `messages` is not an object with a `role`")),
        None if messages.is_empty() => Err("`messages` is empty".to_owned()),
        None => Ok(messages),
    }
}

/// serde_json also reports a line number, which is useless because it only ever sees one line.
fn in_one_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or_default();
    format!("not a JSON object: {reason} at column {}", error.column())
}
