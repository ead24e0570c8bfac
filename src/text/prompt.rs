//! What generation continues: a text as it is, or a conversation that the chat template renders.

use std::collections::BTreeMap;

use minijinja::value::Value;

use super::formats::{Conversation, Document};
use super::json_records::json_records;
use super::records::{conversation_of, message, role};
use super::tokenizer::Tokenizer;
use crate::error::{Error, Result};

/// Where the conversation comes from, in errors.
const PLACE: &str = "the prompt";

#[derive(Debug, Clone, Copy)]
pub enum Prompt<'a> {
    /// Taken as it is.
    Text(&'a str),
    /// Rendered up to where the assistant answers.
    Conversation(&'a Conversation),
}

impl<'a> From<&'a str> for Prompt<'a> {
    fn from(text: &'a str) -> Self {
        Prompt::Text(text)
    }
}

impl Prompt<'_> {
    /// The ids that generation continues. Errors: `NoChatTemplate`, `ChatTemplate`, `Conversation`, `Tokenizer`.
    pub fn ids(self, tokenizer: &Tokenizer) -> Result<Vec<u32>> {
        match self {
            Prompt::Text(text) => tokenizer.encode(text, true),
            Prompt::Conversation(conversation) => {
                let text = tokenizer.render(conversation, PLACE, true)?;
                tokenizer.encode(&text, false)
            }
        }
    }
}

impl Conversation {
    /// A user's message, after the system's if there is one.
    pub fn of_user(words: &str, system: Option<&str>) -> Conversation {
        let system = system.map(|system| message("system", system));
        Conversation { messages: system.into_iter().chain([message("user", words)]).collect(), ..Default::default() }
    }

    /// The conversation of a list of messages. Errors: `Setting`.
    pub fn of_messages(messages: Vec<impl serde::Serialize>) -> Result<Conversation> {
        of_list(messages.into_iter().map(Value::from_serialize).collect()).map_err(|reason| {
            let (name, value) = ("prompt".to_owned(), "a list of messages".to_owned());
            Error::Setting { name, value, expected: format!("messages with a role: {reason}") }
        })
    }

    /// The conversation of a JSON file: a list of messages, or a record of `messages`. Errors: `DataLine`,
    /// `DataFormat`, and those of unreadable text.
    pub fn of_file(document: &Document) -> Result<Conversation> {
        let text = document.text()?;
        if let Ok(messages) = serde_json::from_str::<Vec<Value>>(&text)
            && messages.first().is_some_and(|first| role(first).is_some())
        {
            return of_list(messages).map_err(|reason| document.broken(1, reason));
        }
        let mut records = json_records(document, &text)?.into_iter();
        match (records.next(), records.next()) {
            (Some((line, record)), None) => {
                conversation_of(record, line).map_err(|reason| document.broken(line, reason))
            }
            (_, more) => {
                let found = if more.is_some() { "several records" } else { "no record" };
                Err(document.unusable(format!("expected one list of messages, but found {found}")))
            }
        }
    }
}

fn of_list(messages: Vec<Value>) -> Result<Conversation, String> {
    conversation_of(BTreeMap::from([("messages".to_owned(), Value::from(messages))]).into(), 1)
}
