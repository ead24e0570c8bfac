//! The tokenizer of a GGUF file as the files of a checkpoint: tokenizer.json, tokenizer_config.json with the chat
//! template, and generation_config.json.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value, json};

use super::splitting::{byte_level, sentence_piece};
use super::{pieces, refusal};
use crate::error::Result;

/// The most tokens, and the most that are not made by merging: each of those takes a kilobyte while it is read.
const MOST_TOKENS: usize = 1_000_000;
const MOST_SPECIAL: usize = 1 << 16;
/// Kinds of tokens, as llama.cpp counts them.
pub const NORMAL: u64 = 1;
pub const UNKNOWN: u64 = 2;
pub const CONTROL: u64 = 3;
pub const USER_DEFINED: u64 = 4;
pub const UNUSED: u64 = 5;
pub const BYTE: u64 = 6;
const ADDED: [u64; 3] = [UNKNOWN, CONTROL, USER_DEFINED];
/// Phi-3's special tokens that keep the white space after them, and another by which llama.cpp knows a Phi-3.
pub const PHI3_ENDS: &str = "</s>";
pub const PHI3_KEEPS: [&str; 3] = ["<unk>", "<s>", "<|endoftext|>"];

/// Three files, as the bytes that a checkpoint has on disk.
pub struct GgufTokenizer {
    pub tokenizer: Vec<u8>,
    pub tokenizer_config: Vec<u8>,
    pub generation_config: Vec<u8>,
}

/// The metadata's keys that begin with `tokenizer.ggml.`.
struct Keys<'a>(&'a BTreeMap<String, Value>);

impl Keys<'_> {
    fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(&format!("tokenizer.ggml.{key}"))
    }

    fn word(&self, key: &str) -> &str {
        self.get(key).and_then(Value::as_str).unwrap_or("(none)")
    }

    fn flag(&self, key: &str, usual: bool) -> Result<bool> {
        let Some(value) = self.get(key) else { return Ok(usual) };
        let asked = value.as_bool();
        asked.ok_or_else(|| refusal(format!("`tokenizer.ggml.{key}` is {value}, neither true nor false")))
    }

    fn list(&self, key: &str) -> Result<&Vec<Value>> {
        let list = self.get(key).and_then(Value::as_array);
        list.ok_or_else(|| refusal(format!("the metadata has no list `tokenizer.ggml.{key}`")))
    }

    /// The tokens and their kinds.
    fn vocabulary(&self, has_scores: bool) -> Result<(Vec<String>, &[Value])> {
        let (tokens, kinds) = (self.list("tokens")?, self.list("token_type")?);
        let special = kinds.iter().filter(|kind| ADDED.iter().any(|added| **kind == *added)).count();
        if tokens.len() > MOST_TOKENS || special > MOST_SPECIAL {
            let limits = format!("at most {MOST_TOKENS} and {MOST_SPECIAL} are read");
            return Err(refusal(format!("it has {} tokens, {special} of them special; {limits}", tokens.len())));
        }
        // llama.cpp's converter writes the spaces of SentencePiece as they are where a user defined the token.
        let spelt = |(token, kind): (&Value, &Value)| match token.as_str()? {
            token if has_scores && *kind == USER_DEFINED => Some(token.replace(' ', "▁")),
            token => Some(token.to_string()),
        };
        let spelt: Option<Vec<String>> = tokens.iter().zip(kinds).map(spelt).collect();
        let Some(spelt) = spelt.filter(|_| tokens.len() == kinds.len()) else {
            return Err(refusal(
                "`tokenizer.ggml.tokens` and `token_type` are not lists of words and their kinds".into(),
            ));
        };
        let mut names = HashSet::new();
        match spelt.iter().find(|token| !names.insert(token.as_str())) {
            Some(twice) => Err(refusal(format!("two of its tokens are {twice:?}"))),
            None => Ok((spelt, kinds)),
        }
    }

    /// The merges that the scores of a SentencePiece vocabulary stand for.
    fn scored_merges(&self, tokens: &[String], kinds: &[Value]) -> Result<Vec<Value>> {
        // What a user defined is found first.
        let score = |(score, kind): (&Value, &Value)| match *kind == USER_DEFINED {
            true => Some(f64::MAX),
            false => score.as_f64(),
        };
        let scores: Option<Vec<f64>> = self.list("scores")?.iter().zip(kinds).map(score).collect();
        let Some(scores) = scores.filter(|scores| scores.len() == tokens.len()) else {
            return Err(refusal("`tokenizer.ggml.scores` is no list of a number for each token".into()));
        };
        Ok(pieces::merges(tokens, &scores).map_err(refusal)?.into_iter().map(Value::from).collect())
    }
}

