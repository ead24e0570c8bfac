//! The files people bring: plain text, JSON Lines and CSV, read into texts or examples. Knows nothing of tokens.

use std::collections::BTreeMap;

use minijinja::value::{Value, ValueKind};

use crate::error::{Error, Result};

/// A file: its name, whose ending says what it is, and its bytes.
#[derive(Debug, Clone)]
pub struct Document {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// What a document holds.
#[derive(Debug, PartialEq)]
pub enum Content {
    /// Running text, one piece of a longer one: `.txt`, `.md` and any ending that is not known.
    Text(String),
    /// `.jsonl`, `.json` and `.csv`: examples, each on its own.
    Examples(Vec<Example>),
}

#[derive(Debug, PartialEq)]
pub enum Example {
    Text(String),
    Pair { prompt: String, completion: String },
    Conversation(Conversation),
}

/// What a chat template is rendered with: values as they came, their keys in order.
#[derive(Debug, PartialEq)]
pub struct Conversation {
    /// Objects with a `role`, at least one.
    pub messages: Vec<Value>,
    pub tools: Option<Value>,
    /// The line it stands on, from 1.
    pub line: usize,
}

impl Conversation {
    /// Does the assistant say this message?
    pub fn is_assistant(&self, message: usize) -> bool {
        self.messages.get(message).and_then(role).as_deref() == Some("assistant")
    }
}

fn role(message: &Value) -> Option<String> {
    message.get_attr("role").ok()?.as_str().map(str::to_owned)
}

impl Document {
    /// Errors: `text_not_utf8`, `data_line` with the number of the line (from 1), `data_format`.
    pub fn read(&self) -> Result<Content> {
        let text = self.text()?;
        let ending = self.name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
        match ending.as_deref() {
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

    /// One JSON object on each line; blank lines are skipped.
    fn read_json_lines(&self, text: &str) -> Result<Vec<Example>> {
        let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
        let read = |(number, line)| {
            let fields: BTreeMap<String, Value> = serde_json::from_str(line).map_err(|e| in_one_line(&e))?;
            example_of(fields, number)
        };
        lines.map(|(number, line)| read((number, line)).map_err(|reason| self.broken(number, reason))).collect()
    }

    /// A header that names `text`, or `prompt` and `completion`; other columns are ignored.
    fn read_csv(&self, text: &str) -> Result<Vec<Example>> {
        let mut reader = csv::ReaderBuilder::new().from_reader(text.as_bytes());
        let header = reader.headers().map_err(|e| self.broken_csv(text, &e))?;
        let column = |name: &str| header.iter().position(|field| field.trim() == name);
        let (whole, prompt, completion) = (column("text"), column("prompt"), column("completion"));
        if whole.is_none() && (prompt.is_none() || completion.is_none()) {
            let reason = "its first line names neither `text` nor `prompt` and `completion`".to_owned();
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
        // The reader counts the blank lines before a record as part of it.
        let begin = error.position().map_or(0, |p| p.byte() as usize);
        let blank = text.get(begin..).unwrap_or_default().chars().take_while(|c| matches!(c, '\r' | '\n'));
        let line =
            error.position().map_or(1, |p| p.line() as usize).saturating_add(blank.filter(|c| *c == '\n').count());
        match error.kind() {
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                self.broken(line, format!("{len} fields, the first line has {expected_len}"))
            }
            _ => self.broken(line, error.to_string()),
        }
    }

    fn broken(&self, line: usize, reason: String) -> Error {
        Error::DataLine { name: self.name.clone(), line, reason: super::shortened(reason) }
    }
}

/// An example by the keys of its record: `text`, else `prompt` and `completion`, else `messages`.
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
        (None, None, None) => Err("none of `text`, `prompt` and `completion`, or `messages`".to_owned()),
    }
}

/// The content is the chat template's affair: some take lists, or none where tools are called.
fn messages_of(value: &Value) -> Result<Vec<Value>, String> {
    let list = (value.kind() == ValueKind::Seq).then(|| value.try_iter().ok()).flatten();
    let messages: Vec<Value> = list.ok_or("`messages` is not a list")?.collect();
    match messages.iter().zip(1..).find(|(message, _)| role(message).is_none()) {
        Some((_, number)) => Err(format!("message {number} of `messages` is not an object with a `role`")),
        None if messages.is_empty() => Err("`messages` is empty".to_owned()),
        None => Ok(messages),
    }
}

/// serde_json counts lines too, but it was given only one.
fn in_one_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or_default();
    format!("not a JSON object: {reason} at column {}", error.column())
}
