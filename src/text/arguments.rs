//! What a record hands to a chat template besides its messages: the arguments of transformers' `apply_chat_template`.

use std::collections::BTreeMap;

use minijinja::value::{Value, ValueKind};

use super::formats::Conversation;
use super::records::without_null;

/// The keys of a record, and what transformers passes itself: variables cannot have these names.
const TOOLS: &str = "tools";
const VARIABLES: &str = "chat_template_kwargs";
const TAKEN: &[&str] = &[
    "add_generation_prompt",
    "chat_template",
    "continue_final_message",
    "conversation",
    "documents",
    "messages",
    "return_assistant_tokens_mask",
    "return_dict",
    "tokenize",
    "tools",
];

pub struct Arguments {
    tools: Option<Value>,
    variables: Option<Value>,
}

impl Arguments {
    pub fn take(fields: &mut BTreeMap<String, Value>) -> Arguments {
        Arguments { tools: fields.remove(TOOLS), variables: fields.remove(VARIABLES) }
    }

    pub fn conversation(self, messages: Vec<Value>, learnt: Vec<bool>, line: usize) -> Result<Conversation, String> {
        let tools = self.tools.map(tools).transpose()?.flatten();
        let variables = self.variables.map(variables).transpose()?.flatten();
        Ok(Conversation { messages, learnt, tools, variables, line })
    }
}

/// A list of objects; the list or each object may be JSON in a string, which is how tables and Arrow keep it.
fn tools(value: Value) -> Result<Option<Value>, String> {
    let Some(list) = parsed(&format!("`{TOOLS}`"), &value)? else { return Ok(None) };
    if list.kind() != ValueKind::Seq {
        return Err(format!("`{TOOLS}` is not a list"));
    }
    let tool = |(number, tool): (usize, Value)| {
        let name = format!("tool {number} of `{TOOLS}`");
        match parsed(&name, &tool)? {
            Some(tool) if tool.kind() == ValueKind::Map => Ok(tool),
            _ => Err(format!("{name} is not an object")),
        }
    };
    (1..)
        .zip(list.try_iter().into_iter().flatten())
        .map(tool)
        .collect::<Result<Vec<_>, _>>()
        .map(|t| Some(Value::from(t)))
}

fn variables(value: Value) -> Result<Option<Value>, String> {
    let Some(object) = parsed(&format!("`{VARIABLES}`"), &value)? else { return Ok(None) };
    if object.kind() != ValueKind::Map {
        return Err(format!("`{VARIABLES}` is not an object"));
    }
    let names = object.try_iter().into_iter().flatten();
    match names.filter_map(|name| name.as_str().map(str::to_owned)).find(|name| TAKEN.contains(&name.as_str())) {
        Some(name) => Err(format!("`{VARIABLES}` has `{name}`, which the record or tabtune itself gives the template")),
        None => Ok(Some(object)),
    }
}

/// The value that JSON in a string stands for, or else the value without its null keys; None if it is blank.
fn parsed(name: &str, value: &Value) -> Result<Option<Value>, String> {
    match value.as_str() {
        None => Ok(Some(without_null(value))),
        Some(json) if json.trim().is_empty() => Ok(None),
        Some(json) => {
            serde_json::from_str(json).map_err(|error| format!("{name} is a string that is no JSON: {error}"))
        }
    }
}
