//! tokenizer.json: ids compared with the `tokenizers` crate, long texts in pieces, end-of-text tokens, streaming and
//! refusals.

use proptest::prelude::*;
use serde_json::{Value, json};
use tabtune::error::Error;
use tabtune::text::*;

use super::{
    BASE_JSON, CONFIG, EOS, TOKENIZER, document, families, ids, json_line, labels, oracle, padded, tokenizer_of, with,
};

const LLAMA3: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|",
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// White space of all kinds, punctuation that also matches line ends, digits, marks, contractions, special tokens.
const NASTY: [&str; 34] = [
    " ",
    " ",
    "  ",
    "\n",
    "\n\n",
    "\r\n",
    "\r",
    "\t",
    "\u{a0}",
    "\u{3000}",
    "\u{2028}",
    "\u{85}",
    ".",
    "...",
    "\"",
    "-",
    "。",
    "a",
    "The",
    "né",
    "e\u{301}",
    "\u{301}",
    "語",
    "7",
    "1234",
    "½",
    "'s",
    "'LL",
    "<|im_end|>",
    "/",
    "B",
    "中",
    "</s>",
    "🏴‍☠️",
];

#[test]
fn long_texts_are_cut_and_give_the_ids_of_one_call() {
    let text = "A line of text, \"quoted\".\r\nAnd   another 12345 …\n\na/\n</s>\n".repeat(4_000);
    for (name, tokenizer, oracle) in families::all() {
        let expected = oracle.encode(text.as_str(), false).unwrap();
        assert!(tokenizer.encode(&text, false).unwrap() == expected.get_ids(), "{name}");
        let (ids, places) = tokenizer.encode_with_offsets(&text).unwrap();
        let expected_places = expected.get_offsets().iter().map(|(from, to)| *from..*to);
        assert!(ids == expected.get_ids() && places.into_iter().eq(expected_places), "{name}, with offsets");
    }
}

#[test]
fn unrecognised_pre_tokenizers_are_not_cut_and_give_the_same_ids() {
    let spaced = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true});
    let strips = json!([{"id": 0, "content": "<|endoftext|>", "single_word": false, "lstrip": true, "rstrip": true,
        "normalized": false, "special": true}]);
    for json in [with(&[("/pre_tokenizer", spaced)]), with(&[("/added_tokens", strips)])] {
        let text = "one\ntwo <|endoftext|> three \n<|endoftext|>\n";
        let expected = oracle(&json).encode(text, false).unwrap();
        assert_eq!(tokenizer_of(&json).unwrap().encode_in_pieces(text, false, 1).unwrap(), expected.get_ids());
    }
}

#[test]
fn the_post_processor_adds_its_tokens_once() {
    let template = json!({"type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "</s>", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]},
            "</s>": {"id": "</s>", "ids": [2, 0], "tokens": ["</s>", "x"]}}});
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false});
    for processor in [template.clone(), json!({"type": "Sequence", "processors": [byte_level, template]})] {
        let json = with(&[("/post_processor", processor)]);
        let (tokenizer, oracle) = (tokenizer_of(&json).unwrap(), oracle(&json));
        for text in ["", "one two three four"] {
            for special in [false, true] {
                let expected = oracle.encode(text, special).unwrap();
                assert_eq!(
                    tokenizer.encode_in_pieces(text, special, 2).unwrap(),
                    expected.get_ids(),
                    "{text} {special}"
                );
            }
        }
        let line = document("a.jsonl", &json_line(&[("prompt", "a"), ("completion", " b")]));
        let row = &rows(&tokenizer, &[line], 7).unwrap().rows[0];
        assert_eq!(row.ids, padded([vec![1], ids("a b"), vec![2, EOS]].concat(), 8));
        assert_eq!(labels(row), [ids(" b"), vec![2, EOS]].concat());
    }
}

