//! Records: objects whose keys decide what kind of example they are. They come from JSON and from tables.

use std::collections::BTreeMap;

use minijinja::value::{Value, ValueKind};

use super::arguments::Arguments;
use super::columns::Columns;
use super::formats::{Conversation, Example};
use super::notes::Notes;

#[derive(Debug, Default)]
pub struct Record {
    pub fields: BTreeMap<String, Value>,
    /// Keys whose values hold a number that JSON does not have, such as Python's NaN, with its name and its column.
    pub not_finite: BTreeMap<String, String>,
}

impl Record {
    /// Which keys are read. Null counts as absent: joined data sets are full of it.
    pub fn keys<'a>(&mut self, columns: &'a Columns) -> Result<Keys<'a>, String> {
        self.fields.retain(|_, value| !value.is_none());
        let names: Vec<&str> = self.fields.keys().map(String::as_str).collect();
        Keys::of(&names, columns)
    }
}

impl From<BTreeMap<String, Value>> for Record {
    fn from(fields: BTreeMap<String, Value>) -> Record {
        Record { fields, not_finite: BTreeMap::new() }
    }
}

/// What a record is, by its keys. The first form that fits counts.
#[derive(Clone, Copy)]
pub enum Keys<'a> {
    Text(&'a str),
    Pair {
        prompt: &'a str,
        completion: &'a str,
    },
    /// `instruction` and `output`, and `input` in some: Alpaca's.
    Task,
    Messages,
    /// `conversations` of `from` and `value`, and `system` in some: ShareGPT's.
    Turns,
}

const FORMS: &[(&[&str], Keys)] = &[
    (&["text"], Keys::Text("text")),
    (&["prompt", "completion"], Keys::Pair { prompt: "prompt", completion: "completion" }),
    (&["messages"], Keys::Messages),
    (&["conversations"], Keys::Turns),
    (&["instruction", "output"], Keys::Task),
    (&["question", "answer"], Keys::Pair { prompt: "question", completion: "answer" }),
    (&["input", "output"], Keys::Pair { prompt: "input", completion: "output" }),
];

impl<'a> Keys<'a> {
    /// The error says what is missing, or what was found instead.
    pub fn of(names: &[&str], columns: &'a Columns) -> Result<Keys<'a>, String> {
        let has = |name: &&str| names.contains(name);
        let found = || if names.is_empty() { "nothing".to_owned() } else { quoted(names, ", ") };
        let chosen = match columns {
            Columns::Known => return Keys::known(names),
            Columns::Text(text) => Keys::Text(text),
            Columns::Pair { prompt, completion } => Keys::Pair { prompt, completion },
        };
        match chosen.needed().iter().find(|name| !has(name)) {
            Some(missing) => Err(format!("`{missing}` is missing; found {}", found())),
            None => Ok(chosen),
        }
    }

    fn known(names: &[&str]) -> Result<Keys<'static>, String> {
        let has = |name: &&str| names.contains(name);
        if let Some((_, keys)) = FORMS.iter().find(|(needed, _)| needed.iter().all(has)) {
            return Ok(*keys);
        }
        if let Some((needed, _)) = FORMS.iter().find(|(needed, _)| needed.iter().any(has)) {
            let missing = needed.iter().find(|name| !has(name)).copied().unwrap_or_default();
            return Err(format!("`{missing}` is missing; found {}", quoted(names, ", ")));
        }
        let forms: Vec<String> = FORMS.iter().map(|(needed, _)| quoted(needed, " with ")).collect();
        let found = if names.is_empty() { "nothing".to_owned() } else { quoted(names, ", ") };
        Err(format!("expected {}, but found {found}", forms.join(", or ")))
    }

    fn needed(self) -> Vec<&'a str> {
        match self {
            Keys::Text(text) => vec![text],
            Keys::Pair { prompt, completion } => vec![prompt, completion],
            Keys::Task => vec!["instruction", "output"],
            Keys::Messages => vec!["messages"],
            Keys::Turns => vec!["conversations"],
        }
    }

    /// What is read as well where it is given.
    fn optional(self) -> &'static [&'static str] {
        match self {
            Keys::Text(_) => &[],
            Keys::Pair { .. } | Keys::Messages => &["tools", "chat_template_kwargs"],
            Keys::Task => &["input"],
            Keys::Turns => &["tools", "chat_template_kwargs", "system"],
        }
    }
}

pub fn quoted(names: &[&str], between: &str) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(between)
}

