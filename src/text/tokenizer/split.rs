//! `Split`, which cuts a text into the pieces that are merged. Its regular expressions are those of the known families,
//! spelt as in their files. A file only chooses among these: no expression from a file is ever compiled.

use serde::Deserialize;
use tokenizers::SplitDelimiterBehavior::{self, Isolated, MergedWithPrevious, Removed};
use tokenizers::pre_tokenizers::split as p;

use super::parts::Pattern;

pub const LLAMA3: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|",
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
pub const QWEN2: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|",
    r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// OpenAI's.
pub const O200K: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
/// Mistral's.
pub const TEKKEN: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|",
    r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
/// The last of DeepSeek's three.
pub const DEEPSEEK: &str = concat!(
    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|"##,
    // Its line ends are no escapes.
    "[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"
);
/// Expressions that also split at white space, so that no piece reaches from a word into the space after it.
const WORDS: [&str; 5] = [LLAMA3, QWEN2, O200K, TEKKEN, DEEPSEEK];

/// DeepSeek's first two: digits in threes, and runs of Chinese and Japanese characters.
pub const RUNS: [&str; 2] = [r"\p{N}{1,3}", "[\u{4e00}-\u{9fa5}\u{3040}-\u{309f}\u{30a0}-\u{30ff}]+"];

#[derive(Deserialize)]
pub struct Split {
    pattern: Pattern,
    behavior: SplitDelimiterBehavior,
    invert: bool,
}

impl Split {
    pub fn build(self) -> Result<p::Split, String> {
        let is_plain = self.behavior == Isolated && !self.invert;
        let pattern = match &self.pattern {
            // Gemma's, whose normalizer has replaced every space.
            Pattern::String(text) if text == " " && self.behavior == MergedWithPrevious && !self.invert => {
                p::SplitPattern::String(text.clone())
            }
            Pattern::Regex(regex) if self.splits_words() || is_plain && RUNS.contains(&regex.as_str()) => {
                p::SplitPattern::Regex(regex.clone())
            }
            Pattern::String(text) | Pattern::Regex(text) => {
                let how = if self.invert { "inverted, " } else { "" };
                return Err(format!(
                    "it splits text by a pattern that is not supported: `{text}` ({how}{:?})",
                    self.behavior
                ));
            }
        };
        p::Split::new(pattern, self.behavior, self.invert).map_err(|e| e.to_string())
    }

    /// Whether it splits at white space.
    pub fn splits_words(&self) -> bool {
        matches!((self.behavior, self.invert), (Isolated, false) | (Removed, true))
            && matches!(&self.pattern, Pattern::Regex(regex) if WORDS.contains(&regex.as_str()))
    }
}
