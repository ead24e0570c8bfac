//! The merges of a SentencePiece vocabulary, whose file has scores in place of them: two pieces are joined if what they
//! make is a piece, and the highest score goes first.

use std::cmp::Reverse;
use std::collections::HashMap;

/// The longest piece, in bytes, and the most merges: every place where a piece can be cut is looked at.
const LONGEST: usize = 256;
const MOST_MERGES: usize = 2_000_000;

/// In the order in which they are made, each as `left right`. A piece with a space in it is never found. Errors: a
/// reason for what is beyond the limits.
pub fn merges(pieces: &[String], scores: &[f64]) -> Result<Vec<String>, String> {
    let ids: HashMap<&str, usize> = pieces.iter().map(String::as_str).zip(0..).collect();
    let mut found = Vec::new();
    for (piece, score) in pieces.iter().zip(scores) {
        if piece.len() > LONGEST {
            return Err(format!("its token {piece:?} has more than {LONGEST} bytes"));
        }
        if piece.contains(' ') {
            continue;
        }
        let cuts = piece.char_indices().skip(1).filter_map(|(at, _)| piece.split_at_checked(at));
        let pairs = cuts.filter_map(|(left, right)| Some((ids.get(left)?, ids.get(right)?, left, right)));
        let first = found.len();
        found.extend(pairs.map(|(a, b, left, right)| (*score, (*a, *b), left, right)));
        if found.len() > MOST_MERGES {
            return Err(format!("its tokens are made by more than {MOST_MERGES} merges"));
        }
        if let Some(own) = found.get_mut(first..) {
            own.sort_by_key(|(_, ids, ..)| *ids);
        }
    }
    // As `transformers` orders them where scores are the same.
    let length = |text: &str| Reverse(text.chars().count());
    found.sort_by(|(a, _, left, right), (b, _, other_left, other_right)| {
        let lengths = (length(left), length(right)).cmp(&(length(other_left), length(other_right)));
        b.total_cmp(a).then(lengths)
    });
    Ok(found.into_iter().map(|(_, _, left, right)| format!("{left} {right}")).collect())
}
