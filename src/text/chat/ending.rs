//! What a chat template writes after the words of the assistant. A model that learnt conversations stops there.

use super::ChatTemplate;
use crate::text::formats::Conversation;
use crate::text::records::message;

/// A character that no template writes by itself.
const PLACEHOLDER: &str = "\u{e000}";

impl ChatTemplate {
    /// The text that follows what the assistant says, up to the end of the rendering. `None` if the template does not
    /// render a question and its answer.
    pub fn turn_end(&self) -> Option<String> {
        let mut conversation = Conversation::of_user("Hi", None);
        conversation.messages.push(message("assistant", PLACEHOLDER));
        let text = self.text(&conversation, false).ok()?;
        text.rsplit_once(PLACEHOLDER).map(|(_, tail)| tail.to_owned())
    }
}
