//! Text to token ids and back. The `tokenizers` crate does the tokenization; this module adds what else a run needs:
//! which ids end a text, bounded memory for long texts, and text that appears piece by piece while ids are generated.

mod added;
mod cut;
mod gguf;
mod gguf_writer;
mod json;
mod parts;
mod pieces;
mod split;
mod splitting;
mod steps;

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use serde_json::Value;

use super::chat::{ChatConfig, ChatTemplate};
use super::formats::Conversation;
use crate::error::{Error, Result};
use crate::files::json as json_file;
use added::Configured;
pub use gguf::GgufTokenizer;
pub use gguf_writer::{GgufMetadata, metadata as gguf_metadata};
use json::Parts;

/// The minimum size of a piece of a long text, in bytes.
const PIECE: usize = 32 << 10;
/// The most white space in a row, in bytes. The patterns of byte-level tokenizers look behind all of it, and their
/// library stops splitting, without a word, when it has gone back a million characters.
const LONGEST_SPACE: usize = 500_000;
/// Special tokens that tokenizer_config.json names, besides those of its lists.
const NAMED: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
const LISTS: [&str; 2] = ["additional_special_tokens", "extra_special_tokens"];

/// The files in a model's folder that define how it reads text, each as the bytes on disk.
pub struct TokenizerFiles<'a> {
    pub tokenizer: &'a [u8],
    pub tokenizer_config: Option<&'a [u8]>,
    pub generation_config: Option<&'a [u8]>,
    /// chat_template.jinja, which takes precedence over the template in tokenizer_config.json.
    pub chat_template: Option<&'a [u8]>,
    pub config: &'a [u8],
}

pub struct Tokenizer {
    parts: Parts,
    /// The ids that end a text. The first one is appended to training texts.
    ends: Vec<u32>,
    /// Ids from this one on have no embedding.
    vocabulary: usize,
    /// Ends what the assistant says.
    turn_end: Option<u32>,
    /// A broken template is an error only when a conversation needs it.
    chat: Option<Result<ChatTemplate, String>>,
}

impl Tokenizer {
    /// A file that cannot be read is a `tokenizer` error, or a `config` error if it is config.json.
    pub fn from_files(files: &TokenizerFiles) -> Result<Self> {
        let settings: TokenizerConfig = read_optional(files.tokenizer_config, "tokenizer_config.json")?;
        let (special, end) = (settings.special(), settings.named.get("eos_token").and_then(written));
        let parts = json::read(files.tokenizer, &settings.added_tokens_decoder.unwrap_or_default(), &special)
            .map_err(refusal)?;
        let chat: ChatConfig = read_optional(files.tokenizer_config, "tokenizer_config.json")?;
        let generation: EndIds = read_optional(files.generation_config, "generation_config.json")?;
        let config: EndIds = json_file::read(files.config)
            .map_err(|reason| Error::Config { field: "eos_token_id".to_owned(), reason })?;

        let vocabulary = config.vocab_size.unwrap_or(usize::MAX);
        let named = end.as_ref().map(|end| {
            let id = parts.inner.token_to_id(end);
            id.ok_or_else(|| refusal(format!("tokenizer_config.json names the `eos_token` {end:?}, which it lacks")))
        });
        let named = named.transpose()?;
        let listed = [generation.eos_token_id, config.eos_token_id].into_iter().flatten().flat_map(Ids::list);
        let mut ends = Vec::new();
        for id in named.into_iter().chain(listed) {
            if !ends.contains(&id) {
                ends.push(id);
            }
        }
        let chat = ChatTemplate::new(files.chat_template, chat);
        let mut tokenizer = Tokenizer { parts, ends, vocabulary, turn_end: None, chat };
        tokenizer.check(&tokenizer.ends)?;
        tokenizer.check(&tokenizer.parts.before)?;
        tokenizer.check(&tokenizer.parts.after)?;
        tokenizer.turn_end = tokenizer.find_turn_end();
        Ok(tokenizer)
    }

