//! The parts around the model: how the file describes each, and how it is built. Anything not listed is refused.

use std::collections::BTreeMap;

use serde::Deserialize;
use tokenizers::pre_tokenizers::metaspace::PrependScheme;
use tokenizers::{decoders as d, normalizers as n, pre_tokenizers as p};

use super::cut::Cut;
use super::split::Split;
use super::steps::{Decoders, Normalizers, PreTokenizers, Steps};

#[derive(Deserialize)]
#[serde(tag = "type")]
pub enum Normalizer {
    #[serde(rename = "NFC")]
    Nfc,
    #[serde(rename = "NFD")]
    Nfd,
    #[serde(rename = "NFKC")]
    Nfkc,
    #[serde(rename = "NFKD")]
    Nfkd,
    Lowercase,
    Prepend {
        prepend: String,
    },
    Replace {
        pattern: Pattern,
        content: String,
    },
    Sequence {
        normalizers: Vec<Normalizer>,
    },
}

#[derive(Deserialize)]
#[serde(tag = "type")]
pub enum PreTokenizer {
    ByteLevel { add_prefix_space: bool, use_regex: Option<bool> },
    Digits { individual_digits: bool },
    Split(Split),
    Metaspace(Metaspace),
    Sequence { pretokenizers: Vec<PreTokenizer> },
}

#[derive(Deserialize)]
pub struct Metaspace {
    replacement: char,
    prepend_scheme: Option<PrependScheme>,
    /// In files older than `prepend_scheme`.
    add_prefix_space: Option<bool>,
    split: Option<bool>,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
pub enum PostProcessor {
    /// Skipped: it changes only offsets.
    ByteLevel {},
    TemplateProcessing {
        single: Vec<Piece>,
        special_tokens: BTreeMap<String, Special>,
    },
    Sequence {
        processors: Vec<PostProcessor>,
    },
}

#[derive(Deserialize)]
pub enum Piece {
    Sequence { id: String },
    SpecialToken { id: String },
}

#[derive(Deserialize)]
pub struct Special {
    ids: Vec<u32>,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
pub enum Decoder {
    ByteLevel {},
    Metaspace(Metaspace),
    Replace { pattern: Pattern, content: String },
    ByteFallback {},
    Fuse {},
    Strip { content: char, start: usize, stop: usize },
    Sequence { decoders: Vec<Decoder> },
}

#[derive(Deserialize, Clone)]
pub enum Pattern {
    String(String),
    Regex(String),
}

/// The maximum number of parts in a sequence. Each part may make a text longer, so this limits memory.
const MOST_PARTS: usize = 4;

impl Pattern {
    /// Replaces this pattern by `content`. Only one character may replace one, so that no text grows without bound.
    fn replaced_by(self, content: String) -> Result<n::Replace, String> {
        match self {
            Pattern::String(text) if text.chars().count() == 1 && content.chars().count() == 1 => {
                n::Replace::new(text, content).map_err(|e| e.to_string())
            }
            Pattern::String(text) | Pattern::Regex(text) => {
                Err(format!("it replaces `{text}`; only one character can be replaced, and only by one character"))
            }
        }
    }
}

impl Normalizer {
    pub fn build(self) -> Result<Normalizers, String> {
        Ok(Steps(vec![match self {
            Normalizer::Nfc => Box::new(n::NFC),
            Normalizer::Nfd => Box::new(n::NFD),
            Normalizer::Nfkc => Box::new(n::NFKC),
            Normalizer::Nfkd => Box::new(n::NFKD),
            Normalizer::Lowercase => Box::new(n::Lowercase),
            Normalizer::Prepend { prepend } if prepend.chars().count() == 1 => Box::new(n::Prepend::new(prepend)),
            Normalizer::Prepend { prepend } => {
                return Err(format!("it puts `{prepend}` before a text; only one character is supported"));
            }
            Normalizer::Replace { pattern, content } => Box::new(pattern.replaced_by(content)?),
            Normalizer::Sequence { normalizers } => {
                check_sequence(
                    normalizers.len(),
                    normalizers.iter().any(|n| matches!(n, Normalizer::Sequence { .. })),
                )?;
                return one_after_another(normalizers.into_iter().map(Normalizer::build));
            }
        }]))
    }

    /// Whether it writes no line ends.
    pub fn adds_no_lines(&self) -> bool {
        match self {
            Normalizer::Prepend { prepend: written } | Normalizer::Replace { content: written, .. } => written != "\n",
            Normalizer::Sequence { normalizers } => normalizers.iter().all(Normalizer::adds_no_lines),
            _ => true,
        }
    }

