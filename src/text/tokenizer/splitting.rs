//! What stands around the model in the tokenizer of a GGUF file, which only names it: the parts of a tokenizer.json.

use serde_json::{Value, json};

use super::split::{DEEPSEEK, LLAMA3, O200K, QWEN2, RUNS, TEKKEN};

/// How a family makes of a text the pieces that are merged.
pub struct Splitting {
    pub normalizer: Value,
    pub pre_tokenizer: Value,
    pub decoder: Value,
    /// A piece that is a token is that token, whatever the merges would make of it.
    pub ignore_merges: bool,
    /// Texts begin with the token for it unless the file says otherwise.
    pub begins: bool,
}

/// What splits a text before its bytes are merged.
enum First {
    /// Nothing but GPT-2's pattern.
    Nothing,
    /// Every digit is alone, then GPT-2's pattern.
    Digits,
    Patterns(&'static [&'static str]),
}

/// Names in `tokenizer.ggml.pre`, what they stand for, and whether a piece that is a token is not merged.
const BYTE_LEVEL: [(&[&str], First, bool); 7] = [
    (&["gpt-2", "phi-2"], First::Nothing, false),
    (&["smollm", "starcoder", "refact", "command-r", "codeshell"], First::Digits, false),
    (&["llama-bpe", "llama3", "llama-v3"], First::Patterns(&[LLAMA3]), true),
    (&["smaug-bpe", "dbrx"], First::Patterns(&[LLAMA3]), false),
    (&["gpt-4o", "llama4"], First::Patterns(&[O200K]), false),
    (&["tekken"], First::Patterns(&[TEKKEN]), true),
    (&["deepseek-v3"], First::Patterns(&[RUNS[0], RUNS[1], DEEPSEEK]), false),
];
/// Qwen's also composes characters.
const QWEN: [&str; 2] = ["qwen2", "deepseek-r1-qwen"];

/// The parts of a tokenizer that merges bytes. Errors: the names that are known.
pub fn byte_level(name: &str) -> Result<Splitting, String> {
    let named = BYTE_LEVEL.iter().find(|(names, ..)| names.contains(&name));
    let (normalizer, first, ignore_merges) = match named {
        Some((_, first, ignore_merges)) => (Value::Null, first, *ignore_merges),
        None if QWEN.contains(&name) => (json!({ "type": "NFC" }), &First::Patterns(&[QWEN2]), false),
        None => {
            let known: Vec<&str> = BYTE_LEVEL.iter().flat_map(|(names, ..)| *names).copied().chain(QWEN).collect();
            return Err(known.join(", "));
        }
    };
    let bytes = |use_regex: bool| {
        // `tokenizers` asks for every field.
        json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex })
    };
    let mut parts = match first {
        First::Nothing => Vec::new(),
        First::Digits => vec![json!({ "type": "Digits", "individual_digits": true })],
        First::Patterns(patterns) => {
            patterns.iter().map(|regex| split(json!({ "Regex": regex }), "Isolated")).collect()
        }
    };
    parts.push(bytes(!matches!(first, First::Patterns(_))));
    let pre_tokenizer = match parts.as_slice() {
        [only] => only.clone(),
        _ => json!({ "type": "Sequence", "pretokenizers": parts }),
    };
    Ok(Splitting { normalizer, pre_tokenizer, decoder: bytes(true), ignore_merges, begins: ignore_merges })
}

/// The parts of a SentencePiece tokenizer, which writes spaces as `▁`.
pub fn sentence_piece(adds_space: bool) -> Splitting {
    let replace = |from: &str, to: &str| json!({ "type": "Replace", "pattern": { "String": from }, "content": to });
    let mut normalizers = vec![replace(" ", "▁")];
    let mut decoders = vec![replace("▁", " "), json!({ "type": "ByteFallback" }), json!({ "type": "Fuse" })];
    let mut pre_tokenizer = split(json!({ "String": " " }), "MergedWithPrevious");
    if adds_space {
        normalizers.insert(0, json!({ "type": "Prepend", "prepend": "▁" }));
        decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
        pre_tokenizer = Value::Null;
    }
    Splitting {
        normalizer: json!({ "type": "Sequence", "normalizers": normalizers }),
        pre_tokenizer,
        decoder: json!({ "type": "Sequence", "decoders": decoders }),
        ignore_merges: false,
        begins: true,
    }
}

fn split(pattern: Value, behavior: &str) -> Value {
    json!({ "type": "Split", "pattern": pattern, "behavior": behavior, "invert": false })
}
