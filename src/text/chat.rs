//! Chat templates, rendered as transformers' `apply_chat_template` renders them. A template is a Jinja program that
//! comes with the model. Models come from anywhere, so minijinja runs it within limits.
//!
//! As in transformers, blocks are trimmed, filters and methods are Python's, `tojson` is `json.dumps`, `strftime_now`
//! is today's date and `raise_exception` refuses a conversation. The rendered text already contains its special tokens,
//! so it is encoded without adding them. Oracle: transformers 5, `src/transformers/utils/chat_template_utils.py`.

mod ending;
mod json;
mod turns;

use std::collections::BTreeMap;
use std::io::{self, Write};

use minijinja::value::{Kwargs, Value};
use minijinja::{AutoEscape, Environment, ErrorKind, Output, State};
use serde::Deserialize;

use super::formats::Conversation;
use crate::files::json::not_finite;

/// The maximum size of a template, in bytes; published ones have at most 20,000.
const LONGEST_TEMPLATE: usize = 256 << 10;
/// How many instructions a template may execute for a conversation, and how many more for each message. Published
/// templates need about a hundred per message.
const FUEL: u64 = 200_000;
const FUEL_PER_MESSAGE: u64 = 5_000;
/// How deep macro calls may nest. A page has one megabyte of stack.
const DEEPEST_CALL: usize = 100;
/// The maximum size of a rendering, in bytes.
const LONGEST_TEXT: usize = 16 << 20;

/// The name of the template to use if tokenizer_config.json has several.
const DEFAULT: &str = "default";

/// A compiled template and the variables it may use besides the conversation.
pub struct ChatTemplate {
    environment: Environment<'static>,
    /// The special tokens, and those that `set` adds.
    variables: BTreeMap<String, Value>,
}

/// The part of tokenizer_config.json that concerns conversations.
#[derive(Deserialize, Default)]
pub struct ChatConfig {
    chat_template: Option<Templates>,
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Templates {
    One(String),
    Named(Vec<Named>),
}

#[derive(Deserialize)]
struct Named {
    name: String,
    template: String,
}

impl ChatTemplate {
    /// Compiles the template of a model's folder: `file` (chat_template.jinja) takes precedence over `config`. Returns
    /// None if there is no template, and the reason if it cannot be used.
    pub fn new(file: Option<&[u8]>, config: ChatConfig) -> Option<Result<ChatTemplate, String>> {
        let source = match (file, config.chat_template) {
            (Some(file), _) => match std::str::from_utf8(file) {
                Ok(source) => source.to_owned(),
                Err(error) => return Some(Err(format!("chat_template.jinja is not UTF-8 text: {error}"))),
            },
            (None, Some(Templates::One(source))) => source,
            (None, Some(Templates::Named(list))) => list.into_iter().find(|t| t.name == DEFAULT)?.template,
            (None, None) => return None,
        };
        let specials =
            config.rest.into_iter().filter_map(|(key, value)| Some((key.clone(), special_token(&key, &value)?)));
        Some(environment(&source).map(|environment| ChatTemplate { environment, variables: specials.collect() }))
    }

    /// Sets a variable of the template, as a keyword argument of `apply_chat_template` does: `enable_thinking`.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.variables.insert(name.to_owned(), value.into());
    }

    /// Renders `messages`, followed by what precedes an answer if `add_generation_prompt` is set. The error is the
    /// reason why the template refuses them.
    fn render(&self, messages: &[Value], tools: Option<&Value>, add_generation_prompt: bool) -> Result<String, String> {
        let mut context = self.variables.clone();
        context.insert("messages".to_owned(), Value::from(messages.to_vec()));
        context.insert("tools".to_owned(), tools.cloned().unwrap_or(Value::from(())));
        context.insert("documents".to_owned(), Value::from(()));
        context.insert("add_generation_prompt".to_owned(), Value::from(add_generation_prompt));

        // Cloning an environment copies only references to its templates and functions.
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(FUEL.saturating_add(FUEL_PER_MESSAGE.saturating_mul(messages.len() as u64))));
        let mut text = Bounded(Vec::new());
        let template = environment.get_template(DEFAULT).map_err(|e| explain(&e))?;
        template.render_captured_to(Value::from_iter(context), &mut text).map_err(|e| explain(&e))?;
        String::from_utf8(text.0).map_err(|e| e.to_string())
    }

    /// Renders a whole conversation.
    pub fn text(&self, conversation: &Conversation, add_generation_prompt: bool) -> Result<String, String> {
        self.render(&conversation.messages, conversation.tools.as_ref(), add_generation_prompt)
    }
}

