//! The tokenizer of a GGUF file as the files of a checkpoint: tokenizer.json, tokenizer_config.json with the chat
//! template, and generation_config.json.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value, json};

use super::refusal;
use super::split::{LLAMA3, QWEN2};
use crate::error::Result;

/// The most tokens, and the most that are not made by merging: each of those takes a kilobyte while it is read.
const MOST_TOKENS: usize = 1_000_000;
const MOST_SPECIAL: usize = 1 << 16;
/// Kinds of tokens, as llama.cpp counts them.
const UNKNOWN: u64 = 2;
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;
const ADDED: [u64; 3] = [UNKNOWN, CONTROL, USER_DEFINED];
/// The names of the ways to split text that are known.
const KNOWN: &str = "gpt-2, smollm, llama-bpe (llama3, llama-v3) and qwen2 (deepseek-r1-qwen)";

/// Three files, as the bytes that a checkpoint has on disk.
pub struct GgufTokenizer {
    pub tokenizer: Vec<u8>,
    pub tokenizer_config: Vec<u8>,
    pub generation_config: Vec<u8>,
}

/// How a family splits text into the pieces that are merged.
pub(super) struct Splitting {
    pub normalizer: Value,
    pub pre_tokenizer: Value,
    /// A piece that is a token is that token, whatever the merges would make of it.
    pub ignore_merges: bool,
    /// Texts begin with the token for it unless the file says otherwise.
    begins: bool,
}

impl GgufTokenizer {
    /// Errors: `Tokenizer` for a kind of tokenizer or a way to split text that is not known.
    pub fn new(metadata: &BTreeMap<String, Value>) -> Result<GgufTokenizer> {
        let own = |key: &str| metadata.get(&format!("tokenizer.ggml.{key}"));
        let word = |key: &str| own(key).and_then(Value::as_str).unwrap_or("(none)");
        if word("model") != "gpt2" {
            return Err(refusal(format!("`tokenizer.ggml.model` is {:?}; `gpt2` is read", word("model"))));
        }
        let Some(splitting) = splitting(word("pre")) else {
            return Err(refusal(format!("`tokenizer.ggml.pre` is {:?}; {KNOWN} are known", word("pre"))));
        };
        let list = |key: &str| {
            let list = own(key).and_then(Value::as_array);
            list.ok_or_else(|| refusal(format!("the metadata has no list `tokenizer.ggml.{key}`")))
        };
        let (tokens, kinds) = (list("tokens")?, list("token_type")?);
        let tokens: Option<Vec<&str>> = tokens.iter().map(Value::as_str).collect();
        let Some(tokens) = tokens.filter(|tokens| tokens.len() == kinds.len()) else {
            return Err(refusal(
                "`tokenizer.ggml.tokens` and `token_type` are not lists of words and their kinds".into(),
            ));
        };
        let special = kinds.iter().filter(|kind| kind.as_u64().is_some_and(|kind| ADDED.contains(&kind))).count();
        if tokens.len() > MOST_TOKENS || special > MOST_SPECIAL {
            let limits = format!("at most {MOST_TOKENS} and {MOST_SPECIAL} are read");
            return Err(refusal(format!("it has {} tokens, {special} of them special; {limits}", tokens.len())));
        }
        let mut names = HashSet::new();
        if let Some(twice) = tokens.iter().find(|token| !names.insert(**token)) {
            return Err(refusal(format!("two of its tokens are {twice:?}")));
        }
        let token = |key: &str| {
            let Some(id) = own(&format!("{key}_token_id")) else { return Ok(None) };
            let found = id.as_u64().and_then(|id| Some((id, *tokens.get(usize::try_from(id).ok()?)?)));
            found.map(Some).ok_or_else(|| refusal(format!("`tokenizer.ggml.{key}_token_id` = {id} is no token")))
        };
        let (begin, end) = (token("bos")?, token("eos")?);
        let added: Vec<Value> = (0_u64..)
            .zip(tokens.iter().zip(kinds))
            .filter_map(|(id, (token, kind))| {
                let kind = kind.as_u64().filter(|kind| ADDED.contains(kind))?;
                Some(json!({
                    "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": kind != USER_DEFINED,
                }))
            })
            .collect();
        let asked = |key: &str, usual: bool| match own(key) {
            None => Ok(usual),
            Some(value) => value
                .as_bool()
                .ok_or_else(|| refusal(format!("`tokenizer.ggml.{key}` is {value}, neither true nor false"))),
        };
        let (begins, ends) = (asked("add_bos_token", splitting.begins)?, asked("add_eos_token", false)?);
        let (before, after) = (begin.filter(|_| begins), end.filter(|_| ends));
        let byte_level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true });
        let vocabulary: Map<String, Value> =
            (0_u64..).zip(&tokens).map(|(id, token)| (token.to_string(), id.into())).collect();
        let tokenizer = json!({
            "version": "1.0",
            "added_tokens": added,
            "normalizer": splitting.normalizer,
            "pre_tokenizer": splitting.pre_tokenizer,
            "post_processor": surrounding(before, after),
            "decoder": byte_level,
            "model": {
                "type": "BPE",
                "ignore_merges": splitting.ignore_merges,
                "vocab": vocabulary,
                "merges": list("merges")?,
            },
        });
        let mut names = Map::new();
        for (key, token) in [("bos_token", begin), ("eos_token", end)] {
            names.extend(token.map(|(_, token)| (key.to_string(), token.into())));
        }
        names.extend(metadata.get("tokenizer.chat_template").map(|it| ("chat_template".to_string(), it.clone())));
        let ends: Vec<u64> = [end, token("eot")?].into_iter().flatten().map(|(id, _)| id).collect();
        Ok(GgufTokenizer {
            tokenizer: tokenizer.to_string().into_bytes(),
            tokenizer_config: Value::from(names).to_string().into_bytes(),
            generation_config: json!({ "eos_token_id": ends }).to_string().into_bytes(),
        })
    }
}

pub(super) fn splitting(name: &str) -> Option<Splitting> {
    let byte_level =
        |use_regex: bool| json!({ "type": "ByteLevel", "add_prefix_space": false, "use_regex": use_regex });
    let sequence =
        |first: Value, use_regex: bool| json!({ "type": "Sequence", "pretokenizers": [first, byte_level(use_regex)] });
    let split = |regex: &str| {
        let pattern = json!({ "Regex": regex });
        sequence(json!({ "type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": false }), false)
    };
    let digits = json!({ "type": "Digits", "individual_digits": true });
    let (normalizer, pre_tokenizer, is_llama) = match name {
        "gpt-2" => (Value::Null, byte_level(true), false),
        "smollm" => (Value::Null, sequence(digits, true), false),
        "llama-bpe" | "llama3" | "llama-v3" => (Value::Null, split(LLAMA3), true),
        "qwen2" | "deepseek-r1-qwen" => (json!({ "type": "NFC" }), split(QWEN2), false),
        _ => return None,
    };
    Some(Splitting { normalizer, pre_tokenizer, ignore_merges: is_llama, begins: is_llama })
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
