//! Whether a text says the same again and again: a model that is trained on it learns little else than to repeat it.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::rows::Row;
use crate::warning::Warning;

/// The length of the passages that are compared, in tokens: longer than most phrases, shorter than most sentences.
const PASSAGE: usize = 8;
/// Shorter texts have too few passages to say.
const FEWEST: usize = 200;
/// Of a longer text, so many passages tell enough.
const MOST: usize = 200_000;
/// Below this share of different passages a text repeats itself. Measured with the embedded tokenizer: books have 0.88
/// (Shakespeare, with the names of the speakers) to 0.99, records whose lines share most of their words 0.33 to 0.77; a
/// text that is there five times has 0.2, ten times 0.1.
const FEW_DIFFERENT: f64 = 0.15;

/// Looks at the tokens that carry loss: prompts may well be alike.
pub fn repeats(rows: &[Row]) -> Option<Warning> {
    let (mut different, mut all) = (HashSet::new(), 0usize);
    for row in rows {
        let learnt: Vec<u32> =
            row.ids.iter().skip(1).zip(&row.labels).filter(|(_, label)| **label).map(|(id, _)| *id).collect();
        for passage in learnt.windows(PASSAGE) {
            let mut hasher = DefaultHasher::new();
            passage.hash(&mut hasher);
            different.insert(hasher.finish());
            all = all.saturating_add(1);
        }
        if all >= MOST {
            break;
        }
    }
    let share = different.len() as f64 / all as f64;
    let message = format!(
        "the text repeats itself: of {all} passages of {PASSAGE} tokens only {} differ, so the model learns to repeat \
         them and little else",
        different.len()
    );
    (all >= FEWEST && share < FEW_DIFFERENT).then_some(Warning { code: "repeats_itself", message })
}