/// `bos_token`, `eos_token` and so on: a string, or an object whose `content` is the string.
fn special_token(key: &str, value: &serde_json::Value) -> Option<Value> {
    let content = value.as_str().or_else(|| value.get("content")?.as_str())?;
    (key.ends_with("_token") && not_finite(value).is_none()).then(|| Value::from(content))
}

fn environment(source: &str) -> Result<Environment<'static>, String> {
    if source.len() > LONGEST_TEMPLATE {
        return Err(format!("it has {} bytes; the limit is {LONGEST_TEMPLATE}", source.len()));
    }
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_recursion_limit(DEEPEST_CALL);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_formatter(write_as_python);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_filter("tojson", json::dumps);
    environment
        .add_function("raise_exception", |message: String| -> Result<Value, minijinja::Error> { Err(raised(message)) });
    environment.add_function("strftime_now", today);
    environment.add_template_owned(DEFAULT, without_generation_tags(source)).map_err(|e| explain(&e))?;
    Ok(environment)
}

/// `{% generation %}` marks what the assistant says: transformers reads it, but it renders as nothing. `{% if true %}`
/// has the same effect on the white space around it.
fn without_generation_tags(source: &str) -> String {
    let mut parts = source.split("{%");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let tag = part.trim_start_matches(['-', '+']).trim_start();
        let replaced = [("generation", "if true"), ("endgeneration", "endif")].into_iter().find_map(|(name, other)| {
            let rest = tag.strip_prefix(name)?;
            let head = part.strip_suffix(tag)?;
            rest.trim_start().trim_start_matches(['-', '+']).starts_with("%}").then(|| format!("{head}{other}{rest}"))
        });
        plain.push_str("{%");
        plain.push_str(replaced.as_deref().unwrap_or(part));
    }
    plain
}

/// Writes values as Python does: `{{ true }}` becomes `True`.
fn write_as_python(out: &mut Output, state: &State, value: &Value) -> Result<(), minijinja::Error> {
    let value = match bool::try_from(value.clone()) {
        Ok(truth) if value.kind() == minijinja::value::ValueKind::Bool => {
            &Value::from(if truth { "True" } else { "False" })
        }
        _ if value.is_none() => &Value::from("None"),
        _ => value,
    };
    minijinja::escape_formatter(out, state, value)
}

/// The local date and time, in a `strftime` format.
fn today(format: &str, _options: Kwargs) -> Result<String, minijinja::Error> {
    let items = chrono::format::StrftimeItems::new(format).parse().map_err(|e| raised(format!("strftime_now: {e}")))?;
    Ok(chrono::Local::now().format_with_items(items.iter()).to_string())
}

fn raised(message: String) -> minijinja::Error {
    minijinja::Error::new(ErrorKind::InvalidOperation, message)
}

/// The template's own message, or minijinja's, which names the line of the template.
fn explain(error: &minijinja::Error) -> String {
    super::shortened(match (error.kind(), error.detail()) {
        (ErrorKind::InvalidOperation, Some(detail)) => detail.to_owned(),
        (ErrorKind::OutOfFuel, _) => {
            "it takes more instructions than a chat template should, so it may never end".to_owned()
        }
        (ErrorKind::WriteFailure, _) => format!("the rendered text is longer than {LONGEST_TEXT} bytes"),
        _ => error.to_string(),
    })
}

/// A buffer that refuses to grow beyond [`LONGEST_TEXT`].
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > LONGEST_TEXT.saturating_sub(self.0.len()) {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
