//! Where a long text may be cut so that its pieces give the same ids as the whole.

/// The rule for where a text may be cut.
///
/// All patterns match from left to right, never look back, and look ahead by one character in `\s+(?!\S)` only. A cut
/// is safe if no match in the whole text spans it, and if the match before it ends there in the piece as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// GPT-2's pattern: only a run of white space has white space after its first character, so a match ends before
    /// every run. The text before the cut does not end in white space, so the look-ahead does not see the cut.
    BeforeSpace,
    /// Llama 3's pattern and its like: the same, but punctuation also matches the line ends that follow it, in some of
    /// them with slashes in between. Such a match never goes past the last of these, and a run that contains a line
    /// end is matched before the look-ahead is tried.
    BeforeSpaceAfterLine,
    /// A line end begins a token that nothing merges with (`json::File::lines_are_apart`). Only after a `>` it may
    /// belong to an added token.
    LineEnd,
}

impl Cut {
    /// Returns the first byte at or after `least` where `text` may be cut. None if the text is shorter than twice
    /// `least` or cannot be cut.
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
                (before_space && !line_end(right)) || (line_end(left) && !right.is_whitespace() && right != '/')
            }
            Cut::LineEnd => !left.is_whitespace() && left != '>' && right == '\n',
        }
    }
}
