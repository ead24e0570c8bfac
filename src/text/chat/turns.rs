//! Which part of a rendered conversation the assistant says. A template is a program, so this is found by asking it
//! again: what a message says is what changes when it says something else, and what comes before an answer is what the
//! template writes when it is asked for one.

use std::ops::Range;

use minijinja::value::Value;

use super::ChatTemplate;
use crate::text::formats::Conversation;

impl ChatTemplate {
    /// The bytes of `text`, the rendering of the conversation, that the assistant says, each turn through what ends it.
    /// Turns that begin at or after the byte `horizon` may be left out.
    pub fn spoken(&self, conversation: &Conversation, text: &str, horizon: usize) -> Vec<Range<usize>> {
        let mut spoken: Vec<Range<usize>> = Vec::new();
        let stranger = stranger_to(text);
        for (at, message) in conversation.messages.iter().enumerate() {
            if !conversation.is_assistant(at) {
                continue;
            }
            let after_last = spoken.last().map_or(0, |turn| turn.end);
            let Some(turn) = self.turn(conversation, at, message, text, stranger) else { continue };
            if turn.start >= horizon {
                break;
            }
            let start = turn.start.max(after_last);
            if start < turn.end {
                spoken.push(start..turn.end);
            }
        }
        spoken
    }

    /// One turn. None where the template does not write the message.
    fn turn(
        &self,
        conversation: &Conversation,
        at: usize,
        message: &Value,
        text: &str,
        stranger: char,
    ) -> Option<Range<usize>> {
        let render = |messages: &[Value], prompt| self.render(messages, conversation.tools.as_ref(), prompt).ok();
        let (before, _) = conversation.messages.split_at_checked(at)?;
        let (through, after) = conversation.messages.split_at_checked(at.saturating_add(1))?;
        let other = with_content(message, Value::from(stranger.to_string()));
        let changed_through = [before, &[other]].concat();
        let changed = [changed_through.as_slice(), after].concat();
        let content = render(&changed, false).and_then(|changed| difference(text, &changed));

        // What stands after the generation prompt is what the model will have to say, a template's own additions
        // included.
        let prompt = render(before, true).filter(|prompt| text.starts_with(prompt.as_str()));
        let prompt = prompt.filter(|prompt| render(before, false).is_some_and(|without| without != *prompt));
        let prompt_end =
            prompt.map(|prompt| prompt.len()).filter(|end| content.as_ref().is_none_or(|content| *end <= content.end));
        let start = prompt_end.or(content.as_ref().map(|content| content.start))?;

        let end = match content {
            Some(content) => {
                let tail = render(&changed_through, false)
                    .and_then(|t| t.rsplit_once(stranger).map(|(_, tail)| tail.to_owned()));
                let rest = text.get(content.end..)?;
                let shared = common_prefix(rest, &tail.unwrap_or_default());
                content.end.checked_add(ending(rest.get(..shared)?))?
            }
            // The content is not written, but something else may be: a call of a tool.
            None => render(through, false).filter(|through| text.starts_with(through.as_str())).map(|t| ending(&t))?,
        };
        Some(start..end)
    }
}

/// A message that says something else.
fn with_content(message: &Value, content: Value) -> Value {
    let keys = message.try_iter().into_iter().flatten();
    let fields = keys.filter_map(|key| message.get_item(&key).ok().map(|value| (key, value)));
    fields.filter(|(key, _)| key.as_str() != Some("content")).chain([(Value::from("content"), content)]).collect()
}

/// A character of the private use area that the text does not have.
fn stranger_to(text: &str) -> char {
    ('\u{e000}'..='\u{f8ff}').find(|c| !text.contains(*c)).unwrap_or('\u{e000}')
}

/// The bytes of `text` that `other` has otherwise; none if they are equal.
fn difference(text: &str, other: &str) -> Option<Range<usize>> {
    let start = common_prefix(text, other);
    let (rest, other_rest) = (text.get(start..)?, other.get(start..)?);
    let equal_end: usize =
        rest.chars().rev().zip(other_rest.chars().rev()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
    (text != other).then_some(start..text.len().saturating_sub(equal_end))
}

fn common_prefix(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum()
}

/// How much of what a template writes after a message ends its turn: all but the white space at its end, unless that is
/// all.
fn ending(tail: &str) -> usize {
    let trimmed = tail.trim_end().len();
    if trimmed == 0 { tail.len() } else { trimmed }
}
