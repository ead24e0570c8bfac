//! Records: objects whose keys decide what kind of example they are. They come from JSON, one object per line or one
//! list of them, and from tables.

use std::collections::BTreeMap;

use minijinja::value::{Value, ValueKind};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::arguments::Arguments;
use super::formats::{Document, Example};
use crate::error::Result;

pub type Record = BTreeMap<String, Value>;

/// What a record is, by its keys. The first form that fits counts.
#[derive(Clone, Copy)]
pub enum Keys {
    Text,
    Pair {
        prompt: &'static str,
        completion: &'static str,
    },
    /// `instruction` and `output`, and `input` in some: Alpaca's.
    Task,
    Messages,
    /// `conversations` of `from` and `value`: ShareGPT's.
    Turns,
}

const FORMS: &[(&[&str], Keys)] = &[
    (&["text"], Keys::Text),
    (&["prompt", "completion"], Keys::Pair { prompt: "prompt", completion: "completion" }),
    (&["messages"], Keys::Messages),
    (&["conversations"], Keys::Turns),
    (&["instruction", "output"], Keys::Task),
    (&["question", "answer"], Keys::Pair { prompt: "question", completion: "answer" }),
    (&["input", "output"], Keys::Pair { prompt: "input", completion: "output" }),
];

impl Keys {
    /// The error says what is missing, or what was found instead.
    pub fn of(names: &[&str]) -> Result<Keys, String> {
        let has = |name: &&str| names.contains(name);
        if let Some((_, keys)) = FORMS.iter().find(|(needed, _)| needed.iter().all(has)) {
            return Ok(*keys);
        }
        if let Some((needed, _)) = FORMS.iter().find(|(needed, _)| needed.iter().any(has)) {
            let missing = needed.iter().find(|name| !has(name)).copied().unwrap_or_default();
            return Err(format!("`{missing}` is missing"));
        }
        let forms: Vec<String> = FORMS.iter().map(|(needed, _)| quoted(needed, " with ")).collect();
        let found = if names.is_empty() { "nothing".to_owned() } else { quoted(names, ", ") };
        Err(format!("expected {}, but found {found}", forms.join(", or ")))
    }
}

fn quoted(names: &[&str], between: &str) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(between)
}

/// Null counts as absent: joined data sets are full of it.
pub fn example_of(mut record: Record, line: usize) -> Result<Example, String> {
    record.retain(|_, value| !value.is_none());
    let names: Vec<&str> = record.keys().map(String::as_str).collect();
    let keys = Keys::of(&names)?;
    let arguments = Arguments::take(&mut record);
    let mut take = |key: &str| record.remove(key).unwrap_or_default();
    Ok(match keys {
        Keys::Text => Example::Text(string("text", &take("text"))?),
        Keys::Pair { prompt, completion } => match (take(prompt), take(completion)) {
            (before, after) if is_list(&before) && is_list(&after) => {
                let mut messages = messages_of(prompt, &before)?;
                let first_learnt = messages.len();
                messages.extend(messages_of(completion, &after)?);
                Example::Conversation(arguments.conversation(messages, first_learnt, line)?)
            }
            (before, after) => {
                Example::Pair { prompt: string(prompt, &before)?, completion: string(completion, &after)? }
            }
        },
        Keys::Task => {
            let input = take("input");
            let input = if input.is_undefined() { String::new() } else { string("input", &input)? };
            let instruction = string("instruction", &take("instruction"))?;
            Example::Task { instruction, input, output: string("output", &take("output"))? }
        }
        Keys::Messages => {
            let messages = messages_of("messages", &take("messages"))?;
            Example::Conversation(arguments.conversation(messages, 0, line)?)
        }
        Keys::Turns => {
            let messages = turns_of(&take("conversations"))?;
            Example::Conversation(arguments.conversation(messages, 0, line)?)
        }
    })
}

fn string(key: &str, value: &Value) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| format!("`{key}` is not a string"))
}

/// The Alpaca prompt. As in most tools since, but not in Stanford's own, a line break follows `### Response:`.
pub fn task_prompt(instruction: &str, input: &str) -> String {
    let (paired, input) = match input.is_empty() {
        true => ("", String::new()),
        false => (", paired with an input that provides further context", format!("### Input:\n{input}\n\n")),
    };
    format!(
        "Below is an instruction that describes a task{paired}. Write a response that appropriately completes the \
         request.\n\n### Instruction:\n{instruction}\n\n{input}### Response:\n"
    )
}

fn is_list(value: &Value) -> bool {
    value.kind() == ValueKind::Seq
}