impl GgufTokenizer {
    /// Errors: `Tokenizer` for a kind of tokenizer or a way to split text that is not known.
    pub fn new(metadata: &BTreeMap<String, Value>) -> Result<GgufTokenizer> {
        let keys = Keys(metadata);
        let (splitting, has_scores) = match keys.word("model") {
            "gpt2" => {
                let pre = keys.word("pre");
                let unknown = |known| refusal(format!("`tokenizer.ggml.pre` is {pre:?}; known are {known}"));
                (byte_level(pre).map_err(unknown)?, false)
            }
            // SentencePiece, which has scores in place of merges.
            "llama" => (sentence_piece(keys.flag("add_space_prefix", true)?), true),
            other => return Err(refusal(format!("`tokenizer.ggml.model` is {other:?}; `gpt2` and `llama` are read"))),
        };
        let changes = ["remove_extra_whitespaces", "precompiled_charsmap"];
        if let Some(key) = changes.iter().find(|key| keys.get(key).is_some_and(|value| *value != false)) {
            return Err(refusal(format!("`tokenizer.ggml.{key}` is set, which is not supported")));
        }
        let (tokens, kinds) = keys.vocabulary(has_scores)?;
        let token = |key: &str| {
            let Some(id) = keys.get(&format!("{key}_token_id")) else { return Ok(None) };
            let found = id.as_u64().and_then(|id| Some((id, tokens.get(usize::try_from(id).ok()?)?.as_str())));
            found.map(Some).ok_or_else(|| refusal(format!("`tokenizer.ggml.{key}_token_id` = {id} is no token")))
        };
        let (begin, end) = (token("bos")?, token("eos")?);
        let is_phi3 = has_scores && metadata.get("general.architecture").is_some_and(|name| name == "phi3");
        let added: Vec<Value> = (0_u64..)
            .zip(tokens.iter().zip(kinds))
            .filter_map(|(id, (token, kind))| {
                let kind = kind.as_u64().filter(|kind| ADDED.contains(kind))?;
                Some(json!({
                    "id": id, "content": token, "single_word": false, "lstrip": false,
                    "rstrip": is_phi3 && takes_space(token),
                    "normalized": false, "special": kind != USER_DEFINED,
                }))
            })
            .collect();
        let (begins, ends) = (keys.flag("add_bos_token", splitting.begins)?, keys.flag("add_eos_token", false)?);
        let (before, after) = (begin.filter(|_| begins), end.filter(|_| ends));
        let unknown = tokens.iter().zip(kinds).find(|(_, kind)| has_scores && **kind == UNKNOWN);
        let merges = if has_scores { keys.scored_merges(&tokens, kinds)? } else { keys.list("merges")?.clone() };
        let vocabulary: Map<String, Value> =
            (0_u64..).zip(&tokens).map(|(id, token)| (token.to_string(), id.into())).collect();
        let tokenizer = json!({
            "version": "1.0",
            "added_tokens": added,
            "normalizer": splitting.normalizer,
            "pre_tokenizer": splitting.pre_tokenizer,
            "post_processor": surrounding(before, after),
            "decoder": splitting.decoder,
            "model": {
                "type": "BPE",
                "unk_token": unknown.map(|(token, _)| token),
                "fuse_unk": has_scores,
                "byte_fallback": has_scores,
                "ignore_merges": splitting.ignore_merges,
                "vocab": vocabulary,
                "merges": Value::Array(merges),
            },
        });
        // Whatever the family, transformers shall take the tokenizer as it is.
        let mut names = Map::from_iter([("tokenizer_class".to_string(), "PreTrainedTokenizerFast".into())]);
        let unknown_token = token("unknown")?.map(|(_, token)| token).or(unknown.map(|(token, _)| token.as_str()));
        let [begin_token, end_token, padding] = [begin, end, token("padding")?].map(|it| it.map(|(_, token)| token));
        let pairs = [
            ("bos_token", begin_token),
            ("eos_token", end_token),
            ("pad_token", padding),
            ("unk_token", unknown_token),
        ];
        for (key, token) in pairs {
            names.extend(token.map(|token| (key.to_string(), token.into())));
        }
        names.extend(metadata.get("tokenizer.chat_template").map(|it| ("chat_template".to_string(), it.clone())));
        let ends: Vec<u64> = [end, token("eot")?].into_iter().flatten().map(|(id, _)| id).collect();
        Ok(GgufTokenizer {
            tokenizer: tokenizer.to_string().into_bytes(),
            tokenizer_config: Value::from(names).to_string().into_bytes(),
            generation_config: json!({ "eos_token_id": (!ends.is_empty()).then_some(ends) }).to_string().into_bytes(),
        })
    }
}

/// Whether one of Phi-3's special tokens takes the white space after it, which no file says.
pub fn takes_space(token: &str) -> bool {
    !PHI3_KEEPS.contains(&token)
}

/// What puts tokens around a text.
fn surrounding(before: Option<(u64, &str)>, after: Option<(u64, &str)>) -> Value {
    let special = |(_, token): (u64, &str)| json!({ "SpecialToken": { "id": token, "type_id": 0 } });
    let text = json!({ "Sequence": { "id": "A", "type_id": 0 } });
    let single: Vec<Value> = before.map(special).into_iter().chain([text]).chain(after.map(special)).collect();
    let tokens: Map<String, Value> = [before, after]
        .into_iter()
        .flatten()
        .map(|(id, token)| (token.to_string(), json!({ "id": token, "ids": [id], "tokens": [token] })))
        .collect();
    match tokens.is_empty() {
        true => Value::Null,
        false => json!({ "type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": tokens }),
    }
}