    /// Whether white space and its neighbours stay what they are.
    pub fn keeps_space(&self) -> bool {
        match self {
            Normalizer::Nfc => true,
            Normalizer::Sequence { normalizers } => normalizers.iter().all(Normalizer::keeps_space),
            _ => false,
        }
    }
}

fn check_sequence(parts: usize, nested: bool) -> Result<(), String> {
    if nested || parts > MOST_PARTS {
        return Err(format!(
            "it has a sequence of {parts} parts, or one within another; only one of at most {MOST_PARTS} is supported"
        ));
    }
    Ok(())
}

fn one_after_another<Part: ?Sized>(
    parts: impl Iterator<Item = Result<Steps<Part>, String>>,
) -> Result<Steps<Part>, String> {
    let parts: Vec<Steps<Part>> = parts.collect::<Result<_, _>>()?;
    Ok(Steps(parts.into_iter().flat_map(|part| part.0).collect()))
}

impl PreTokenizer {
    pub fn build(self) -> Result<PreTokenizers, String> {
        Ok(Steps(vec![match self {
            PreTokenizer::ByteLevel { add_prefix_space, use_regex } => {
                Box::new(p::byte_level::ByteLevel::new(add_prefix_space, false, use_regex.unwrap_or(true)))
            }
            PreTokenizer::Digits { individual_digits } => Box::new(p::digits::Digits::new(individual_digits)),
            PreTokenizer::Metaspace(metaspace) => Box::new(metaspace.build()?),
            PreTokenizer::Split(split) => Box::new(split.build()?),
            PreTokenizer::Sequence { pretokenizers } => {
                check_sequence(
                    pretokenizers.len(),
                    pretokenizers.iter().any(|p| matches!(p, PreTokenizer::Sequence { .. })),
                )?;
                return one_after_another(pretokenizers.into_iter().map(PreTokenizer::build));
            }
        }]))
    }

    pub fn cut(&self) -> Option<Cut> {
        let gpt2 = |part: &PreTokenizer| {
            matches!(part, PreTokenizer::ByteLevel { add_prefix_space: false, use_regex: None | Some(true) })
        };
        match self {
            part if gpt2(part) => Some(Cut::BeforeSpace),
            PreTokenizer::Sequence { pretokenizers } => match pretokenizers.as_slice() {
                [PreTokenizer::Digits { .. }, part] if gpt2(part) => Some(Cut::BeforeSpace),
                [splits @ .., PreTokenizer::ByteLevel { add_prefix_space: false, use_regex: Some(false) }]
                    if splits.iter().all(|part| matches!(part, PreTokenizer::Split(_)))
                        && splits
                            .iter()
                            .any(|part| matches!(part, PreTokenizer::Split(split) if split.splits_words())) =>
                {
                    Some(Cut::BeforeSpaceAfterLine)
                }
                _ => None,
            },
            _ => None,
        }
    }
}

impl Metaspace {
    fn build(self) -> Result<p::metaspace::Metaspace, String> {
        let scheme = self.prepend_scheme.unwrap_or(PrependScheme::Always);
        if self.add_prefix_space == Some(false) && scheme != PrependScheme::Never {
            return Err("its `Metaspace` is told to put a space before a text and not to".to_owned());
        }
        Ok(p::metaspace::Metaspace::new(self.replacement, scheme, self.split.unwrap_or(true)))
    }
}

impl PostProcessor {
    /// The special ids before and after a text.
    pub fn build(self) -> Result<(Vec<u32>, Vec<u32>), String> {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        match self {
            PostProcessor::ByteLevel {} => {}
            PostProcessor::Sequence { processors } => {
                for processor in processors {
                    let (outer, last) = processor.build()?;
                    before.splice(0..0, outer);
                    after.extend(last);
                }
            }
            PostProcessor::TemplateProcessing { single, special_tokens } => {
                let mut text_seen = false;
                for piece in single {
                    match piece {
                        Piece::Sequence { id } if id == "A" && !text_seen => text_seen = true,
                        Piece::Sequence { id } => {
                            return Err(format!("its template names the text `{id}`; only `A`, once, is supported"));
                        }
                        Piece::SpecialToken { id } => {
                            let token = special_tokens
                                .get(&id)
                                .ok_or(format!("its template names the unknown token `{id}`"))?;
                            if text_seen { &mut after } else { &mut before }.extend(&token.ids);
                        }
                    }
                }
                if !text_seen {
                    return Err("its template leaves out the text".to_owned());
                }
            }
        }
        Ok((before, after))
    }
}

impl Decoder {
    /// The decoder, and whether it is byte-level. It must be one of the two kinds whose text only grows at the end as
    /// tokens are added.
    pub fn build(self) -> Result<(Decoders, bool), String> {
        let parts = match self {
            Decoder::ByteLevel {} => return Ok((Steps(vec![Box::new(p::byte_level::ByteLevel::default())]), true)),
            Decoder::Metaspace(metaspace) => return Ok((Steps(vec![Box::new(metaspace.build()?)]), false)),
            Decoder::Sequence { decoders } => decoders,
            _ => return Err("its decoder is not supported".to_owned()),
        };
        let mut built: Decoders = Steps(Vec::with_capacity(parts.len()));
        for part in parts {
            built.0.push(match (built.0.len(), part) {
                (0, Decoder::Replace { pattern, content }) => Box::new(pattern.replaced_by(content)?),
                (1, Decoder::ByteFallback {}) => Box::new(d::byte_fallback::ByteFallback::new()),
                (2, Decoder::Fuse {}) => Box::new(d::fuse::Fuse::new()),
                (3, Decoder::Strip { content, start, stop: 0 }) => Box::new(d::strip::Strip::new(content, start, 0)),
                _ => return Err("its decoder is a sequence that is not supported".to_owned()),
            });
        }
        if built.0.len() < 3 {
            return Err("its decoder is a sequence that is not supported".to_owned());
        }
        Ok((built, false))
    }
}