/// The example of a record with these keys. What is not read is noted.
pub fn example_of(mut record: Record, keys: Keys, line: usize, notes: &mut Notes) -> Result<Example, String> {
    let Record { fields, not_finite } = &mut record;
    let may_read = keys.needed().into_iter().chain(keys.optional().iter().copied());
    if let Some((key, found)) = may_read.filter_map(|key| not_finite.get_key_value(key)).next() {
        return Err(format!("`{key}` holds {found}, which is no value of JSON; write null where there is none"));
    }
    let mut take = |key: &str| fields.remove(key).unwrap_or_default();
    let given = |value: Value| Some(value).filter(|value| !value.is_undefined());
    let example = match keys {
        Keys::Text(text) => Example::Text(string(text, &take(text))?),
        Keys::Pair { prompt, completion } => match (take(prompt), take(completion)) {
            (before, after) if is_list(&before) && is_list(&after) => {
                let mut messages = messages_of(prompt, &before)?;
                let first_learnt = messages.len();
                messages.extend(messages_of(completion, &after)?);
                let arguments = Arguments::take(fields);
                Example::Conversation(conversation(messages, first_learnt, arguments, line, notes)?)
            }
            (before, after) => {
                Example::Pair { prompt: string(prompt, &before)?, completion: string(completion, &after)? }
            }
        },
        Keys::Task => {
            let input = given(take("input")).map_or(Ok(String::new()), |input| string("input", &input))?;
            let instruction = string("instruction", &take("instruction"))?;
            Example::Task { instruction, input, output: string("output", &take("output"))? }
        }
        Keys::Messages => {
            let messages = messages_of("messages", &take("messages"))?;
            Example::Conversation(conversation(messages, 0, Arguments::take(fields), line, notes)?)
        }
        Keys::Turns => {
            let turns = turns_of(&take("conversations"))?;
            let system = given(take("system")).map(|system| string("system", &system)).transpose()?;
            let system = system.filter(|system| !system.is_empty());
            let messages = system.map(|system| message("system", &system)).into_iter().chain(turns).collect();
            Example::Conversation(conversation(messages, 0, Arguments::take(fields), line, notes)?)
        }
    };
    notes.tasks = notes.tasks.saturating_add(usize::from(matches!(example, Example::Task { .. })));
    notes.unread.extend(record.fields.into_keys());
    Ok(example)
}

/// The conversation of a record of `messages`, to be continued.
pub fn conversation_of(mut record: Record, line: usize) -> Result<Conversation, String> {
    let keys = record.keys(&Columns::Known)?;
    match example_of(record, keys, line, &mut Notes::default())? {
        Example::Conversation(conversation) => Ok(conversation),
        _ => Err("it is no conversation: `messages` is missing".to_owned()),
    }
}

/// Finds which messages are learnt: those of the assistant, from `first` on, unless they are marked otherwise.
fn conversation(
    messages: Vec<Value>,
    first: usize,
    arguments: Arguments,
    line: usize,
    notes: &mut Notes,
) -> Result<Conversation, String> {
    let mut learnt = Vec::with_capacity(messages.len());
    for (at, message) in messages.iter().enumerate() {
        let mark = mark(message).map_err(|reason| format!("message {}: {reason}", at.saturating_add(1)))?;
        let is_said = at >= first && role(message).as_deref() == Some("assistant");
        notes.marked_in_vain =
            notes.marked_in_vain.saturating_add(usize::from(mark == Some(Mark::Train(true)) && !is_said));
        learnt.push(is_said && !matches!(mark, Some(Mark::Train(false) | Mark::Weight(false))));
    }
    arguments.conversation(messages, learnt, line)
}

/// Whether a message is to be learnt, as its writer marked it.
#[derive(PartialEq)]
enum Mark {
    Train(bool),
    Weight(bool),
}

/// `train` or `training`, true or false; or `weight`, 0 or 1.
fn mark(message: &Value) -> Result<Option<Mark>, String> {
    let field = |key: &str| message.get_attr(key).ok().filter(|value| !value.is_undefined());
    for key in ["train", "training"] {
        if let Some(value) = field(key) {
            let train = (value.kind() == ValueKind::Bool).then(|| value.is_true());
            return train.map(Mark::Train).map(Some).ok_or_else(|| format!("`{key}` is neither true nor false"));
        }
    }
    let Some(weight) = field("weight") else { return Ok(None) };
    match f64::try_from(weight.clone()) {
        Ok(0.0) => Ok(Some(Mark::Weight(false))),
        Ok(1.0) => Ok(Some(Mark::Weight(true))),
        _ => Err(format!("`weight` is {weight}, but a message can only be learnt (1) or not (0)")),
    }
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

pub fn message(role: &str, content: &str) -> Value {
    [("role", Value::from(role)), ("content", Value::from(content))].into_iter().collect()
}

/// `from` and `value` as `role` and `content`; other keys stay as they are.
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
        let named = [("role", Value::from(role)), ("content", Value::from(content))];
        let keys = turn.try_iter().into_iter().flatten();
        let others = keys.filter(|key| !matches!(key.as_str(), Some("from" | "value")));
        let others = others.filter_map(|key| turn.get_item(&key).ok().map(|value| (key, value)));
        let named = named.into_iter().map(|(key, value)| (Value::from(key), value));
        Ok(without_null(&named.chain(others).collect()))
    };
    (1..).zip(&list("conversations", value)?).map(turn).collect()
}
