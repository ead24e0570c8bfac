//! The files of a tokenizer as the metadata of a GGUF file.

use std::collections::HashSet;
use std::iter;

use serde_json::{Map, Value};

use super::gguf::{BYTE, CONTROL, NORMAL, PHI3_ENDS, PHI3_KEEPS, UNKNOWN, UNUSED, USER_DEFINED, takes_space};
use super::splitting::{Splitting, byte_level, sentence_piece};
use super::{Tokenizer, TokenizerFiles, pieces, refusal};
use crate::error::{Error, Result};
use crate::files::gguf_writer::{Field, Metadata};
use crate::files::json;
use crate::warning::Warning;

/// The names of the ways to split text that are written.
const WRITTEN: [&str; 8] = ["gpt-2", "smollm", "llama-bpe", "smaug-bpe", "qwen2", "gpt-4o", "tekken", "deepseek-v3"];

/// How a tokenizer makes tokens of a text.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// It merges bytes; what llama.cpp calls the way in which it splits text before.
    Bytes(&'static str),
    /// SentencePiece.
    Pieces { adds_space: bool },
}

impl Kind {
    fn is_pieces(self) -> bool {
        matches!(self, Kind::Pieces { .. })
    }
}

/// The tokens by their ids.
struct Tokens {
    names: Vec<String>,
    kinds: Vec<u64>,
}

/// What a file says about a tokenizer.
pub struct GgufMetadata {
    pub metadata: Metadata,
    pub warnings: Vec<Warning>,
    /// Its special tokens take the white space after them, as those of Phi-3 do. No key says so.
    pub takes_space: bool,
}

