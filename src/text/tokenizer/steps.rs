//! Parts of a tokenizer that work one after the other. The crate's own sequences know all of its parts, and would bring
//! those that no supported file names into the wasm too.

use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{Decoder, NormalizedString, Normalizer, PreTokenizedString, PreTokenizer, Result, TokenizerImpl};

pub struct Steps<Part: ?Sized>(pub Vec<Box<Part>>);

pub type Normalizers = Steps<dyn Normalizer + Send + Sync>;
pub type PreTokenizers = Steps<dyn PreTokenizer + Send + Sync>;
pub type Decoders = Steps<dyn Decoder + Send + Sync>;

/// There never is a post-processor: what a template adds is added outside.
pub type Inner = TokenizerImpl<BPE, Normalizers, PreTokenizers, ByteLevel, Decoders>;

impl Normalizer for Normalizers {
    fn normalize(&self, text: &mut NormalizedString) -> Result<()> {
        self.0.iter().try_for_each(|part| part.normalize(text))
    }
}

impl PreTokenizer for PreTokenizers {
    fn pre_tokenize(&self, text: &mut PreTokenizedString) -> Result<()> {
        self.0.iter().try_for_each(|part| part.pre_tokenize(text))
    }
}

impl Decoder for Decoders {
    fn decode_chain(&self, tokens: Vec<String>) -> Result<Vec<String>> {
        self.0.iter().try_fold(tokens, |tokens, part| part.decode_chain(tokens))
    }
}
