//! The files people bring: plain text, JSON Lines and CSV, read into texts or examples. Knows nothing of tokens.

use serde_json::{Map, Value};

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
        let text = std::str::from_utf8(&self.bytes).map_err(|e| Error::TextNotUtf8 { name: self.name.clone(), offset: e.valid_up_to() })?;
        Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
    }

    /// One JSON object on each line; blank lines are skipped.
    fn read_json_lines(&self, text: &str) -> Result<Vec<Example>> {
        let mut examples = Vec::new();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let broken = |reason: String| self.broken(at + 1, reason);
            let fields: Map<String, Value> = serde_json::from_str(line).map_err(|e| broken(in_one_line(&e)))?;
            examples.push(example_of(fields).map_err(|problem| match problem {
                Problem::Conversation => Error::NotYet { what: "training on conversations (`messages`)".to_owned() },
                Problem::Fields(reason) => broken(reason),
            })?);
        }
        Ok(examples)
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
        let line = error.position().map_or(1, |p| p.line() as usize) + blank.filter(|c| *c == '\n').count();
        match error.kind() {
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                self.broken(line, format!("{len} fields, the first line has {expected_len}"))
            }
            _ => self.broken(line, error.to_string()),
        }
    }

    fn broken(&self, line: usize, reason: String) -> Error {
        Error::DataLine { name: self.name.clone(), line, reason }
    }
}

enum Problem {
    Conversation,
    Fields(String),
}

/// An example by the keys of its record: `text`, else `prompt` and `completion`, else `messages`.
fn example_of(mut fields: Map<String, Value>) -> Result<Example, Problem> {
    let mut take = |key: &str| match fields.remove(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Problem::Fields(format!("`{key}` is not a string"))),
    };
    if let Some(text) = take("text")? {
        return Ok(Example::Text(text));
    }
    match (take("prompt")?, take("completion")?) {
        (Some(prompt), Some(completion)) => Ok(Example::Pair { prompt, completion }),
        (Some(_), None) => Err(Problem::Fields("`completion` is missing".to_owned())),
        (None, Some(_)) => Err(Problem::Fields("`prompt` is missing".to_owned())),
        (None, None) if fields.contains_key("messages") => Err(Problem::Conversation),
        (None, None) => Err(Problem::Fields("neither `text` nor `prompt` and `completion`".to_owned())),
    }
}

/// serde_json counts lines too, but it was given only one.
fn in_one_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or_default();
    format!("not a JSON object: {reason} at column {}", error.column())
}
