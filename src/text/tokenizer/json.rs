//! A strict reader for `tokenizer.json`. It parses the file into our own types and builds the tokenizer from the
//! crate's parts; the crate never reads the file. The reason is that files come from anywhere, and crafted ones make
//! the crate's own reader panic (merges whose result is unknown, templates that name a missing token, a `Strip` longer
//! than its text), compile a regular expression of the file's choice, or truncate and pad. A panic ends a wasm module
//! for good.
//!
//! Only byte-pair models are supported, with only the parts that published models use (`parts`). Regular expressions
//! must equal the known ones (`split`) character by character. Any other file is refused with a reason.

use serde::Deserialize;
use tokenizers::models::bpe::{BPE, Vocab};

use super::added::{Added, Configured, add, merged, named};
use super::cut::Cut;
use super::parts::{Decoder, Normalizer, PostProcessor, PreTokenizer};
use super::steps::Inner;
use crate::files::json::{message, plain};

/// The maximum size of tokenizer.json, in bytes.
const LARGEST_FILE: usize = 32 << 20;
/// All ids are below this.
const MOST_IDS: u32 = 1_000_000;
/// How many tokens the post-processor's template may add to a text.
const MOST_SPECIALS: usize = 8;

/// What is built from a `tokenizer.json`.
pub struct Parts {
    pub inner: Inner,
    /// The special ids to put before and after a text.
    pub before: Vec<u32>,
    pub after: Vec<u32>,
    pub cut: Option<Cut>,
    /// How many ids of a piece after a cut are of the space that is put before a text, and not of the text.
    pub lead: usize,
    /// Whether text is simply the bytes of the tokens. If not, a leading space is dropped and bytes are written as
    /// `<0x41>`.
    pub byte_level: bool,
    /// The highest id plus one, with and without added tokens.
    pub size: usize,
    pub own_size: usize,
}

/// Reads the file and builds the tokenizer, with what tokenizer_config.json says about added tokens and which tokens it
/// calls special, or returns the reason why it cannot.
pub fn read(json: &[u8], configured: &Configured, special: &[String]) -> Result<Parts, String> {
    if json.len() > LARGEST_FILE {
        return Err(format!("tokenizer.json has {} bytes; the limit is {LARGEST_FILE}", json.len()));
    }
    let json = &*plain(json).map_err(|reason| format!("tokenizer.json: {reason}"))?;
    let mut file: File = serde_json::from_slice(json).map_err(|e| explain(json, &e))?;
    file.added_tokens = merged(file.added_tokens, configured)?;
    let named = named(&file.added_tokens, special, &file.model.vocab);
    file.added_tokens.extend(named);
    file.build()
}

/// The parser's message, unless the type of the model explains more.
fn explain(json: &[u8], error: &serde_json::Error) -> String {
    #[derive(Deserialize)]
    struct Outline {
        model: Kind,
    }
    #[derive(Deserialize)]
    struct Kind {
        r#type: String,
    }
    match serde_json::from_slice::<Outline>(json) {
        Ok(outline) if outline.model.r#type != "BPE" => unknown_model(&outline.model.r#type),
        _ => format!("tokenizer.json: {}", message(error)),
    }
}

fn unknown_model(kind: &str) -> String {
    format!("its model has the type `{kind}`; only `BPE` is supported")
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<Added>,
    normalizer: Option<Normalizer>,
    pre_tokenizer: Option<PreTokenizer>,
    post_processor: Option<PostProcessor>,
    decoder: Option<Decoder>,
    model: Model,
}

#[derive(Deserialize)]
struct Model {
    /// Missing in old files.
    r#type: Option<String>,
    vocab: Vocab,
    merges: Vec<Merge>,
    unk_token: Option<String>,
    dropout: Option<f32>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    fuse_unk: Option<bool>,
    byte_fallback: Option<bool>,
    ignore_merges: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair(String, String),
    Line(String),
}

impl File {
    fn build(self) -> Result<Parts, String> {
        let cut = self.cut();
        let (before, after) = self.post_processor.map_or(Ok(Default::default()), PostProcessor::build)?;
        let own = self.model.vocab.values().max().copied();
        let highest = own.max(self.added_tokens.iter().map(|t| t.id).max());
        let size = match highest {
            None => return Err("its vocabulary is empty".to_owned()),
            Some(id) if id >= MOST_IDS => return Err(format!("it has the id {id}, but ids must be below {MOST_IDS}")),
            Some(id) => (id as usize).saturating_add(1),
        };
        let own_size = own.map_or(0, |id| (id as usize).saturating_add(1));
        let specials = || before.iter().chain(&after);
        if specials().count() > MOST_SPECIALS || specials().any(|id| *id as usize >= size) {
            return Err(format!("its template adds more than {MOST_SPECIALS} tokens, or one that does not exist"));
        }

        let mut inner = Inner::new(self.model.build()?);
        let normalizer = self.normalizer.map(Normalizer::build).transpose()?;
        inner.with_normalizer(normalizer).map_err(|e| e.to_string())?;
        inner.with_pre_tokenizer(self.pre_tokenizer.map(PreTokenizer::build).transpose()?);
        let (decoder, byte_level) = self.decoder.ok_or("it has no decoder")?.build()?;
        inner.with_decoder(Some(decoder));
        add(&mut inner, self.added_tokens)?;
        let lead = if cut == Some(Cut::LineEnd) { lead(&inner) } else { Some(0) };
        Ok(Parts { inner, before, after, cut: lead.and(cut), lead: lead.unwrap_or(0), byte_level, size, own_size })
    }