fn list(key: &str, value: &Value) -> Result<Vec<Value>, String> {
    let items = is_list(value).then(|| value.try_iter().ok()).flatten();
    let items: Vec<Value> = items.ok_or_else(|| format!("`{key}` is not a list"))?.collect();
    if items.is_empty() { Err(format!("`{key}` is empty")) } else { Ok(items) }
}

/// The `role` of a message.
pub fn role(message: &Value) -> Option<String> {
    message.get_attr("role").ok()?.as_str().map(str::to_owned)
}

/// Checks roles only. Content is up to the chat template: some accept lists, or no content for a tool call.
fn messages_of(key: &str, value: &Value) -> Result<Vec<Value>, String> {
    let messages: Vec<Value> = list(key, value)?.iter().map(without_null).collect();
    match messages.iter().zip(1..).find(|(message, _)| role(message).is_none()) {
        Some((_, number)) => Err(format!("message {number} of `{key}` is not an object with a `role`")),
        None => Ok(messages),
    }
}

/// An object without the keys whose value is null, also inside; Arrow and Parquet add them where a neighbour has a
/// value.
pub fn without_null(value: &Value) -> Value {
    match value.kind() {
        ValueKind::Map => {
            let keys = value.try_iter().into_iter().flatten();
            let fields = keys.filter_map(|key| value.get_item(&key).ok().map(|item| (key, item)));
            fields.filter(|(_, item)| !item.is_none()).map(|(key, item)| (key, without_null(&item))).collect()
        }
        ValueKind::Seq => value.try_iter().into_iter().flatten().map(|item| without_null(&item)).collect(),
        _ => value.clone(),
    }
}

/// `from` and `value` as `role` and `content`.
fn turns_of(value: &Value) -> Result<Vec<Value>, String> {
    let turn = |(number, turn): (usize, &Value)| {
        let field = |key: &str| turn.get_attr(key).ok()?.as_str().map(str::to_owned);
        let (from, content) = field("from")
            .zip(field("value"))
            .ok_or_else(|| format!("turn {number} of `conversations` is not an object with `from` and `value`"))?;
        let role = match from.as_str() {
            "human" | "user" => "user",
            "gpt" | "chatgpt" | "assistant" | "model" => "assistant",
            "system" => "system",
            "tool" | "observation" => "tool",
            other => return Err(format!("turn {number} of `conversations` is from `{other}`, which is no known role")),
        };
        Ok([("role", Value::from(role)), ("content", Value::from(content))].into_iter().collect())
    };
    (1..).zip(&list("conversations", value)?).map(turn).collect()
}

/// Whether the text is JSON objects, one per line or in one list.
pub fn is_json_lines(text: &str) -> bool {
    let is_object = |json: &str| serde_json::from_str::<BTreeMap<String, IgnoredAny>>(json).is_ok();
    if text.trim_start().starts_with('[') {
        return serde_json::from_str::<Vec<BTreeMap<String, IgnoredAny>>>(text).is_ok_and(|list| !list.is_empty());
    }
    let mut lines = text.lines().filter(|line| !line.trim().is_empty()).peekable();
    lines.peek().is_some() && lines.all(is_object)
}

/// The records of a JSON file, each with its line from 1: one object per line, blank lines skipped; or one list of
/// objects; or one object over several lines.
pub fn json_records(document: &Document, text: &str) -> Result<Vec<(usize, Record)>> {
    let begin = text.trim_start();
    if begin.starts_with('[') && !begin.lines().next().is_some_and(|line| is_json_value(line) && has_more(begin)) {
        let list: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| {
            document.broken(error.line(), format!("not a list of JSON objects: {}", without_line(&error)))
        })?;
        // Where the last record began, and in which line.
        let (mut last, mut line) = (0, 1usize);
        let record = |raw: &RawValue| {
            let at = (raw.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
            line = line.saturating_add(text.get(last..at).unwrap_or_default().matches('\n').count());
            last = at;
            let record = serde_json::from_str(raw.get());
            Ok((line, record.map_err(|e| document.broken(line, format!("not a JSON object: {}", without_line(&e))))?))
        };
        return list.into_iter().map(record).collect();
    }
    if has_more(begin)
        && let Ok(record) = serde_json::from_str(text)
    {
        return Ok(vec![(1, record)]);
    }
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let read = |(number, line)| {
        let record = serde_json::from_str(line);
        Ok((number, record.map_err(|e| document.broken(number, format!("not a JSON object: {}", without_line(&e))))?))
    };
    lines.map(read).collect()
}

fn is_json_value(line: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(line).is_ok()
}

/// Whether there is more than one line.
fn has_more(text: &str) -> bool {
    text.trim_end().contains('\n')
}

/// serde_json also reports a line number, which is useless where it only ever sees one line.
fn without_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    format!("{} at column {}", text.split(" at line ").next().unwrap_or_default(), error.column())
}
