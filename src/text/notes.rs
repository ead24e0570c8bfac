//! What was noticed while the records of a file were read, said once for all of them.

use std::collections::BTreeSet;

use super::records::quoted;
use crate::warning::Warning;

/// How many keys a warning names.
const MOST_NAMED: usize = 8;

#[derive(Debug, Default)]
pub struct Notes {
    /// Keys of records that no form of example has.
    pub unread: BTreeSet<String>,
    /// Records that were written as Alpaca prompts.
    pub tasks: usize,
    /// Messages that are marked to be learnt but are not the assistant's, or belong to a prompt.
    pub marked_in_vain: usize,
}

impl Notes {
    pub fn warnings(self, name: &str) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let mut warn = |happened: bool, code, message: String| {
            if happened {
                warnings.push(Warning { code, message: format!("`{name}`: {message}") });
            }
        };
        let named: Vec<&str> = self.unread.iter().map(String::as_str).take(MOST_NAMED).collect();
        let more = self.unread.len().saturating_sub(named.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let keys = quoted(&named, ", ");
        warn(!named.is_empty(), "keys_not_read", format!("nothing is learnt from the columns or keys {keys}{more}"));
        let tasks = self.tasks;
        let alpaca = format!(
            "{tasks} records of `instruction` and `output` are written as Alpaca prompts, and that is how the model \
             has to be asked; give `prompt` and `completion` for another form"
        );
        warn(tasks > 0, "alpaca_prompt", alpaca);
        let marked = self.marked_in_vain;
        let only = format!(
            "{marked} messages are marked to be trained on but are not the assistant's or belong to a prompt; they \
             are read, not learnt"
        );
        warn(marked > 0, "mark_not_honoured", only);
        warnings
    }
}
