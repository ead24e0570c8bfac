//! Long texts in pieces: where a text may be cut so that the pieces give the ids of the whole.

/// Where a text may be cut so that the parts give the ids of the whole.
///
/// Both patterns read from left to right, never look back, and look ahead by one character in `\s+(?!\S)` only. A cut
/// is safe if no match of the whole reaches over it, and if what ends there ends there by itself too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// GPT-2's pattern: nothing but a run of white space has white space after its first character, so a match ends
    /// before every run. The text before the cut ends in no white space, so the look-ahead does not see the cut.
    BeforeSpace,
    /// Llama 3's and Qwen's: the same, but punctuation takes the line ends that follow it. Those never go on after the
    /// last line end of a run, and a run with a line end in it is taken before the look-ahead comes to it.
    BeforeSpaceAfterLine,
}

impl Cut {
    /// The first place at or after byte `least` where `text` may be cut; none if there is not twice as much of it.
    pub fn after(self, text: &str, least: usize) -> Option<usize> {
        let least = least.max(1);
        if text.len() / 2 < least {
            return None;
        }
        let start = (least..).find(|at| text.is_char_boundary(*at))?;
        let (before, after) = text.split_at_checked(start)?;
        let mut left = before.chars().next_back()?;
        for (offset, right) in after.char_indices() {
            if self.allows(left, right) {
                return start.checked_add(offset);
            }
            left = right;
        }
        None
    }

    fn allows(self, left: char, right: char) -> bool {
        let line_end = |c| matches!(c, '\r' | '\n');
        let before_space = !left.is_whitespace() && right.is_whitespace();
        match self {
            Cut::BeforeSpace => before_space,
            Cut::BeforeSpaceAfterLine => {
                (before_space && !line_end(right)) || (line_end(left) && !right.is_whitespace())
            }
        }
    }
}
