//! The files of a tokenizer as the metadata of a GGUF file.

use serde_json::{Map, Value};

use super::splitting::byte_level;
use super::{Tokenizer, TokenizerFiles, refusal};
use crate::error::{Error, Result};
use crate::files::gguf_writer::{Field, Metadata};
use crate::files::json;
use crate::warning::Warning;

/// The names of the ways to split text that are written.
const WRITTEN: [&str; 8] = ["gpt-2", "smollm", "llama-bpe", "smaug-bpe", "qwen2", "gpt-4o", "tekken", "deepseek-v3"];
/// Kinds of tokens, as llama.cpp counts them. An id without a token is unused.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;

/// The metadata of the tokenizer of a model with so many tokens. Errors: those of [`Tokenizer::from_files`]; `NotYet`
/// for a tokenizer that does not merge bytes, or splits text in a way that has no name here.
pub fn metadata(files: &TokenizerFiles, vocabulary: usize) -> Result<(Metadata, Vec<Warning>)> {
    let read = Tokenizer::from_files(files)?;
    let file: Value = json::read(files.tokenizer).map_err(refusal)?;
    let config: Value = files.tokenizer_config.map_or(Ok(Value::Null), json::read).map_err(refusal)?;
    let model = file.get("model").cloned().unwrap_or_default();
    let own = |key: &str, field: Field| (format!("tokenizer.ggml.{key}"), field);
    let (tokens, kinds) = tokens(&read, &model, vocabulary)?;
    let mut metadata = vec![
        own("model", Field::Word("gpt2".to_string())),
        own("pre", Field::Word(way_to_split(&file, &model)?.to_string())),
        own("token_type", Field::I32s(kinds)),
        own("merges", Field::Words(merges(&model)?)),
    ];

    // What a text begins with is written as the one token for it.
    let named = config.get("bos_token").and_then(content);
    let named = named.and_then(|name| tokens.iter().position(|token| token == name)).map(|id| id as u32);
    let (begin, begins) = match read.parts.before.as_slice() {
        [] => (named, false),
        [id] => (Some(*id), true),
        _ => return Err(not_yet("which begins texts with several tokens")),
    };
    let end = read.ends.first().copied();
    let ends = match read.parts.after.as_slice() {
        [] => false,
        [id] if Some(*id) == end => true,
        _ => return Err(not_yet("which ends texts with other tokens than the one for it")),
    };
    let mut warnings = Vec::new();
    if read.ends.len() > 2 {
        let message = format!(
            "of the {} tokens that end a text, a GGUF file names two; llama.cpp knows usual ones by their names",
            read.ends.len()
        );
        warnings.push(Warning { code: "ends", message });
    }
    metadata.push(own("tokens", Field::Words(tokens)));
    metadata.push(own("add_bos_token", Field::Bool(begins)));
    metadata.push(own("add_eos_token", Field::Bool(ends)));
    for (key, id) in [("bos", begin), ("eos", end), ("eot", read.ends.get(1).copied())] {
        metadata.extend(id.map(|id| own(&format!("{key}_token_id"), Field::U32(id))));
    }
    let template = match files.chat_template {
        Some(text) => Some(String::from_utf8_lossy(text).into_owned()),
        None => config.get("chat_template").and_then(template).map(str::to_string),
    };
    metadata.extend(template.map(|text| ("tokenizer.chat_template".to_string(), Field::Word(text))));
    Ok((metadata, warnings))
}

fn not_yet(which: &str) -> Error {
    Error::NotYet { what: format!("a GGUF file of a model with a tokenizer {which},") }
}

/// A special token is a text, or an object that holds it.
fn content(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token.get("content")?.as_str())
}

/// One template, or the default one of several.
fn template(found: &Value) -> Option<&str> {
    let is_default = |one: &&Value| one.get("name").is_some_and(|name| name == "default");
    found.as_str().or_else(|| found.as_array()?.iter().find(is_default)?.get("template")?.as_str())
}

/// The tokens by their ids, and their kinds.
fn tokens(read: &Tokenizer, model: &Value, vocabulary: usize) -> Result<(Vec<String>, Vec<i32>)> {
    let mut tokens: Vec<String> = (0..vocabulary).map(|id| format!("[PAD{id}]")).collect();
    let mut kinds = vec![UNUSED; vocabulary];
    let none = Map::new();
    let plain = model.get("vocab").and_then(Value::as_object).unwrap_or(&none);
    let plain = plain.iter().map(|(token, id)| (token.as_str(), id.as_u64().unwrap_or(u64::MAX), NORMAL));
    // Those that only tokenizer_config.json names are among them.
    let added = read.parts.inner.get_added_vocabulary().get_added_tokens_decoder();
    let added = added.iter().map(|(id, token)| {
        (token.content.as_str(), u64::from(*id), if token.special { CONTROL } else { USER_DEFINED })
    });
    for (token, id, kind) in plain.chain(added) {
        let place = usize::try_from(id).ok();
        let Some((slot, own)) = place.and_then(|at| Some((tokens.get_mut(at)?, kinds.get_mut(at)?))) else {
            return Err(refusal(format!("token {token:?} has the id {id}, the model has {vocabulary} tokens")));
        };
        *slot = token.to_string();
        *own = kind;
    }
    Ok((tokens, kinds))
}

/// `a b` for each pair that is merged.
fn merges(model: &Value) -> Result<Vec<String>> {
    let merges = model.get("merges").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let pair = |merge: &Value| match merge {
        Value::Array(pair) => match pair.as_slice() {
            [Value::String(left), Value::String(right)] => Some(format!("{left} {right}")),
            _ => None,
        },
        other => other.as_str().map(str::to_string),
    };
    let merges: Option<Vec<String>> = merges.iter().map(pair).collect();
    merges.ok_or_else(|| refusal("its merges are not pairs of texts".to_string()))
}

/// What llama.cpp calls the way in which this tokenizer splits text.
fn way_to_split(file: &Value, model: &Value) -> Result<&'static str> {
    let is_true = |key: &str| model.get(key).is_some_and(|value| *value == true);
    let found = |key: &str| usual(file.get(key).unwrap_or(&Value::Null));
    let same = |name: &&str| {
        byte_level(name).is_ok_and(|way| {
            let parts = [("normalizer", &way.normalizer), ("pre_tokenizer", &way.pre_tokenizer)];
            parts.iter().all(|(key, part)| found(key) == usual(part)) && way.ignore_merges == is_true("ignore_merges")
        })
    };
    let way = WRITTEN.into_iter().find(same).filter(|_| !is_true("byte_fallback"));
    way.ok_or_else(|| not_yet(&format!("that splits text otherwise than {}", WRITTEN.join(", "))))
}

/// A part of tokenizer.json without what changes nothing, and with what it leaves out.
fn usual(part: &Value) -> Value {
    let Value::Object(fields) = part else { return part.clone() };
    let mut fields = fields.clone();
    fields.remove("trim_offsets");
    if fields.get("type").is_some_and(|kind| kind == "ByteLevel") {
        fields.entry("use_regex").or_insert(true.into());
    }
    for key in ["pretokenizers", "normalizers"] {
        match fields.get_mut(key).and_then(Value::as_array_mut).map(Vec::as_mut_slice) {
            Some([only]) => return usual(only),
            Some(parts) => parts.iter_mut().for_each(|part| *part = usual(part)),
            None => {}
        }
    }
    fields.into()
}
