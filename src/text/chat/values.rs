//! What a conversation becomes before a template sees it: content as the template reads it, arguments of tool calls as
//! objects. How a template reads them is found out once, by rendering small conversations.

use std::collections::BTreeMap;

use minijinja::value::{Value, ValueKind};

use super::{ChatTemplate, Refusal};
use crate::text::records::role;

/// Stands for what someone says. No template has it.
const SAID: &str = "\u{e000}said\u{e000}";

/// The names under which a message has its reasoning; transformers hands it over under the first, and under the second
/// if the message has neither.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// How a template reads the content of a role's messages.
#[derive(Clone, Copy, Default, PartialEq)]
struct Reads {
    text: bool,
    parts: bool,
}

/// How a template reads conversations.
#[derive(Default)]
pub struct Habits {
    content: BTreeMap<&'static str, Reads>,
    /// Whether it puts arguments into the text as a string is put, so that an object fails.
    arguments_as_text: bool,
}

impl Habits {
    pub fn of(template: &ChatTemplate) -> Habits {
        let message = |role: &str, content: Value| object([("role", Value::from(role)), ("content", content)]);
        let plain = |role: &str| message(role, Value::from("-"));
        let render = |messages: &[Value]| template.render(messages, None, false).ok();
        let mut content = BTreeMap::new();
        for role in ["user", "assistant", "system", "tool"] {
            let around = |said: Value| match role {
                "user" => vec![message(role, said)],
                "system" => vec![message(role, said), plain("user")],
                _ => vec![plain("user"), message(role, said)],
            };
            let as_text = render(&around(Value::from(SAID)));
            let as_parts = render(&around(Value::from(vec![part(SAID)])));
            // A list that is printed, as Python or as JSON, has its keys beside the text.
            let printed =
                [format!("'text': '{SAID}'"), format!("\"text\": \"{SAID}\""), format!("\"text\":\"{SAID}\"")];
            let text = as_text.is_some_and(|text| text.contains(SAID));
            let parts = as_parts
                .is_some_and(|text| text.contains(SAID) && !printed.iter().any(|printed| text.contains(printed)));
            content.insert(role, Reads { text, parts });
        }
        let call = |arguments: Value| {
            let function = object([("name", Value::from("f")), ("arguments", arguments)]);
            let call =
                object([("type", Value::from("function")), ("id", Value::from("123456789")), ("function", function)]);
            let fields = [
                ("role", Value::from("assistant")),
                ("content", Value::from("")),
                ("tool_calls", Value::from(vec![call])),
            ];
            render(&[plain("user"), object(fields)])
        };
        let arguments_as_text = call(object([("a", Value::from(SAID))])).is_none()
            && call(Value::from(format!("{{\"a\": \"{SAID}\"}}"))).is_some_and(|text| text.contains(SAID));
        Habits { content, arguments_as_text }
    }

    /// The messages as the template reads them.
    pub fn prepare(&self, messages: &[Value]) -> Result<Vec<Value>, Refusal> {
        let prepared = |(number, message): (usize, &Value)| {
            let mut fields = fields(message);
            self.prepare_content(&mut fields, message, number)?;
            self.prepare_calls(&mut fields, number)?;
            if let Some(reasoning) = REASONING.into_iter().find_map(|name| found(message, name)) {
                let thinking = found(message, "thinking").unwrap_or_else(|| reasoning.clone());
                fields.retain(|(key, _)| key.as_str() != Some("thinking"));
                fields.insert(0, (Value::from("thinking"), thinking));
                set(&mut fields, "reasoning_content", reasoning);
            }
            Ok(fields.into_iter().collect())
        };
        (1..).zip(messages).map(prepared).collect()
    }