    /// Returns the ids of `text`, including those that the tokenizer's post-processor adds if `special` is set; what
    /// the text already begins or ends with is not added again.
    ///
    /// One call of the crate needs about 150 bytes of memory per byte of text. If it is known how the tokenizer splits
    /// text, a long text is therefore encoded in pieces that give the same ids.
    pub fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>> {
        self.encode_in_pieces(text, special, PIECE)
    }

    /// Like `encode`, but in pieces of at least `bytes` bytes, so that a test can check that promise.
    pub fn encode_in_pieces(&self, text: &str, special: bool, bytes: usize) -> Result<Vec<u32>> {
        self.refuse_space(text)?;
        let mut ids = Vec::new();
        for (piece, lead) in self.pieces(text, bytes) {
            let encoding = self.parts.inner.encode_fast(piece, false).map_err(|e| refusal(e.to_string()))?;
            ids.extend(encoding.get_ids().iter().skip(lead));
        }
        if special {
            self.put_specials(&mut ids);
        }
        self.check(&ids)?;
        Ok(ids)
    }

    /// Returns the ids of `text`, without special tokens, and the byte range of `text` that each id covers.
    pub fn encode_with_offsets(&self, text: &str) -> Result<(Vec<u32>, Vec<Range<usize>>)> {
        self.refuse_space(text)?;
        let (mut ids, mut offsets) = (Vec::new(), Vec::new());
        let mut begin = 0_usize;
        for (piece, lead) in self.pieces(text, PIECE) {
            let encoding = self.parts.inner.encode(piece, false).map_err(|e| refusal(e.to_string()))?;
            ids.extend(encoding.get_ids().iter().skip(lead));
            let places = encoding.get_offsets().iter().skip(lead);
            offsets.extend(places.map(|(from, to)| begin.saturating_add(*from)..begin.saturating_add(*to)));
            begin = begin.saturating_add(piece.len());
        }
        self.check(&ids)?;
        Ok((ids, offsets))
    }

    fn refuse_space(&self, text: &str) -> Result<()> {
        let longest = text.split(|c: char| !c.is_whitespace()).map(str::len).max().unwrap_or(0);
        if !self.parts.byte_level || longest <= LONGEST_SPACE {
            return Ok(());
        }
        Err(Error::TextWhiteSpace { bytes: longest, limit: LONGEST_SPACE })
    }