#[test]
fn truncation_and_padding_in_the_file_do_not_touch_a_text() {
    let mut json = BASE_JSON.clone();
    json["truncation"] = json!({"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 5});
    json["padding"] = json!({"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": 0, "pad_id": 0,
        "pad_type_id": 0, "pad_token": "x"});
    assert_eq!(tokenizer_of(&json).unwrap().encode("one two three four", true).unwrap(), ids("one two three four"));
}

#[test]
fn a_long_run_of_white_space_is_split_rightly_or_refused() {
    let run = " ".repeat(500_000);
    let mut refused = 0;
    for (name, tokenizer, _) in families::all() {
        let Err(error) = tokenizer.encode(&format!("a {run}b"), false) else { continue };
        assert_eq!(error, Error::TextWhiteSpace { bytes: 500_001, limit: 500_000 }, "{name}");
        let ids = |text: &str| tokenizer.encode(text, false).unwrap();
        assert!(ids(&format!("{run}a")) == [ids(&run[1..]), ids(" a")].concat(), "{name}");
        refused += 1;
    }
    assert!(refused > 4, "{refused} tokenizers");
}

#[test]
fn a_token_that_tokenizer_config_calls_special_is_found_in_a_text() {
    let mut json = BASE_JSON.clone();
    let id = tokenizer_of(&json).unwrap().size();
    json["model"]["vocab"]["<|turn|>"] = id.into();
    let load = |tokenizer_config: Value| {
        Tokenizer::from_files(&TokenizerFiles {
            tokenizer: json.to_string().as_bytes(),
            tokenizer_config: Some(tokenizer_config.to_string().as_bytes()),
            generation_config: None,
            chat_template: None,
            config: b"{}",
        })
    };
    let usual = load(json!({"additional_special_tokens": ["<none>"], "pad_token": "<pad>"})).unwrap();
    assert!(usual.encode("a<|turn|>", false).unwrap().len() > 2);
    for config in [
        json!({"additional_special_tokens": ["<none>", "<|turn|>"]}),
        json!({"pad_token": "<|turn|>"}),
        json!({"eos_token": {"content": "<|turn|>"}}),
    ] {
        assert_eq!(load(config).unwrap().encode("a<|turn|>", false).unwrap(), [ids("a"), vec![id as u32]].concat());
    }
    let error = load(json!({"eos_token": "<none>"})).map(|_| ()).unwrap_err();
    assert!(error.code() == "tokenizer" && error.to_string().contains("`eos_token` \"<none>\""), "{error}");
}

#[test]
fn the_end_of_text_is_looked_up_in_three_files_in_order() {
    let tokenizer = BASE_JSON.to_string();
    let load = |tokenizer_config: Option<&str>, generation_config: Option<&str>, config: &str| {
        Tokenizer::from_files(&TokenizerFiles {
            tokenizer: tokenizer.as_bytes(),
            tokenizer_config: tokenizer_config.map(str::as_bytes),
            generation_config: generation_config.map(str::as_bytes),
            chat_template: None,
            config: config.as_bytes(),
        })
    };
    let ends = |a, b, c| {
        let tokenizer = load(a, b, c).unwrap();
        (tokenizer.eos(), (0..10).filter(|id| tokenizer.is_stop(*id)).collect::<Vec<_>>())
    };
    let named = Some(r#"{"eos_token": "<|im_end|>"}"#);
    let listed = Some(r#"{"eos_token_id": [5, 2, 6]}"#);
    assert_eq!(ends(named, listed, r#"{"eos_token_id": 0}"#), (Some(2), vec![0, 2, 5, 6]));
    assert_eq!(
        ends(Some(r#"{"eos_token": {"content": "<|im_start|>", "lstrip": false}}"#), None, "{}"),
        (Some(1), vec![1])
    );
    assert_eq!(ends(Some(r#"{"eos_token": null}"#), listed, "{}"), (Some(5), vec![2, 5, 6]));
    assert_eq!(ends(None, Some("{}"), r#"{"eos_token_id": [7, 8]}"#), (Some(7), vec![7, 8]));
    assert_eq!(ends(None, None, "{}"), (None, vec![]));
    assert_eq!(load(None, None, "[").map(|_| ()).unwrap_err().code(), "config");
    assert_eq!(load(None, None, r#"{"eos_token_id": -1}"#).map(|_| ()).unwrap_err().code(), "config");
    assert_eq!(load(Some("{"), None, "{}").map(|_| ()).unwrap_err().code(), "tokenizer");
    assert_eq!(
        load(None, None, r#"{"eos_token_id": 9, "vocab_size": 9}"#).map(|_| ()).unwrap_err().code(),
        "tokenizer"
    );
    let small = load(None, None, r#"{"vocab_size": 300}"#).unwrap();
    assert!(small.encode("a", false).is_ok());
    assert_eq!(small.encode("wonderful", false).unwrap_err().code(), "tokenizer");
    assert_eq!(TOKENIZER.size(), 4096);
}

#[test]
fn an_added_token_without_an_embedding_is_refused_only_in_a_text() {
    let picture = json!({"id": 4096, "content": "<picture>", "special": true});
    let tokenizer = with(&[("/added_tokens", json!([picture]))]).to_string();
    let tokenizer = Tokenizer::from_files(&TokenizerFiles {
        tokenizer: tokenizer.as_bytes(),
        tokenizer_config: None,
        generation_config: None,
        chat_template: None,
        config: br#"{"vocab_size": 4096}"#,
    })
    .unwrap();
    assert_eq!((tokenizer.size(), tokenizer.own_size()), (4097, 4096));
    assert_eq!(tokenizer.encode("the cat", false).unwrap(), ids("the cat"));
    let refused = tokenizer.encode("the <picture>", false).unwrap_err().to_string();
    assert!(refused.contains("the token 4096, but the model has only 4096 tokens"), "{refused}");
}

/// What the post-processor puts around every text must have an embedding.
#[test]
fn a_token_around_every_text_needs_an_embedding() {
    let begin = json!({"id": 4096, "content": "<begin>", "special": true});
    let template = json!({
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<begin>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [],
        "special_tokens": {"<begin>": {"id": "<begin>", "ids": [4096], "tokens": ["<begin>"]}},
    });
    let tokenizer = with(&[("/added_tokens", json!([begin])), ("/post_processor", template)]).to_string();
    let load = |config: &str| {
        Tokenizer::from_files(&TokenizerFiles {
            tokenizer: tokenizer.as_bytes(),
            tokenizer_config: None,
            generation_config: None,
            chat_template: None,
            config: config.as_bytes(),
        })
    };
    assert!(load(r#"{"vocab_size": 4097}"#).is_ok());
    let refused = load(r#"{"vocab_size": 4096}"#).map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("the token 4096, but the model has only 4096 tokens"), "{refused}");
}

/// transformers adds to tokenizer.json's tokens those of tokenizer_config.json, and finds tokens as that file says.
#[test]
fn tokens_of_tokenizer_config_count() {
    let plain = json!([{"id": 0, "content": "<|endoftext|>", "special": true}]);
    let load = |configured: Value| {
        let (tokenizer, config) = (with(&[("/added_tokens", plain.clone())]).to_string(), configured.to_string());
        Tokenizer::from_files(&TokenizerFiles {
            tokenizer: tokenizer.as_bytes(),
            tokenizer_config: Some(config.as_bytes()),
            generation_config: None,
            chat_template: None,
            config: CONFIG,
        })
    };
    let token = |content: &str, flag: &str| json!({"content": content, "special": true, flag: true});
    let tokenizer = load(json!({"added_tokens_decoder": {
        "0": token("<|endoftext|>", "rstrip"), "4096": token("<new>", "lstrip"), "4097": token("<newer>", "special"),
    }}))
    .unwrap();
    let found = tokenizer.encode("a<|endoftext|>  \na <new><newer>", false).unwrap();
    assert_eq!(found, [ids("a"), vec![0], ids("a"), vec![4096, 4097]].concat());
    assert_eq!(load(json!({"added_tokens_decoder": {}})).unwrap().size(), 4096);
    for (configured, expected) in [
        (json!({"7": token("<|endoftext|>", "special")}), "the id 7, tokenizer.json the id 0"),
        (json!({"4098": token("<new>", "special")}), "cannot have the id 4098"),
        (json!({"x": token("<new>", "special")}), "tokenizer_config.json"),
        (json!({"4096": token("", "special")}), "is empty"),
    ] {
        let refused = load(json!({"added_tokens_decoder": configured})).map(|_| ()).unwrap_err().to_string();
        assert!(refused.contains(expected), "expected `{expected}`, found `{refused}`");
    }
}

#[test]
fn pieces_show_the_text_of_a_token() {
    let pieces: Vec<String> = ids(" the cat").iter().map(|id| TOKENIZER.piece(&[*id]).0).collect();
    assert_eq!(pieces.concat(), " the cat");
    assert_eq!(TOKENIZER.piece(&[EOS]).0, "<|endoftext|>");
    assert_eq!(TOKENIZER.piece(&[1_000_000]).0, "");
    assert_eq!(TOKENIZER.decode(&[EOS, 1_000_000]).unwrap(), "");
}

/// A Llama-like tokenizer: bytes as `<0x41>`, `▁` for a space, no pre-tokenizer.
fn byte_fallback() -> Tokenizer {
    let mut vocab: serde_json::Map<String, Value> = (0..256).map(|b| (format!("<0x{b:02X}>"), json!(b + 2))).collect();
    for (at, token) in ["<unk>", "<s>"].iter().enumerate() {
        vocab.insert(token.to_string(), json!(at));
    }
    for (at, token) in ["▁", "a", "b", "▁a", "é"].iter().enumerate() {
        vocab.insert(token.to_string(), json!(258 + at));
    }
    let normalizers = json!([
        {"type": "Prepend", "prepend": "▁"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    ]);
    let decoders = json!([
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    ]);
    tokenizer_of(&json!({
        "added_tokens": [{"id": 1, "content": "<s>", "special": true}],
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true, "vocab": vocab,
            "merges": ["▁ a"]},
    }))
    .unwrap()
}

#[test]
fn tokenizers_with_byte_fallback_read_and_write() {
    let tokenizer = byte_fallback();
    let ids = tokenizer.encode(" a é€", true).unwrap();
    assert_eq!(ids, [258, 261, 258, 262, 0xe2 + 2, 0x82 + 2, 0xac + 2]);
    assert_eq!(tokenizer.decode(&ids).unwrap(), " a é€");
    assert_eq!(
        ids.iter().map(|id| tokenizer.piece(&[*id]).0).collect::<Vec<_>>(),
        [" ", " a", " ", "é", "\u{fffd}", "\u{fffd}", "\u{fffd}"]
    );
    assert_eq!(tokenizer.piece(&ids[4..6]), ("\u{fffd}".to_owned(), false));
    assert_eq!(tokenizer.piece(&ids[4..]), ("€".to_owned(), true));
    assert_eq!(tokenizer.piece(&ids[..2]), ("  a".to_owned(), true));
    assert_eq!(tokenizer.size(), 263);

    // A token without text does not end a run of bytes: here `A` precedes a byte that is not valid UTF-8.
    for silent in [1, 999] {
        check_stream(&tokenizer, &[0x41 + 2, silent, 0xff + 2]);
        check_stream(&tokenizer, &[0xe2 + 2, silent, 0x82 + 2, 0xac + 2, 259]);
    }
}

/// Streaming must give the same text as decoding all ids at once.
fn check_stream(tokenizer: &Tokenizer, ids: &[u32]) {
    let mut stream = StreamDecoder::new(tokenizer);
    let mut text: String = ids.iter().map(|id| stream.push(*id).unwrap()).collect();
    text += &stream.finish().unwrap();
    assert_eq!(text, tokenizer.decode(ids).unwrap(), "{ids:?}");
}

#[test]
fn streamed_text_appears_as_soon_as_it_is_final() {
    let ids = ids("Hé 🏴 x");
    let mut stream = StreamDecoder::new(&TOKENIZER);
    let pieces: Vec<String> = ids.iter().map(|id| stream.push(*id).unwrap()).collect();
    assert_eq!(pieces.concat(), "Hé 🏴 x");
    assert_eq!(pieces.last().unwrap(), "x");
    assert!(pieces.iter().all(|piece| !piece.contains('\u{fffd}')));
    assert_eq!(stream.finish().unwrap(), "");
}

/// A `Split` as a pre-tokenizer.
fn by(pattern: Value, behavior: &str, invert: bool) -> Value {
    json!({"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert})
}

#[test]
fn unsupported_tokenizers_are_refused_with_a_reason() {
    let split = |regex: &str| by(json!({"Regex": regex}), "Isolated", false);
    let template =
        |single: Value| json!({"type": "TemplateProcessing", "single": single, "special_tokens": {"x": {"ids": [1]}}});
    let text = json!({"Sequence": {"id": "A"}});
    let added = |id: u32, content: &str| json!([{"id": id, "content": content}]);
    let nested =
        |depth| (0..depth).fold(json!({"type": "NFC"}), |inner, _| json!({"type": "Sequence", "normalizers": [inner]}));
    let cases = [
        ("/model/merges", json!([["Ġ", "never seen"]]), "the vocabulary lacks"),
        ("/model/merges", json!([["zq", "Ġ"]]), "the vocabulary lacks"),
        ("/model/merges", json!(["a b c"]), "not a pair"),
        ("/model/vocab", json!({"a": 1_000_000}), "ids must be below"),
        ("/model/vocab", json!({"a": -1}), "invalid value"),
        ("/model/type", json!("WordPiece"), "only `BPE` is supported"),
        ("/model/dropout", json!(0.1), "at random"),
        ("/model/unk_token", json!("never seen"), "lacks the unknown token"),
        ("/model/continuing_subword_prefix", json!("##"), "marks the parts of a word"),
        ("/model/end_of_word_suffix", json!("</w>"), "marks the parts of a word"),
        ("/added_tokens", added(4097, "<new>"), "cannot have the id 4097"),
        ("/added_tokens", added(7, "<|endoftext|>"), "cannot have the id 7"),
        ("/added_tokens", added(4096, ""), "empty or appears twice"),
        ("/added_tokens", added(u32::MAX, "<new>"), "ids must be below"),
        (
            "/added_tokens",
            json!([{"id": 4096, "content": " \n", "rstrip": true, "lstrip": true}]),
            "contains white space",
        ),
        ("/pre_tokenizer", split("(a+)+$"), "pattern that is not supported"),
        ("/pre_tokenizer", split(&"^".repeat(100_000)), "pattern that is not supported"),
        ("/pre_tokenizer", json!({"type": "Punctuation", "behavior": "Isolated"}), "unknown variant `Punctuation`"),
        ("/normalizer", json!({"type": "Replace", "pattern": {"Regex": "a*"}, "content": "b"}), "only one character"),
        ("/normalizer", json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}), "only one character"),
        ("/normalizer", json!({"type": "Replace", "pattern": {"String": ""}, "content": "a"}), "only one character"),
        (
            "/normalizer",
            json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
            "unknown variant `Precompiled`",
        ),
        ("/normalizer", nested(2), "within another"),
        ("/normalizer", nested(100), "recursion limit"),
        ("/normalizer", json!({"type": "Sequence", "normalizers": vec![json!({"type": "NFC"}); 5]}), "5 parts"),
        ("/post_processor", template(json!([{"SpecialToken": {"id": "y"}}, text])), "unknown token `y`"),
        ("/post_processor", template(json!([{"Sequence": {"id": "B"}}])), "the text `B`; only `A`, once"),
        ("/post_processor", template(json!([text, text])), "the text `A`; only `A`, once"),
        ("/post_processor", template(json!([{"SpecialToken": {"id": "x"}}])), "leaves out the text"),
        (
            "/post_processor",
            template(json!([vec![json!({"SpecialToken": {"id": "x"}}); 9], vec![text]].concat())),
            "adds more than",
        ),
        ("/decoder", Value::Null, "no decoder"),
        ("/decoder", json!({"type": "Strip", "content": " ", "start": 0, "stop": 9}), "not supported"),
        ("/decoder", json!({"type": "Sequence", "decoders": []}), "not supported"),
        ("/normalizer", json!({"type": "StripAccents"}), "unknown variant `StripAccents`"),
        ("/pre_tokenizer", by(json!({"Regex": LLAMA3}), "Removed", false), "(Removed)"),
        ("/pre_tokenizer", by(json!({"Regex": LLAMA3}), "Isolated", true), "(inverted, Isolated)"),
        ("/pre_tokenizer", by(json!({"Regex": r"\p{N}{1,3}"}), "Removed", true), "(inverted, Removed)"),
        ("/pre_tokenizer", by(json!({"String": "a"}), "MergedWithPrevious", false), "not supported: `a`"),
        ("/pre_tokenizer", by(json!({"String": " "}), "Isolated", false), "not supported: ` `"),
        (
            "/pre_tokenizer",
            json!({"type": "Metaspace", "replacement": "▁", "add_prefix_space": false}),
            "a space before a text and not to",
        ),
    ];
    for (path, value, expected) in cases {
        match tokenizer_of(&with(&[(path, value)])) {
            Err(Error::Tokenizer { reason }) => {
                assert!(reason.contains(expected), "{path}: expected `{expected}`, found `{reason}`")
            }
            Err(other) => panic!("{path}: {other:?}"),
            Ok(_) => panic!("{path}: expected `{expected}`"),
        }
    }
    let empty = json!({"model": {"vocab": {}, "merges": []}});
    assert!(tokenizer_of(&empty).map(|_| ()).unwrap_err().to_string().contains("vocabulary is empty"));
    let unigram = json!({"added_tokens": [], "model": {"type": "Unigram", "unk_id": 0, "vocab": [["a", -1.0]]}});
    let reason = tokenizer_of(&unigram).map(|_| ()).unwrap_err().to_string();
    assert!(reason.contains("type `Unigram`"), "{reason}");
}

#[test]
fn a_tokenizer_file_over_the_limit_is_refused_without_being_parsed() {
    let load = |bytes: usize| {
        let mut tokenizer = BASE_JSON.to_string().into_bytes();
        tokenizer.resize(bytes, b' ');
        Tokenizer::from_files(&TokenizerFiles {
            tokenizer: &tokenizer,
            tokenizer_config: None,
            generation_config: None,
            chat_template: None,
            config: CONFIG,
        })
    };
    assert!(load(32 << 20).is_ok());
    assert_eq!(load((32 << 20) + 1).map(|_| ()).unwrap_err().code(), "tokenizer");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_give_the_ids_of_one_call(
        parts in prop::collection::vec(prop::sample::select(&NASTY[..]), 0..60), bytes in 0usize..6,
    ) {
        thread_local!(static ALL: Vec<(&'static str, Tokenizer, tokenizers::Tokenizer)> = families::all().collect());
        let text = parts.concat();
        ALL.with(|all| for (name, tokenizer, oracle) in all {
            let expected = oracle.encode(text.as_str(), false).unwrap();
            let found = tokenizer.encode_in_pieces(&text, false, bytes).unwrap();
            assert_eq!(found, expected.get_ids(), "{name}: {text:?}");
        });
    }

    #[test]
    fn streaming_gives_the_text_of_all_ids(
        base in prop::collection::vec(0u32..4200, 0..40), bytes in prop::collection::vec(1u32..264, 0..40),
    ) {
        thread_local!(static FALLBACK: Tokenizer = byte_fallback());
        check_stream(&TOKENIZER, &base);
        check_stream(&TOKENIZER, &bytes);
        FALLBACK.with(|tokenizer| check_stream(tokenizer, &bytes));
    }

    #[test]
    fn damaged_tokenizers_are_errors_or_tokenizers(at: prop::sample::Index, byte: u8, cut: bool) {
        thread_local!(static SMALL: Vec<u8> = {
            let vocab = json!({"a": 0, "b": 1, "ab": 2, "Ġ": 3, "Ġa": 4});
            let model = json!({"type": "BPE", "vocab": vocab, "merges": [["a", "b"], ["Ġ", "a"]]});
            let added = json!([{"id": 5, "content": "<s>", "special": true}]);
            with(&[("/model", model), ("/added_tokens", added)]).to_string().into_bytes()
        });
        let mut json = SMALL.with(Vec::clone);
        let at = at.index(json.len());
        if cut { json.truncate(at) } else { json[at] = byte }
        let files = TokenizerFiles {
            tokenizer: &json,
            tokenizer_config: None,
            generation_config: None,
            chat_template: None,
            config: CONFIG,
        };
        if let Ok(tokenizer) = Tokenizer::from_files(&files) {
            let ids = tokenizer.encode("ab a<s> é", true);
            prop_assert!(ids.map_or(true, |ids| tokenizer.decode(&ids).is_ok()));
        }
    }
}