    fn prepare_content(&self, fields: &mut Vec<(Value, Value)>, message: &Value, number: usize) -> Result<(), Refusal> {
        let Some(content) = found(message, "content") else { return Ok(()) };
        let reads = role(message).and_then(|role| self.content.get(role.as_str()).copied());
        let reads = reads.or_else(|| self.content.get("user").copied()).unwrap_or_default();
        match content.kind() {
            ValueKind::Seq => {
                let text = joined(&content).map_err(|found| {
                    Refusal::Values(format!(
                        "message {number}: its `content` has {found}; only parts of text can be used"
                    ))
                })?;
                if !reads.parts {
                    set(fields, "content", Value::from(text));
                }
            }
            ValueKind::String if reads.parts && !reads.text => {
                set(fields, "content", Value::from(vec![part(content.as_str().unwrap_or_default())]));
            }
            _ => {}
        }
        Ok(())
    }

    /// Arguments as an object, as transformers wants them; OpenAI's files have them as JSON in a string.
    fn prepare_calls(&self, fields: &mut Vec<(Value, Value)>, number: usize) -> Result<(), Refusal> {
        let calls = fields.iter().find(|(key, _)| key.as_str() == Some("tool_calls")).map(|(_, calls)| calls.clone());
        let Some(calls) = calls.filter(|calls| calls.kind() == ValueKind::Seq && !self.arguments_as_text) else {
            return Ok(());
        };
        let mut prepared = Vec::new();
        for call in calls.try_iter().into_iter().flatten() {
            let call = match found(&call, "function") {
                Some(function) => {
                    let mut fields = self::fields(&call);
                    set(&mut fields, "function", with_object(&function, number)?);
                    fields.into_iter().collect()
                }
                None => with_object(&call, number)?,
            };
            prepared.push(call);
        }
        set(fields, "tool_calls", Value::from(prepared));
        Ok(())
    }
}

/// A call whose arguments are an object.
fn with_object(call: &Value, number: usize) -> Result<Value, Refusal> {
    let Some(arguments) = found(call, "arguments") else { return Ok(call.clone()) };
    let Some(json) = arguments.as_str() else { return Ok(call.clone()) };
    let wrong = |why: String| {
        Refusal::Values(format!(
            "message {number}: the `arguments` of a tool call are a string that is no JSON object{why}"
        ))
    };
    let parsed: Value = serde_json::from_str(json).map_err(|error| wrong(format!(": {error}")))?;
    if parsed.kind() != ValueKind::Map {
        return Err(wrong(format!(": {}", crate::text::shortened(json.to_owned()))));
    }
    let mut fields = fields(call);
    set(&mut fields, "arguments", parsed);
    Ok(fields.into_iter().collect())
}

/// The text of all parts, or what was found that has none.
fn joined(parts: &Value) -> Result<String, String> {
    let mut text = String::new();
    for part in parts.try_iter().into_iter().flatten() {
        if let Some(part) = part.as_str() {
            text.push_str(part);
            continue;
        }
        let kind = found(&part, "type");
        let kind = kind.as_ref().and_then(Value::as_str);
        match found(&part, "text") {
            Some(said) if kind.is_none_or(|kind| kind == "text") && said.as_str().is_some() => {
                text.push_str(said.as_str().unwrap_or_default());
            }
            _ => {
                return Err(match kind {
                    Some("text") => "a part of type `text` without a string `text`".to_owned(),
                    Some(kind) => format!("a part of type `{}`", crate::text::shortened(kind.to_owned())),
                    None => "a part without a `type` and a `text`".to_owned(),
                });
            }
        }
    }
    Ok(text)
}

pub fn part(text: &str) -> Value {
    object([("type", Value::from("text")), ("text", Value::from(text))])
}

fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    fields.into_iter().collect()
}

/// The value of a key, if it is there and not null.
fn found(object: &Value, key: &str) -> Option<Value> {
    object.as_object()?.get_value(&Value::from(key)).filter(|value| !value.is_none())
}

/// The keys and values of an object.
pub fn fields(object: &Value) -> Vec<(Value, Value)> {
    let keys = object.try_iter().into_iter().flatten();
    keys.filter_map(|key| object.get_item(&key).ok().map(|value| (key, value))).collect()
}

/// Sets a key, in its place if it is there.
pub fn set(fields: &mut Vec<(Value, Value)>, key: &str, value: Value) {
    match fields.iter_mut().find(|(found, _)| found.as_str() == Some(key)) {
        Some((_, slot)) => *slot = value,
        None => fields.push((Value::from(key), value)),
    }
}
