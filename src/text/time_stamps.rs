//! Whether the lines of a text begin with the time, as those of exported chats, logs and subtitles do: a model learns
//! to write times like everything else.

use crate::warning::Warning;

/// In shorter texts a few times do no harm.
const FEWEST: usize = 20;
/// A message may have several lines, and a subtitle has at least two besides its time.
const ONE_IN: usize = 5;
/// A date and a time are within so many characters.
const LONGEST: usize = 24;

pub fn time_stamps(name: &str, text: &str) -> Option<Warning> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let (mut all, mut stamped) = (0usize, 0usize);
    for line in lines {
        all = all.saturating_add(1);
        stamped = stamped.saturating_add(usize::from(begins_with_time(line)));
    }
    let message = format!(
        "`{name}`: {stamped} of {all} lines begin with a time, and the model learns to write times as well; take them \
         out of the file if it should not"
    );
    (stamped >= FEWEST && stamped.saturating_mul(ONE_IN) >= all).then_some(Warning { code: "time_stamps", message })
}

/// A date and a time of day, or a time with seconds. Alone, 3:16 may as well be a verse.
fn begins_with_time(line: &str) -> bool {
    let line = line.trim_start_matches(['[', '(', ' ', '\u{200e}']);
    if !line.starts_with(|c: char| c.is_ascii_digit()) {
        return false;
    }
    let begin: String = line.chars().take(LONGEST).collect();
    let is_number = |part: &str| part.starts_with(|c: char| c.is_ascii_digit());
    let mut parts = begin.split(':');
    let before = parts.next().unwrap_or_default();
    let colons = parts.take_while(|part| is_number(part)).count();
    let has_date = before.split(['.', '/', '-']).filter(|part| is_number(part)).count() == 3;
    colons >= 2 || (colons == 1 && has_date)
}
