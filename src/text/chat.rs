//! Chat templates, rendered as transformers' `apply_chat_template` renders them. A template is a Jinja program that
//! comes with the model. Models come from anywhere, so minijinja runs it within limits.
//!
//! As in transformers, blocks are trimmed, `tojson` is `json.dumps`, `strftime_now` is today's date and
//! `raise_exception` refuses a conversation. Operators, methods, filters and printing are Python's: `translate` writes
//! the template again for minijinja, with the operators of `operators`; `python` is the values, `methods`, `filters`
//! and `format` what is called on them. `values` prepares what a conversation holds, `turns` finds what the assistant
//! says. The rendered text already contains its special tokens, so it is encoded without adding them. Oracle:
//! transformers 5, `src/transformers/utils/chat_template_utils.py`.

mod ending;
mod expressions;
mod filters;
mod format;
mod json;
mod methods;
mod objects;
mod operators;
mod pprint;
mod predicates;
mod python;
mod sorting;
mod strings;
mod translate;
mod turns;
mod values;

use std::collections::BTreeMap;
use std::io::{self, Write};

use minijinja::value::{Kwargs, Value};
use minijinja::{AutoEscape, Environment, ErrorKind, Output, State};
use serde::Deserialize;

use self::values::Habits;
use super::formats::Conversation;
use crate::error::Error;
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
    habits: Habits,
}

/// Why there is no text.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// The template itself refuses the conversation.
    Conversation(String),
    /// The template does what cannot be done: it uses what is not available, or a value that is not there.
    Template(String),
    /// The conversation has what no template takes.
    Values(String),
}

impl Refusal {
    /// As the error of a conversation that comes from `place`.
    pub fn error(self, place: &str) -> Error {
        let place = place.to_owned();
        match self {
            Refusal::Conversation(reason) => Error::Conversation { place, reason },
            Refusal::Template(reason) => Error::TemplateFails { place, reason },
            Refusal::Values(reason) => Error::Messages { place, reason },
        }
    }
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
        let extra = config.rest.get("extra_special_tokens").and_then(|tokens| tokens.as_object()).cloned();
        let named = config.rest.into_iter().filter(|(name, _)| name.ends_with("_token"));
        let specials =
            named.chain(extra.unwrap_or_default()).filter_map(|(name, value)| Some((name, special_token(&value)?)));
        Some(environment(&source).map(|environment| {
            let mut template = ChatTemplate { environment, variables: specials.collect(), habits: Habits::default() };
            template.habits = Habits::of(&template);
            template
        }))
    }

    /// Sets a variable of the template, as a keyword argument of `apply_chat_template` does: `enable_thinking`.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.variables.insert(name.to_owned(), value.into());
    }

    /// Renders `messages`, which `values` prepared, followed by what precedes an answer if `add_generation_prompt` is
    /// set.
    fn render(
        &self,
        messages: &[Value],
        conversation: Option<&Conversation>,
        add_generation_prompt: bool,
    ) -> Result<String, Refusal> {
        let mut context = self.variables.clone();
        let tools = conversation.and_then(|conversation| conversation.tools.clone());
        let variables = conversation.and_then(|conversation| conversation.variables.as_ref());
        for (name, value) in variables.into_iter().flat_map(values::fields) {
            context.insert(name.to_string(), value);
        }
        context.insert("messages".to_owned(), Value::from(messages.to_vec()));
        context.insert("tools".to_owned(), tools.unwrap_or(Value::from(())));
        context.insert("documents".to_owned(), Value::from(()));
        context.insert("add_generation_prompt".to_owned(), Value::from(add_generation_prompt));

        // Cloning an environment copies only references to its templates and functions.
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(FUEL.saturating_add(FUEL_PER_MESSAGE.saturating_mul(messages.len() as u64))));
        let mut text = Bounded(Vec::new());
        let template = environment.get_template(DEFAULT).map_err(|e| refusal(&e))?;
        template.render_captured_to(Value::from_iter(context), &mut text).map_err(|e| refusal(&e))?;
        String::from_utf8(text.0).map_err(|e| Refusal::Template(e.to_string()))
    }

    /// Renders a whole conversation.
    pub fn text(&self, conversation: &Conversation, add_generation_prompt: bool) -> Result<String, Refusal> {
        let messages = self.habits.prepare(&conversation.messages)?;
        self.render(&messages, Some(conversation), add_generation_prompt)
    }
}

/// `bos_token`, `eos_token` and so on: a string, or an object whose `content` is the string.
fn special_token(value: &serde_json::Value) -> Option<Value> {
    let content = value.as_str().or_else(|| value.get("content")?.as_str())?;
    not_finite(value).is_none().then(|| Value::from(content))
}

fn environment(source: &str) -> Result<Environment<'static>, String> {
    if source.len() > LONGEST_TEMPLATE {
        return Err(format!("it has {} bytes; the limit is {LONGEST_TEMPLATE}", source.len()));
    }
    let mut environment = Environment::new();
    environment.set_keep_trailing_newline(true);
    environment.set_recursion_limit(DEEPEST_CALL);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_formatter(write_as_python);
    operators::add_to(&mut environment);
    filters::add_to(&mut environment);
    predicates::add_to(&mut environment);
    environment.add_filter("tojson", json::dumps);
    environment
        .add_function("raise_exception", |message: Value| -> Result<Value, minijinja::Error> { Err(raised(&message)) });
    environment.add_function("strftime_now", today);
    let translated = translate::translate(source).map_err(|e| explain(&e))?;
    environment.add_template_owned(DEFAULT, translated).map_err(|e| explain(&e))?;
    Ok(environment)
}

/// Writes values as Python does: `{{ true }}` becomes `True`.
fn write_as_python(out: &mut Output, _state: &State, value: &Value) -> Result<(), minijinja::Error> {
    let written = match value.as_str() {
        Some(text) => out.write_str(text),
        None => out.write_str(&python::str(value)?),
    };
    written.map_err(|_| minijinja::Error::new(ErrorKind::WriteFailure, "the text is too long"))
}

/// The local date and time, in a `strftime` format.
fn today(format: &str, _options: Kwargs) -> Result<String, minijinja::Error> {
    let items = chrono::format::StrftimeItems::new(format).parse();
    let items = items.map_err(|e| python::failed(format!("strftime_now: {e}")))?;
    Ok(chrono::Local::now().format_with_items(items.iter()).to_string())
}

/// What `raise_exception` raises, at the source of minijinja's error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

fn raised(message: &Value) -> minijinja::Error {
    let message = python::str(message).unwrap_or_default();
    python::failed("raise_exception").with_source(Raised(message))
}

/// The template's own message, or what went wrong in it.
fn refusal(error: &minijinja::Error) -> Refusal {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(Raised(message)) = inner.downcast_ref() {
            return Refusal::Conversation(super::shortened(message.clone()));
        }
        source = inner.source();
    }
    Refusal::Template(explain(error))
}

/// What went wrong, with the line of the template.
fn explain(error: &minijinja::Error) -> String {
    let what = match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => {
            "it takes more instructions than a chat template should, so it may never end".to_owned()
        }
        (ErrorKind::WriteFailure, _) => format!("the rendered text is longer than {LONGEST_TEXT} bytes"),
        (ErrorKind::InvalidOperation, Some(detail)) => detail.to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    };
    super::shortened(match error.line() {
        Some(line) => format!("line {line} of the template: {what}"),
        None => what,
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
