//! The tokens outside the model: those that tokenizer.json lists, and what tokenizer_config.json says about them.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Deserialize;
use tokenizers::AddedToken;
use tokenizers::models::bpe::Vocab;

use super::steps::Inner;

/// The maximum size of all added tokens together, in bytes. They become one automaton, which takes about a hundred
/// times as much memory.
const MOST_ADDED: usize = 4 << 20;

/// `added_tokens_decoder` of tokenizer_config.json.
pub type Configured = BTreeMap<u32, Added>;

#[derive(Deserialize, Clone)]
pub struct Added {
    /// In tokenizer_config.json it is the key.
    #[serde(default)]
    pub id: u32,
    pub content: String,
    #[serde(default)]
    pub single_word: bool,
    #[serde(default)]
    pub lstrip: bool,
    #[serde(default)]
    pub rstrip: bool,
    #[serde(default)]
    pub normalized: bool,
    #[serde(default)]
    pub special: bool,
}

impl Added {
    fn special(id: u32, content: &str) -> Added {
        let (single_word, lstrip, rstrip, normalized) = (false, false, false, false);
        Added { id, content: content.to_owned(), single_word, lstrip, rstrip, normalized, special: true }
    }
}

/// The tokens of both files. As in transformers, tokenizer_config.json decides how a token is found, and may add some.
pub fn merged(mut tokens: Vec<Added>, configured: &Configured) -> Result<Vec<Added>, String> {
    let known: HashMap<String, usize> = tokens.iter().map(|t| t.content.clone()).zip(0..).collect();
    for (id, token) in configured {
        let token = Added { id: *id, ..token.clone() };
        match known.get(&token.content).and_then(|at| tokens.get_mut(*at)) {
            Some(listed) if listed.id == token.id => *listed = token,
            Some(listed) => {
                return Err(format!(
                    "tokenizer_config.json gives the token `{}` the id {id}, tokenizer.json the id {}",
                    token.content, listed.id
                ));
            }
            None => tokens.push(token),
        }
    }
    Ok(tokens)
}

/// The tokens of the model that tokenizer_config.json calls special and neither file lists: transformers finds them in
/// a text too. To those that the model does not have it gives ids that have no embedding; here they are usual text.
pub fn named(tokens: &[Added], special: &[String], vocab: &Vocab) -> Vec<Added> {
    let mut known: HashSet<&str> = tokens.iter().map(|token| token.content.as_str()).collect();
    let named = special.iter().filter(|content| known.insert(content));
    let token = |content: &String| Some(Added::special(*vocab.get(content)?, content));
    named.filter_map(token).collect()
}

/// Adds the tokens to the model's. The crate numbers them itself, and its ids must equal those of the files.
pub fn add(inner: &mut Inner, tokens: Vec<Added>) -> Result<(), String> {
    if tokens.iter().map(|t| t.content.len()).fold(0, usize::saturating_add) > MOST_ADDED {
        return Err(format!("its added tokens have more than {MOST_ADDED} bytes in total"));
    }
    let mut contents = HashSet::new();
    let strips = tokens.iter().any(|t| t.lstrip || t.rstrip);
    for token in &tokens {
        if token.content.is_empty() || !contents.insert(token.content.as_str()) {
            return Err(format!("the added token `{}` is empty or appears twice", token.content));
        }
        if strips && token.content.contains(char::is_whitespace) {
            return Err(format!(
                "the added token `{}` contains white space, but an added token strips white space",
                token.content
            ));
        }
    }
    let convert = |t: &Added| AddedToken {
        content: t.content.clone(),
        single_word: t.single_word,
        lstrip: t.lstrip,
        rstrip: t.rstrip,
        normalized: t.normalized,
        special: t.special,
    };
    inner.add_tokens(tokens.iter().map(convert)).map_err(|e| e.to_string())?;
    match tokens.iter().find(|t| inner.token_to_id(&t.content) != Some(t.id)) {
        Some(token) => Err(format!("the added token `{}` cannot have the id {}", token.content, token.id)),
        None => Ok(()),
    }
}