    /// Splits `text` into pieces of at least `bytes` bytes that give the same ids as the whole, if so many ids of each
    /// are left out as are beside it.
    fn pieces<'a>(&self, text: &'a str, bytes: usize) -> impl Iterator<Item = (&'a str, usize)> {
        let (mut rest, mut lead) = (Some(text), 0);
        std::iter::from_fn(move || {
            let text = rest.take()?;
            let cut = self.parts.cut.and_then(|cut| cut.after(text, bytes)).and_then(|at| text.split_at_checked(at));
            let (piece, next) = cut.unzip();
            rest = next;
            Some((piece.unwrap_or(text), std::mem::replace(&mut lead, self.parts.lead)))
        })
    }

    pub fn has_chat_template(&self) -> bool {
        self.chat.is_some()
    }

    /// The model's chat template, for a conversation that comes from `place`. Errors: `NoChatTemplate`, `ChatTemplate`.
    pub fn chat_template(&self, place: &str) -> Result<&ChatTemplate> {
        match &self.chat {
            None => Err(Error::NoChatTemplate { place: place.to_owned() }),
            Some(Err(reason)) => Err(Error::ChatTemplate { reason: reason.clone() }),
            Some(Ok(template)) => Ok(template),
        }
    }

    /// A conversation as the model reads it, followed by what precedes an answer if `add_generation_prompt` is set.
    /// Errors: as `chat_template`, and `Messages`, `Conversation`, `TemplateFails`.
    pub fn render(&self, conversation: &Conversation, place: &str, add_generation_prompt: bool) -> Result<String> {
        let text = self.chat_template(place)?.text(conversation, add_generation_prompt);
        text.map_err(|refusal| refusal.error(place))
    }

    fn check(&self, ids: &[u32]) -> Result<()> {
        match ids.iter().find(|id| **id as usize >= self.vocabulary) {
            Some(id) => {
                Err(refusal(format!("it has the token {id}, but the model has only {} tokens", self.vocabulary)))
            }
            None => Ok(()),
        }
    }

    /// Returns the text of `ids`, without special tokens. Invalid UTF-8 becomes U+FFFD, and unknown ids are skipped.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.parts.inner.decode(ids, true).map_err(|e| refusal(e.to_string()))
    }

    /// Some tokens as people read them, including special tokens, and whether they are whole characters. What is
    /// incomplete shows as U+FFFD.
    pub fn piece(&self, ids: &[u32]) -> (String, bool) {
        let text = if self.parts.byte_level {
            self.parts.inner.decode(ids, false).unwrap_or_default()
        } else {
            // The decoder would drop the first space.
            let mut bytes = Vec::new();
            for token in ids.iter().filter_map(|id| self.parts.inner.id_to_token(*id)) {
                match byte_token(&token) {
                    Some(byte) => bytes.push(byte),
                    None => bytes.extend(token.replace('▁', " ").bytes()),
                }
            }
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let is_whole = !text.ends_with('\u{fffd}');
        (text, is_whole)
    }

    /// The number of ids, including added tokens: the highest id plus one.
    pub fn size(&self) -> usize {
        self.parts.size
    }

    /// The same without added tokens, for which a model may have no embedding: Gemma's models that read no pictures
    /// have none for the token of a picture. A text with such a token is refused when it is encoded.
    pub fn own_size(&self) -> usize {
        self.parts.own_size
    }

    /// The token to write at the end of a text: the `eos_token` of tokenizer_config.json, otherwise the first
    /// `eos_token_id` of generation_config.json, otherwise the first one of config.json.
    pub fn eos(&self) -> Option<u32> {
        self.ends.first().copied()
    }

    /// Whether this token ends a generated text. All end tokens that the three files name count, and the one with which
    /// the chat template ends what the assistant says: a base model's files do not name it, but its adapter learns it.
    pub fn is_stop(&self, id: u32) -> bool {
        self.ends.contains(&id) || self.turn_end == Some(id)
    }

    /// The token outside the model's vocabulary with which the chat template ends what the assistant says.
    fn find_turn_end(&self) -> Option<u32> {
        let Some(Ok(template)) = &self.chat else { return None };
        let end = template.turn_end()?;
        let first = self.encode(end.trim_start(), false).ok()?.first().copied()?;
        let added = self.parts.inner.get_added_vocabulary().get_added_tokens_decoder();
        added.contains_key(&first).then_some(first)
    }

    /// Puts around the ids of a text what the post-processor puts there, and the end-of-text token at the end. What the
    /// ids already begin or end with is not put there again.
    pub(super) fn surround(&self, ids: &mut Vec<u32>) -> Surrounded {
        let (text, ends) = (ids.len(), ids.last().copied().is_some_and(|last| self.eos() == Some(last)));
        let before = self.put_specials(ids);
        if text == 0 || ids.last().copied() != self.eos() {
            ids.extend(self.eos());
        }
        Surrounded { before, written: ends || before < self.parts.before.len() }
    }

    /// Puts around ids what the post-processor puts there, unless it is there. Returns how many were put before.
    fn put_specials(&self, ids: &mut Vec<u32>) -> usize {
        let Parts { before, after, .. } = &self.parts;
        let put = if ids.starts_with(before) { 0 } else { before.len() };
        ids.splice(0..0, before.iter().copied().take(put));
        if !ids.ends_with(after) {
            ids.extend(after);
        }
        put
    }

    /// Whether the next token may change the text up to this one. A byte such as `<0xE2>` is decoded together with the
    /// whole run of bytes around it, and tokens without text do not end a run.
    fn is_open(&self, id: u32) -> bool {
        if self.parts.byte_level {
            return false;
        }
        match self.parts.inner.id_to_token(id) {
            None => true,
            Some(token) if self.parts.inner.get_added_vocabulary().is_special_token(&token) => true,
            Some(token) => byte_token(&token).is_some(),
        }
    }
}

