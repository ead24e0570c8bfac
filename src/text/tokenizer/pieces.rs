//! The merges of a SentencePiece vocabulary, whose file has scores in place of them: two pieces are joined if what they
//! make is a piece, and the highest score goes first. And the scores that stand for merges.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

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

/// The scores that stand for merges: the earlier a piece is made, the higher is its own, which is below 0. `is_found`
/// tells the pieces that are found before any is made, for which merges do not matter; nor does the order of those that
/// make the same piece. `None`: no scores give these merges.
pub fn scores(pieces: &[String], is_found: &dyn Fn(usize) -> bool, given: &[String]) -> Option<Vec<f64>> {
    let found: HashSet<&str> =
        pieces.iter().enumerate().filter(|(at, _)| is_found(*at)).map(|(_, piece)| piece.as_str()).collect();
    let made = |merge: &str| merge.replacen(' ', "", 1);
    let matters = |merge: &&String| !found.contains(made(merge).as_str());
    let (mut orders, mut last) = (HashMap::new(), String::new());
    for merge in given.iter().filter(matters) {
        let piece = made(merge);
        if piece == last {
            continue;
        }
        let order = orders.len().saturating_add(1);
        if orders.insert(piece.clone(), order).is_some() {
            return None;
        }
        last = piece;
    }
    let lowest = orders.len().saturating_add(1);
    let scores: Vec<f64> = pieces.iter().map(|piece| -(orders.get(piece).copied().unwrap_or(lowest) as f64)).collect();
    let own = merges(pieces, &scores).ok()?;
    let set = |merges: &[String]| merges.iter().filter(matters).cloned().collect::<HashSet<String>>();
    (set(&own) == set(given)).then_some(scores)
}