/// The metadata of the tokenizer of a model with so many tokens. Errors: those of [`Tokenizer::from_files`]; `NotYet`
/// for a tokenizer that merges neither bytes nor pieces, or splits text in a way that has no name here.
pub fn metadata(files: &TokenizerFiles, vocabulary: usize) -> Result<GgufMetadata> {
    let read = Tokenizer::from_files(files)?;
    let file: Value = json::read(files.tokenizer).map_err(refusal)?;
    let config: Value = files.tokenizer_config.map_or(Ok(Value::Null), json::read).map_err(refusal)?;
    let model = file.get("model").cloned().unwrap_or_default();
    let own = |key: &str, field: Field| (format!("tokenizer.ggml.{key}"), field);
    let kind = kind(&file, &model)?;
    let takes_space = checked_space(&read, files, kind)?;
    let (Tokens { names: mut tokens, kinds }, mut warnings) = tokens(&read, &model, vocabulary, kind)?;
    let merges = merges(&model)?;
    let mut metadata = match kind {
        Kind::Bytes(way) => vec![
            own("model", Field::Word("gpt2".to_string())),
            own("pre", Field::Word(way.to_string())),
            own("merges", Field::Words(merges)),
        ],
        Kind::Pieces { adds_space } => {
            let is_found = |at: usize| kinds.get(at) == Some(&USER_DEFINED);
            let Some(scores) = pieces::scores(&tokens, &is_found, &merges) else {
                return Err(not_yet("whose merges are not those of scores"));
            };
            vec![
                own("model", Field::Word("llama".to_string())),
                own("pre", Field::Word("default".to_string())),
                own("scores", Field::F32s(scores.into_iter().map(|score| score as f32).collect())),
                own("add_space_prefix", Field::Bool(adds_space)),
            ]
        }
    };
    metadata.push(own("token_type", Field::I32s(kinds.iter().map(|kind| *kind as i32).collect())));

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
    if usual(file.get("normalizer").unwrap_or(&Value::Null)).get("type").is_some_and(|kind| kind == "NFC") {
        let message = "llama.cpp does not compose characters (NFC) before it splits a text: where a letter and its \
                       accent are two characters, other tokens come out there";
        warnings.push(Warning { code: "not_composed", message: message.to_string() });
    }
    if read.ends.len() > 2 {
        let message = format!(
            "of the {} tokens that end a text, a GGUF file names two; llama.cpp knows usual ones by their names",
            read.ends.len()
        );
        warnings.push(Warning { code: "ends", message });
    }
    let unknown = kinds.iter().position(|kind| *kind == UNKNOWN).map(|id| id as u32);
    let padding = config.get("pad_token").and_then(content);
    let padding = padding.and_then(|name| tokens.iter().position(|token| token == name)).map(|id| id as u32);
    if kind.is_pieces() {
        // As llama.cpp's converter writes what a user defined.
        let own = tokens.iter_mut().zip(&kinds).filter(|(_, kind)| **kind == USER_DEFINED);
        own.for_each(|(token, _)| *token = token.replace('▁', " "));
    }
    metadata.push(own("tokens", Field::Words(tokens)));
    metadata.push(own("add_bos_token", Field::Bool(begins)));
    metadata.push(own("add_eos_token", Field::Bool(ends)));
    for (key, id) in
        [("bos", begin), ("eos", end), ("eot", read.ends.get(1).copied()), ("unknown", unknown), ("padding", padding)]
    {
        metadata.extend(id.map(|id| own(&format!("{key}_token_id"), Field::U32(id))));
    }
    let template = match files.chat_template {
        Some(text) => Some(String::from_utf8_lossy(text).into_owned()),
        None => config.get("chat_template").and_then(template).map(str::to_string),
    };
    metadata.extend(template.map(|text| ("tokenizer.chat_template".to_string(), Field::Word(text))));
    Ok(GgufMetadata { metadata, warnings, takes_space })
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

/// Whether special tokens take the white space after them. llama.cpp knows that only of Phi-3's own tokens.
fn checked_space(read: &Tokenizer, files: &TokenizerFiles, kind: Kind) -> Result<bool> {
    let config: Value = json::read(files.config).unwrap_or_default();
    let added = read.parts.inner.get_added_vocabulary().get_added_tokens_decoder();
    let has = |name: &&str| read.parts.inner.token_to_id(name).is_some();
    let is_phi3 = kind.is_pieces()
        && config.get("model_type").is_some_and(|name| name == "phi3")
        && PHI3_KEEPS.iter().chain([&PHI3_ENDS]).all(has);
    if let Some(word) = added.values().find(|token| token.single_word) {
        return Err(not_yet(&format!("whose token `{}` is found only as a whole word", word.content)));
    }
    let takes = |token: &str| is_phi3 && takes_space(token);
    match added.values().find(|token| token.lstrip || token.rstrip != takes(&token.content)) {
        Some(other) => {
            Err(not_yet(&format!("whose token `{}` takes the white space beside it, or no longer does", other.content)))
        }
        None => Ok(is_phi3),
    }
}

/// The tokens of so many ids, and what is left out.
fn tokens(read: &Tokenizer, model: &Value, vocabulary: usize, kind: Kind) -> Result<(Tokens, Vec<Warning>)> {
    let mut names = vec![String::new(); vocabulary];
    let mut kinds = vec![UNUSED; vocabulary];
    let mut put = |token: &str, id: u64, own: u64| {
        let place = usize::try_from(id).ok();
        let Some((name, slot)) = place.and_then(|at| Some((names.get_mut(at)?, kinds.get_mut(at)?))) else {
            return false;
        };
        (*name, *slot) = (token.to_string(), own);
        true
    };
    let unknown = model.get("unk_token").and_then(Value::as_str).filter(|_| kind.is_pieces());
    let none = Map::new();
    for (token, id) in model.get("vocab").and_then(Value::as_object).unwrap_or(&none) {
        let own = if kind.is_pieces() && is_byte(token) { BYTE } else { NORMAL };
        let id = id.as_u64().unwrap_or(u64::MAX);
        if !put(token, id, if unknown == Some(token) { UNKNOWN } else { own }) {
            return Err(refusal(format!("token {token:?} has the id {id}, the model has {vocabulary} tokens")));
        }
    }
    // Those that only tokenizer_config.json names are among them.
    let mut left_out = Vec::new();
    for (id, token) in read.parts.inner.get_added_vocabulary().get_added_tokens_decoder() {
        let own = if token.special { CONTROL } else { USER_DEFINED };
        if !put(&token.content, u64::from(*id), if unknown == Some(&token.content) { UNKNOWN } else { own }) {
            left_out.push(token.content.clone());
        }
    }
    let used: HashSet<String> = names.iter().cloned().collect();
    for (id, (name, kind)) in names.iter_mut().zip(&kinds).enumerate() {
        if *kind == UNUSED {
            let mut free = iter::successors(Some(format!("[PAD{id}]")), |name| Some(format!("[{name}]")));
            *name = free.find(|name| !used.contains(name)).unwrap_or_default();
        }
    }
    left_out.sort();
    let warning = (!left_out.is_empty()).then(|| Warning {
        code: "token_left_out",
        message: format!("the model has no embedding for {}, which the GGUF file does not name", left_out.join(", ")),
    });
    Ok((Tokens { names, kinds }, warning.into_iter().collect()))
}

/// `<0x0A>` and its like.
fn is_byte(token: &str) -> bool {
    let digits = token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    digits.is_some_and(|digits| digits.len() == 2 && u8::from_str_radix(digits, 16).is_ok())
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

/// How this tokenizer makes tokens of a text. Errors: `NotYet` for a way that llama.cpp has no name for.
fn kind(file: &Value, model: &Value) -> Result<Kind> {
    let is_true = |key: &str| model.get(key).is_some_and(|value| *value == true);
    let found = |key: &str| usual(file.get(key).unwrap_or(&Value::Null));
    if is_true("byte_fallback") {
        // The text that is split has no spaces in it any more.
        let splits = |way: &Splitting| [Value::Null, usual(&way.pre_tokenizer)].contains(&found("pre_tokenizer"));
        let same = |adds_space: &bool| {
            let way = sentence_piece(*adds_space);
            found("normalizer") == usual(&way.normalizer) && splits(&way) && !is_true("ignore_merges")
        };
        let adds_space = [false, true].into_iter().find(same);
        let unlike = || not_yet("of pieces that changes texts otherwise than SentencePiece does");
        return adds_space.map(|adds_space| Kind::Pieces { adds_space }).ok_or_else(unlike);
    }
    let same = |name: &&str| {
        byte_level(name).is_ok_and(|way| {
            let parts = [("normalizer", &way.normalizer), ("pre_tokenizer", &way.pre_tokenizer)];
            parts.iter().all(|(key, part)| found(key) == usual(part)) && way.ignore_merges == is_true("ignore_merges")
        })
    };
    let way = WRITTEN.into_iter().find(same);
    way.map(Kind::Bytes).ok_or_else(|| not_yet(&format!("that splits text otherwise than {}", WRITTEN.join(", "))))
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
            Some([]) => return Value::Null,
            Some([only]) => return usual(only),
            Some(parts) => parts.iter_mut().for_each(|part| *part = usual(part)),
            None => {}
        }
    }
    fields.into()
}
