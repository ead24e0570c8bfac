//! Which parts of a rendered conversation the assistant says. A template is a program, so the way to find out is to
//! render again: the content of a message is what changes when the message says something else, and what precedes an
//! answer is what the template writes when it is asked for the start of one.

use std::ops::Range;

use minijinja::value::{Value, ValueKind};

use super::ChatTemplate;
use super::values::{fields, part, set};
use crate::text::formats::Conversation;

impl ChatTemplate {
    /// Returns the byte ranges of `text`, the rendered conversation, that the assistant says. Each turn includes what
    /// ends it. Turns that begin at or after the byte `horizon` may be left out.
    pub fn assistant_spans(&self, conversation: &Conversation, text: &str, horizon: usize) -> Vec<Range<usize>> {
        let mut spans: Vec<Range<usize>> = Vec::new();
        let placeholder = unused_char(text);
        let Ok(messages) = self.habits.prepare(&conversation.messages) else { return spans };
        for at in 0..messages.len() {
            if conversation.learnt.get(at) != Some(&true) {
                continue;
            }
            let previous_end = spans.last().map_or(0, |span| span.end);
            let Some(turn) = self.turn(conversation, &messages, at, text, placeholder) else { continue };
            if turn.start >= horizon {
                break;
            }
            let start = turn.start.max(previous_end);
            if start < turn.end {
                spans.push(start..turn.end);
            }
        }
        spans
    }

    /// One turn; None if the template does not write the message.
    fn turn(
        &self,
        conversation: &Conversation,
        messages: &[Value],
        at: usize,
        text: &str,
        placeholder: char,
    ) -> Option<Range<usize>> {
        let render = |messages: &[Value], prompt| self.render(messages, Some(conversation), prompt).ok();
        let (before, _) = messages.split_at_checked(at)?;
        let (through, after) = messages.split_at_checked(at.saturating_add(1))?;
        let other = with_content(through.last()?, &placeholder.to_string());
        let changed_through = [before, &[other]].concat();
        let changed = [changed_through.as_slice(), after].concat();
        let content = render(&changed, false).and_then(|changed| difference(text, &changed));

        // The model has to produce everything after the generation prompt, including what the template itself adds.
        let prompt = render(before, true).filter(|prompt| text.starts_with(prompt.as_str()));
        let prompt = prompt.filter(|prompt| render(before, false).is_some_and(|without| without != *prompt));
        let prompt_end =
            prompt.map(|prompt| prompt.len()).filter(|end| content.as_ref().is_none_or(|content| *end <= content.end));
        let start = prompt_end.or(content.as_ref().map(|content| content.start))?;

        let end = match content {
            Some(content) => {
                let tail = render(&changed_through, false)
                    .and_then(|t| t.rsplit_once(placeholder).map(|(_, tail)| tail.to_owned()));
                let rest = text.get(content.end..)?;
                let shared = common_prefix(rest, &tail.unwrap_or_default());
                content.end.checked_add(ending(rest.get(..shared)?))?
            }
            // The template does not write the content, but it may write something else, such as a tool call.
            None => render(through, false).filter(|through| text.starts_with(through.as_str())).map(|t| ending(&t))?,
        };
        Some(start..end)
    }
}

/// The message with its content replaced, by parts if it has parts.
fn with_content(message: &Value, content: &str) -> Value {
    let has_parts = message.get_attr("content").is_ok_and(|content| content.kind() == ValueKind::Seq);
    let content = if has_parts { Value::from(vec![part(content)]) } else { Value::from(content) };
    let mut fields = fields(message);
    set(&mut fields, "content", content);
    fields.into_iter().collect()
}

/// A character of the private use area that does not occur in `text`.
fn unused_char(text: &str) -> char {
    ('\u{e000}'..='\u{f8ff}').find(|c| !text.contains(*c)).unwrap_or('\u{e000}')
}

/// The byte range in which `text` differs from `other`; None if they are equal.
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

/// How many bytes of what a template writes after a message belong to the turn: all except trailing white space, unless
/// there is nothing else.
fn ending(tail: &str) -> usize {
    let trimmed = tail.trim_end().len();
    if trimmed == 0 { tail.len() } else { trimmed }
}