    /// Added tokens are matched before anything else. One without white space never spans a cut before a space, and one
    /// without the three flags does not look at its neighbours. NFC never joins white space with the characters next to
    /// it.
    fn cut(&self) -> Option<Cut> {
        let tokens = &self.added_tokens;
        let looks = |t: &Added| t.single_word || t.lstrip || t.rstrip;
        let plain = self.normalizer.as_ref().is_none_or(Normalizer::keeps_space);
        if self.lines_are_apart() {
            return Some(Cut::LineEnd);
        }
        if !plain || tokens.iter().any(|t| looks(t) || t.content.contains(char::is_whitespace)) {
            return None;
        }
        self.pre_tokenizer.as_ref()?.cut()
    }

    /// Whether a line end that follows neither white space nor `>` always begins a token that nothing merges with.
    ///
    /// It is one in Gemma's files, where all line ends are added tokens, and where the model has no token with a line
    /// end, as in Llama 2's: it is then the byte `<0x0A>`, which nothing merges with.
    fn lines_are_apart(&self) -> bool {
        let looks = |t: &Added| t.single_word || t.lstrip || t.rstrip && !t.content.ends_with('>');
        if self.added_tokens.iter().any(looks) {
            return false;
        }
        let mut with_lines = self.added_tokens.iter().filter(|t| t.content.contains('\n')).peekable();
        if with_lines.peek().is_some() {
            let all_lines = |t: &Added| !t.normalized && t.content.chars().all(|c| c == '\n');
            return with_lines.all(all_lines) && self.added_tokens.iter().any(|t| t.content == "\n");
        }
        let unmapped = match &self.pre_tokenizer {
            None | Some(PreTokenizer::Metaspace(_)) => true,
            Some(PreTokenizer::Split(split)) => !split.splits_words(),
            Some(_) => false,
        };
        let vocab = &self.model.vocab;
        let line = "<0x0A>";
        unmapped
            && self.normalizer.as_ref().is_none_or(Normalizer::adds_no_lines)
            && self.model.byte_fallback == Some(true)
            && (0..=u8::MAX).all(|byte| vocab.contains_key(&format!("<{byte:#04X}>")))
            && !vocab.keys().any(|token| token.contains('\n') || token.contains(line) && token != line)
    }
}

/// How many ids come before that of a line end. None if it does not stay one.
fn lead(inner: &Inner) -> Option<usize> {
    let encoding = inner.encode_fast("\n", false).ok()?;
    let (last, lead) = encoding.get_ids().split_last()?;
    matches!(inner.id_to_token(*last)?.as_str(), "\n" | "<0x0A>").then_some(lead.len())
}

impl Model {
    fn build(self) -> Result<BPE, String> {
        if let Some(kind) = self.r#type.filter(|kind| kind != "BPE") {
            return Err(unknown_model(&kind));
        }
        if self.dropout.is_some_and(|p| p != 0.0) {
            return Err("its model drops merges at random, which is not supported".to_owned());
        }
        let given = |text: &Option<String>| text.as_ref().is_some_and(|t| !t.is_empty());
        if given(&self.continuing_subword_prefix) || given(&self.end_of_word_suffix) {
            return Err("its model marks the parts of a word, which is not supported".to_owned());
        }

        let mut merges = Vec::with_capacity(self.merges.len());
        for (at, merge) in self.merges.into_iter().enumerate() {
            let (a, b) = match merge {
                Merge::Pair(a, b) => (a, b),
                Merge::Line(line) if at == 0 && line.starts_with("#version") => continue,
                Merge::Line(line) => match line.split_once(' ') {
                    Some((a, b)) if !b.contains(' ') => (a.to_owned(), b.to_owned()),
                    _ => return Err(format!("the merge `{line}` is not a pair")),
                },
            };
            let known = |token: &str| self.vocab.contains_key(token);
            if !known(&a) || !known(&b) || !known(&format!("{a}{b}")) {
                return Err(format!("the vocabulary lacks a part or the result of the merge of `{a}` and `{b}`"));
            }
            merges.push((a, b));
        }

        let mut builder = BPE::builder()
            .fuse_unk(self.fuse_unk.unwrap_or(false))
            .byte_fallback(self.byte_fallback.unwrap_or(false))
            .ignore_merges(self.ignore_merges.unwrap_or(false));
        if let Some(unknown) = self.unk_token {
            if !self.vocab.contains_key(&unknown) {
                return Err(format!("the vocabulary lacks the unknown token `{unknown}`"));
            }
            builder = builder.unk_token(unknown);
        }
        builder.vocab_and_merges(self.vocab, merges).build().map_err(|e| e.to_string())
    }
}