/// What `Tokenizer::surround` did.
pub(super) struct Surrounded {
    /// How many ids were put before the text.
    pub before: usize,
    /// Whether the text already began or ended with its special tokens.
    pub written: bool,
}

/// Decodes ids to text while they are generated. The pieces together equal `decode` of all ids, including any U+FFFD.
pub struct StreamDecoder<'a> {
    tokenizer: &'a Tokenizer,
    ids: Vec<u32>,
    /// How many bytes of the text of `ids` have been returned.
    sent: usize,
}

impl<'a> StreamDecoder<'a> {
    pub fn new(tokenizer: &'a Tokenizer) -> Self {
        StreamDecoder { tokenizer, ids: Vec::new(), sent: 0 }
    }

    /// Returns the text that has become final, possibly none, since a character may need several tokens. A U+FFFD at
    /// the end is held back because the next token may complete the character.
    pub fn push(&mut self, id: u32) -> Result<String> {
        self.ids.push(id);
        if self.tokenizer.is_open(id) {
            return Ok(String::new());
        }
        let text = self.tokenizer.decode(&self.ids)?;
        let settled = text.trim_end_matches('\u{fffd}').len();
        let piece = text.get(self.sent..settled).unwrap_or_default().to_owned();
        self.sent = self.sent.max(settled);
        if self.tokenizer.parts.byte_level && settled == text.len() {
            self.ids.clear();
            self.sent = 0;
        }
        Ok(piece)
    }

    /// Returns the text that was held back.
    pub fn finish(self) -> Result<String> {
        let text = self.tokenizer.decode(&self.ids)?;
        Ok(text.get(self.sent..).unwrap_or_default().to_owned())
    }
}

/// The part of tokenizer_config.json that concerns tokens. As in transformers, `add_bos_token` and `add_eos_token` do
/// not count beside a tokenizer.json: its post-processor says what is added.
#[derive(Deserialize, Default)]
struct TokenizerConfig {
    added_tokens_decoder: Option<Configured>,
    #[serde(flatten)]
    named: BTreeMap<String, Value>,
}

impl TokenizerConfig {
    /// The tokens that it calls special.
    fn special(&self) -> Vec<String> {
        let alone = NAMED.iter().filter_map(|name| self.named.get(*name));
        let lists = LISTS.iter().filter_map(|name| self.named.get(*name)?.as_array()).flatten();
        alone.chain(lists).filter_map(written).collect()
    }
}

/// The text of a token that is named or described.
fn written(token: &Value) -> Option<String> {
    token.as_str().or_else(|| token.get("content")?.as_str()).map(str::to_owned)
}

#[derive(Deserialize, Default)]
struct EndIds {
    eos_token_id: Option<Ids>,
    vocab_size: Option<usize>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    One(u32),
    Many(Vec<u32>),
}

impl Ids {
    fn list(self) -> Vec<u32> {
        match self {
            Ids::One(id) => vec![id],
            Ids::Many(ids) => ids,
        }
    }
}

/// The byte of a token such as `<0xE2>`.
fn byte_token(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>').filter(|digits| digits.len() == 2)?;
    u8::from_str_radix(digits, 16).ok()
}

fn read_optional<T: Default + for<'de> Deserialize<'de>>(json: Option<&[u8]>, name: &str) -> Result<T> {
    let Some(json) = json else { return Ok(T::default()) };
    json_file::read(json).map_err(|reason| refusal(format!("{name}: {reason}")))
}

fn refusal(reason: String) -> Error {
    Error::Tokenizer { reason: super::shortened(reason) }
}
