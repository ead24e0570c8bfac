//! From text to batches, against the rules of the documentation and the `tokenizers` crate as oracle. The tokenizer is the
//! embedded model's; others are made from it.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};
use tabtune::error::{Error, Result};
use tabtune::text::*;

const BASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/www/public/base/");
/// The embedded model's end-of-text token.
const EOS: u32 = 0;
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const CONFIG: &[u8] = br#"{"eos_token_id": 0, "vocab_size": 5000}"#;

static BASE_JSON: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_slice(&std::fs::read(format!("{BASE}tokenizer.json")).unwrap()).unwrap());
static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
    let read = |name| std::fs::read(format!("{BASE}{name}")).unwrap();
    let (tokenizer, tokenizer_config, config) = (read("tokenizer.json"), read("tokenizer_config.json"), read("config.json"));
    let files =
        TokenizerFiles { tokenizer: &tokenizer, tokenizer_config: Some(&tokenizer_config), generation_config: None, config: &config };
    Tokenizer::from_files(&files).unwrap()
});
static ORACLE: LazyLock<tokenizers::Tokenizer> = LazyLock::new(|| oracle(&BASE_JSON));

fn tokenizer_of(json: &Value) -> Result<Tokenizer> {
    let tokenizer = json.to_string().into_bytes();
    Tokenizer::from_files(&TokenizerFiles { tokenizer: &tokenizer, tokenizer_config: None, generation_config: None, config: CONFIG })
}

fn oracle(json: &Value) -> tokenizers::Tokenizer {
    tokenizers::Tokenizer::from_bytes(json.to_string()).unwrap()
}

/// The embedded tokenizer with some of its fields replaced.
fn with(fields: &[(&str, Value)]) -> Value {
    let mut json = BASE_JSON.clone();
    for (path, value) in fields {
        *json.pointer_mut(path).unwrap() = value.clone();
    }
    json
}

fn ids(text: &str) -> Vec<u32> {
    ORACLE.encode(text, false).unwrap().get_ids().to_vec()
}

fn document(name: &str, text: &str) -> Document {
    Document { name: name.to_owned(), bytes: text.as_bytes().to_vec() }
}

fn rows_of(name: &str, text: &str, seq_len: usize) -> Result<Rows> {
    rows(&TOKENIZER, &[document(name, text)], seq_len)
}

/// The labelled ids of a row.
fn labels(row: &Row) -> Vec<u32> {
    row.targets.iter().zip(&row.ids[1..]).filter(|(target, _)| **target).map(|(_, id)| *id).collect()
}

fn padded(mut ids: Vec<u32>, length: usize) -> Vec<u32> {
    ids.resize(length, 0);
    ids
}

fn json_line(fields: &[(&str, &str)]) -> String {
    let map: serde_json::Map<String, Value> = fields.iter().map(|(k, v)| (k.to_string(), json!(v))).collect();
    Value::Object(map).to_string()
}

#[test]
fn plain_text_is_cut_into_windows_and_the_last_is_padded() {
    let text = "Call me Ishmael. Some years ago, never mind how long precisely, I thought I would sail about a little.";
    let mut all = ids(text);
    all.push(EOS);
    let found = rows_of("moby.txt", text, 8).unwrap();
    assert_eq!((found.characters, found.tokens, found.cut), (text.chars().count(), all.len() - 1, 0));
    assert_eq!(found.rows.len(), (all.len() - 1).div_ceil(8));
    for (at, row) in found.rows.iter().enumerate() {
        let window = &all[at * 8..all.len().min(at * 8 + 9)];
        assert_eq!(row.ids, padded(window.to_vec(), 9));
        assert_eq!(labels(row), window[1..]);
        assert_eq!(row.tokens, window.len().min(8));
    }
    assert!(found.rows.last().unwrap().targets.iter().any(|t| !t), "the text was meant to need padding");
}

#[test]
fn every_plain_file_ends_in_one_end_of_text() {
    let documents = [document("a.txt", "One two three."), document("B.MD", ""), document("notes", "Four five six seven.")];
    let expected = [ids("One two three."), vec![EOS, EOS], ids("Four five six seven."), vec![EOS]].concat();
    let found = rows(&TOKENIZER, &documents, expected.len() - 1).unwrap();
    assert_eq!(found.rows.len(), 1);
    assert_eq!(found.rows[0].ids, expected);
    assert_eq!(found.rows[0].tokens, expected.len() - 1);
}

#[test]
fn a_text_of_exactly_one_row_is_enough_and_one_less_is_not() {
    let text = "Just a few words";
    let count = ids(text).len() + 1;
    assert_eq!(rows_of("a.txt", text, count - 1).unwrap().rows.len(), 1);
    assert_eq!(rows_of("a.txt", text, count).unwrap_err(), Error::TextTooShort { found: count, needed: count + 1 });
}

#[test]
fn text_examples_train_on_everything_and_pairs_on_the_completion() {
    let lines = [
        json_line(&[("text", "A short text.")]),
        String::new(),
        json_line(&[("completion", " Paris is."), ("prompt", "Which town?"), ("source", "me")]),
        json_line(&[("prompt", ""), ("completion", "Said unasked.")]),
    ];
    let found = rows_of("a.jsonl", &lines.join("\r\n"), 24).unwrap();
    let (text, prompt, completion, unasked) = (ids("A short text."), ids("Which town?"), ids(" Paris is."), ids("Said unasked."));
    assert_eq!(found.rows.len(), 3);
    assert_eq!(found.rows[0].ids, padded(text.clone(), 25));
    assert_eq!(labels(&found.rows[0]), [&text[1..], &[EOS]].concat());
    assert_eq!(found.rows[0].tokens, text.len() + 1);
    assert_eq!(found.rows[1].ids, padded([prompt, completion.clone()].concat(), 25));
    assert_eq!(labels(&found.rows[1]), [&completion[..], &[EOS]].concat());
    assert_eq!(labels(&found.rows[2]), [&unasked[1..], &[EOS]].concat());
}

#[test]
fn long_examples_lose_their_end_and_are_counted() {
    let text = "This example is a good deal longer than the row it is given.";
    let lines = [json_line(&[("text", text)]), json_line(&[("prompt", "Short?"), ("completion", "Yes.")])].join("\n");
    let found = rows_of("a.jsonl", &lines, 8).unwrap();
    assert_eq!(found.cut, 1);
    assert_eq!(found.rows[0].ids, ids(text)[..9]);
    assert_eq!(labels(&found.rows[0]), ids(text)[1..9]);
    assert_eq!(found.rows[0].tokens, 8);

    let options = DatasetOptions { seq_len: 8, holdout: 0.0, limit_bytes: PAGE_LIMIT };
    let data = Dataset::from_documents(&TOKENIZER, &[document("a.jsonl", &lines)], None, &options).unwrap();
    assert_eq!(data.warnings.iter().map(|w| w.code).collect::<Vec<_>>(), ["rows_cut"]);
    assert!(data.warnings[0].message.starts_with("1 of 2 "), "{}", data.warnings[0].message);
}

#[test]
fn prompts_that_fill_every_row_are_an_error() {
    let line = json_line(&[("prompt", "A prompt that is longer than its row of four tokens."), ("completion", "No.")]);
    let options = DatasetOptions { seq_len: 4, holdout: 0.0, limit_bytes: PAGE_LIMIT };
    let error = Dataset::from_documents(&TOKENIZER, &[document("a.jsonl", &line)], None, &options).unwrap_err();
    assert_eq!(error.code(), "data_format");
}

#[test]
fn csv_gives_the_rows_of_the_same_json_lines() {
    let pairs = json_line(&[("prompt", "Say \"hi\",\nplease"), ("completion", " hi")]);
    let csv = "id,completion,\"prompt\"\r\n1, hi,\"Say \"\"hi\"\",\nplease\"\r\n";
    assert_eq!(rows_of("a.CSV", csv, 16).unwrap().rows, rows_of("a.jsonl", &pairs, 16).unwrap().rows);
    let text = json_line(&[("text", "one, two")]);
    assert_eq!(rows_of("a.csv", "\u{feff}text\n\"one, two\"\n", 16).unwrap().rows, rows_of("a.json", &text, 16).unwrap().rows);
}

#[test]
fn broken_lines_are_named_with_their_number() {
    let good = json_line(&[("text", "fine")]);
    let cases = [
        ("{\"text\": \"cut short", "not a JSON object"),
        ("[1, 2]", "not a JSON object"),
        ("{\"text\": \"\\ud800\"}", "not a JSON object"),
        ("{\"text\": 1}", "`text` is not a string"),
        ("{\"prompt\": \"a\"}", "`completion` is missing"),
        ("{\"completion\": \"a\"}", "`prompt` is missing"),
        ("{\"prompt\": \"a\", \"completion\": null}", "`completion` is not a string"),
        ("{}", "neither `text` nor `prompt` and `completion`"),
    ];
    for (line, expected) in cases {
        let error = rows_of("a.jsonl", &format!("{good}\n\n{line}\n{good}"), 8).unwrap_err();
        let Error::DataLine { name, line: 3, reason } = &error else { panic!("{line}: {error:?}") };
        assert_eq!(name, "a.jsonl");
        assert!(reason.contains(expected), "{line}: {reason}");
    }
    let error = rows_of("a.csv", "text,x\nfine,1\n\nshort\n", 8).unwrap_err();
    assert!(matches!(&error, Error::DataLine { line: 4, reason, .. } if reason == "1 fields, the first line has 2"), "{error:?}");
    assert_eq!(rows_of("a.csv", "prompt,answer\na,b\n", 8).unwrap_err().code(), "data_format");
}

#[test]
fn conversations_are_not_available_yet() {
    let line = r#"{"messages": [{"role": "user", "content": "Hello"}]}"#;
    assert_eq!(rows_of("a.jsonl", line, 8).unwrap_err().code(), "not_yet");
}

#[test]
fn nothing_to_train_on_is_an_empty_text() {
    for (name, text) in [
        ("a.txt", ""),
        ("a.txt", "\u{feff}"),
        ("a.txt", " \n\t "),
        ("a.jsonl", "\n\n"),
        ("a.jsonl", "{\"text\": \"\"}"),
        ("a.csv", "text\n"),
    ] {
        assert_eq!(rows_of(name, text, 1).unwrap_err(), Error::TextEmpty, "{name} {text:?}");
    }
    assert_eq!(rows(&TOKENIZER, &[], 8).unwrap_err(), Error::TextEmpty);
    assert_eq!(rows_of("a.txt", "text", 0).unwrap_err().code(), "setting");
}

#[test]
fn a_byte_order_mark_is_no_text_and_other_encodings_are_refused() {
    assert_eq!(rows_of("a.txt", "\u{feff}Hello there", 2).unwrap().rows, rows_of("a.txt", "Hello there", 2).unwrap().rows);
    let latin1 = Document { name: "a.txt".to_owned(), bytes: b"caf\xe9 noir".to_vec() };
    assert_eq!(rows(&TOKENIZER, &[latin1], 2).unwrap_err(), Error::TextNotUtf8 { name: "a.txt".to_owned(), offset: 3 });
}

#[test]
fn sizes_are_refused_before_anything_is_decoded() {
    let documents = [document("a.txt", "twelve bytes"), Document { name: "b.txt".to_owned(), bytes: vec![0xff; 8] }];
    let options = DatasetOptions { seq_len: 2, holdout: 0.0, limit_bytes: 19 };
    let error = Dataset::from_documents(&TOKENIZER, &documents, None, &options).unwrap_err();
    assert_eq!(error, Error::TextTooLarge { bytes: 20, limit: 19 });
    let error = Dataset::from_documents(&TOKENIZER, &documents[..1], Some(&documents[1..]), &options).unwrap_err();
    assert_eq!(error, Error::TextTooLarge { bytes: 20, limit: 19 });
    let options = DatasetOptions { limit_bytes: 20, ..options };
    let error = Dataset::from_documents(&TOKENIZER, &documents, None, &options).unwrap_err();
    assert_eq!(error.code(), "text_not_utf8");
    assert_eq!((PAGE_LIMIT, NATIVE_LIMIT), (8_000_000, 64_000_000));
}

/// A file of `count` examples, told apart by their first id.
fn numbered(count: usize) -> Document {
    let lines: Vec<String> = (0..count).map(|i| json_line(&[("text", &format!("{} x", (b'a' + i as u8) as char))])).collect();
    document("a.jsonl", &lines.join("\n"))
}

#[test]
fn the_last_rows_in_file_order_are_held_out() {
    let cases = [(10, 0.0, 0), (1, 0.5, 0), (2, 0.01, 1), (10, 0.1, 1), (19, 0.1, 1), (20, 0.1, 2), (10, 0.99, 9), (3, 0.5, 1)];
    for (count, holdout, expected) in cases {
        let options = DatasetOptions { seq_len: 4, holdout, limit_bytes: PAGE_LIMIT };
        let all = rows(&TOKENIZER, &[numbered(count)], 4).unwrap().rows;
        let data = Dataset::from_documents(&TOKENIZER, &[numbered(count)], None, &options).unwrap();
        assert_eq!((data.rows.as_slice(), data.held_out.as_slice()), all.split_at(count - expected), "{holdout} of {count}");
        assert_eq!(data.targets(), data.rows.iter().map(|r| labels(r).len()).sum::<usize>());
    }
    for holdout in [-0.1, 1.0, f64::NAN, f64::INFINITY] {
        let options = DatasetOptions { seq_len: 4, holdout, limit_bytes: PAGE_LIMIT };
        assert_eq!(Dataset::from_documents(&TOKENIZER, &[numbered(3)], None, &options).unwrap_err().code(), "setting");
    }
}

#[test]
fn holding_out_at_most_so_many_equals_holding_out_so_many() {
    let options = |holdout| DatasetOptions { seq_len: 4, holdout, limit_bytes: PAGE_LIMIT };
    let mut data = Dataset::from_documents(&TOKENIZER, &[numbered(20)], None, &options(0.5)).unwrap();
    let fewer = Dataset::from_documents(&TOKENIZER, &[numbered(20)], None, &options(0.2)).unwrap();
    data.hold_out_at_most(4);
    assert_eq!((&data.rows, &data.held_out), (&fewer.rows, &fewer.held_out));
    data.hold_out_at_most(9);
    assert_eq!(data.held_out.len(), 4);
}

#[test]
fn held_out_documents_replace_the_held_out_part() {
    let options = DatasetOptions { seq_len: 4, holdout: 0.5, limit_bytes: PAGE_LIMIT };
    let data = Dataset::from_documents(&TOKENIZER, &[numbered(4)], Some(&[numbered(7)]), &options).unwrap();
    assert_eq!((data.rows.len(), data.held_out.len()), (4, 7));
}

#[test]
fn plain_rows_stand_where_the_first_plain_file_stands() {
    let documents = [numbered(2), document("a.txt", "a b c d e"), numbered(1), document("b.txt", "f g h")];
    let found = rows(&TOKENIZER, &documents, 4).unwrap().rows;
    let examples = rows(&TOKENIZER, &[numbered(2)], 4).unwrap().rows;
    let plain = rows(&TOKENIZER, &[documents[1].clone(), documents[3].clone()], 4).unwrap().rows;
    assert_eq!(found, [&examples[..], &plain, &examples[..1]].concat());
}

#[test]
fn text_the_tokenizer_hardly_knows_is_warned_of() {
    let warned = |text: &str| {
        let options = DatasetOptions { seq_len: 16, holdout: 0.0, limit_bytes: PAGE_LIMIT };
        let data = Dataset::from_documents(&TOKENIZER, &[document("a.txt", text)], None, &options).unwrap();
        data.warnings.iter().any(|w| w.code == "unknown_language")
    };
    assert!(!warned("It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness."));
    assert!(!warned("for (let i = 0; i < 10; i++) { console.log(`${i}: ${rows[i].name}`); }"));
    assert!(!warned("Es war einmal ein kleines süßes Mädchen, das hatte jedermann lieb, der sie nur ansah."));
    assert!(warned("Ἐν ἀρχῇ ἦν ὁ λόγος. Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα."));
    assert!(warned("Все люди рождаются свободными и равными в своем достоинстве и правах."));
    assert!(warned("すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。"));
}

/// White space of all kinds, punctuation that takes line ends, digits, marks, contractions, special tokens.
const NASTY: [&str; 30] = [
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
    "🏴‍☠️",
];

/// The embedded tokenizer with merges over every border between white space, punctuation, letters and digits, so that ids
/// show where text was cut. Its own merges stay within GPT-2's pattern and would hide it.
fn telling() -> Value {
    let mut json = BASE_JSON.clone();
    let marks = ["Ġ", "Ċ", "č", "ĉ", ".", "-", "\"", "a", "7"];
    for (first, second) in marks.iter().flat_map(|first| marks.map(|second| (first, second))) {
        let vocab = json["model"]["vocab"].as_object_mut().unwrap();
        let (id, token) = (vocab.len(), format!("{first}{second}"));
        if !vocab.contains_key(&token) {
            vocab.insert(token, json!(id));
            json["model"]["merges"].as_array_mut().unwrap().push(json!([first, second]));
        }
    }
    json
}

/// That tokenizer, and with the pre-tokenizers of SmolLM2, Llama 3 and Qwen.
fn recognised() -> Vec<(Tokenizer, tokenizers::Tokenizer)> {
    let byte_level = |regex| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": regex});
    let split = |regex: &str| json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false});
    let sequence = |first, second| json!({"type": "Sequence", "pretokenizers": [first, second]});
    let digits = json!({"type": "Digits", "individual_digits": true});
    let qwen = LLAMA3.replace("{1,3}", "");
    let cases = [
        (Value::Null, BASE_JSON["pre_tokenizer"].clone()),
        (Value::Null, sequence(digits, byte_level(true))),
        (Value::Null, sequence(split(LLAMA3), byte_level(false))),
        (json!({"type": "NFC"}), sequence(split(&qwen), byte_level(false))),
    ];
    let make = |(normalizer, pre_tokenizer)| {
        let mut json = telling();
        json["normalizer"] = normalizer;
        json["pre_tokenizer"] = pre_tokenizer;
        (tokenizer_of(&json).unwrap(), oracle(&json))
    };
    cases.map(make).into()
}

#[test]
fn long_texts_are_cut_and_give_the_ids_of_one_call() {
    let text = "A line of text, \"quoted\".\r\nAnd   another 12345 …\n\n".repeat(4_000);
    for (tokenizer, oracle) in recognised() {
        let expected = oracle.encode(text.as_str(), false).unwrap();
        assert!(tokenizer.encode(&text, false).unwrap() == expected.get_ids());
    }
}

#[test]
fn unrecognised_pre_tokenizers_are_not_cut_and_still_right() {
    let spaced = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true});
    let strips = json!([{"id": 0, "content": "<|endoftext|>", "single_word": false, "lstrip": true, "rstrip": true, "normalized": false, "special": true}]);
    for json in [with(&[("/pre_tokenizer", spaced)]), with(&[("/added_tokens", strips)])] {
        let text = "one\ntwo <|endoftext|> three \n<|endoftext|>\n";
        let expected = oracle(&json).encode(text, false).unwrap();
        assert_eq!(tokenizer_of(&json).unwrap().encode_in_pieces(text, false, 1).unwrap(), expected.get_ids());
    }
}

#[test]
fn the_post_processor_adds_its_tokens_once() {
    let template = json!({"type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}, "</s>": {"id": "</s>", "ids": [2, 0], "tokens": ["</s>", "x"]}}});
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false});
    for processor in [template.clone(), json!({"type": "Sequence", "processors": [byte_level, template]})] {
        let json = with(&[("/post_processor", processor)]);
        let (tokenizer, oracle) = (tokenizer_of(&json).unwrap(), oracle(&json));
        for text in ["", "one two three four"] {
            for special in [false, true] {
                let expected = oracle.encode(text, special).unwrap();
                assert_eq!(tokenizer.encode_in_pieces(text, special, 2).unwrap(), expected.get_ids(), "{text} {special}");
            }
        }
        let line = document("a.jsonl", &json_line(&[("prompt", "a"), ("completion", " b")]));
        let row = &rows(&tokenizer, &[line], 7).unwrap().rows[0];
        assert_eq!(row.ids, padded([vec![1], ids("a"), vec![2, 0], ids(" b"), vec![EOS]].concat(), 8));
        assert_eq!(labels(row), [ids(" b"), vec![EOS]].concat());
    }
}

#[test]
fn truncation_and_padding_in_the_file_do_not_touch_a_text() {
    let mut json = BASE_JSON.clone();
    json["truncation"] = json!({"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 5});
    json["padding"] =
        json!({"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": 0, "pad_id": 0, "pad_type_id": 0, "pad_token": "x"});
    assert_eq!(tokenizer_of(&json).unwrap().encode("one two three four", true).unwrap(), ids("one two three four"));
}

#[test]
fn the_end_of_text_is_looked_up_in_three_files_in_order() {
    let tokenizer = BASE_JSON.to_string();
    let load = |tokenizer_config: Option<&str>, generation_config: Option<&str>, config: &str| {
        Tokenizer::from_files(&TokenizerFiles {
            tokenizer: tokenizer.as_bytes(),
            tokenizer_config: tokenizer_config.map(str::as_bytes),
            generation_config: generation_config.map(str::as_bytes),
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
    assert_eq!(ends(Some(r#"{"eos_token": {"content": "<|im_start|>", "lstrip": false}}"#), None, "{}"), (Some(1), vec![1]));
    assert_eq!(ends(Some(r#"{"eos_token": null}"#), listed, "{}"), (Some(5), vec![2, 5, 6]));
    assert_eq!(ends(None, Some("{}"), r#"{"eos_token_id": [7, 8]}"#), (Some(7), vec![7, 8]));
    assert_eq!(ends(None, None, "{}"), (None, vec![]));
    assert_eq!(load(None, None, "[").map(|_| ()).unwrap_err().code(), "config");
    assert_eq!(load(None, None, r#"{"eos_token_id": -1}"#).map(|_| ()).unwrap_err().code(), "config");
    assert_eq!(load(Some("{"), None, "{}").map(|_| ()).unwrap_err().code(), "tokenizer");
    assert_eq!(load(None, None, r#"{"eos_token_id": 9, "vocab_size": 9}"#).map(|_| ()).unwrap_err().code(), "tokenizer");
    let small = load(None, None, r#"{"vocab_size": 300}"#).unwrap();
    assert!(small.encode("a", false).is_ok());
    assert_eq!(small.encode("wonderful", false).unwrap_err().code(), "tokenizer");
    assert_eq!(TOKENIZER.size(), 4096);
}

#[test]
fn pieces_show_what_a_token_says() {
    let pieces: Vec<String> = ids(" the cat").iter().map(|id| TOKENIZER.piece(*id)).collect();
    assert_eq!(pieces.concat(), " the cat");
    assert_eq!(TOKENIZER.piece(EOS), "<|endoftext|>");
    assert_eq!(TOKENIZER.piece(1_000_000), "");
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
    tokenizer_of(&json!({
        "added_tokens": [{"id": 1, "content": "<s>", "special": true}],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true, "vocab": vocab, "merges": ["▁ a"]},
    }))
    .unwrap()
}

#[test]
fn tokenizers_with_byte_fallback_read_and_write() {
    let tokenizer = byte_fallback();
    let ids = tokenizer.encode(" a é€", true).unwrap();
    assert_eq!(ids, [258, 261, 258, 262, 0xe2 + 2, 0x82 + 2, 0xac + 2]);
    assert_eq!(tokenizer.decode(&ids).unwrap(), " a é€");
    assert_eq!(ids.iter().map(|id| tokenizer.piece(*id)).collect::<Vec<_>>(), [" ", " a", " ", "é", "<0xE2>", "<0x82>", "<0xAC>"]);
    assert_eq!(tokenizer.size(), 263);

    // What has no text does not end a run of bytes: `A` turns out to stand before a byte that is no text.
    for silent in [1, 999] {
        check_stream(&tokenizer, &[0x41 + 2, silent, 0xff + 2]);
        check_stream(&tokenizer, &[0xe2 + 2, silent, 0x82 + 2, 0xac + 2, 259]);
    }
}

/// Streaming gives the text of all ids at once.
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

#[test]
fn tokenizers_that_are_not_understood_are_refused_in_words() {
    let split = |regex: &str| json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false});
    let template = |single: Value| json!({"type": "TemplateProcessing", "single": single, "special_tokens": {"x": {"ids": [1]}}});
    let text = json!({"Sequence": {"id": "A"}});
    let added = |id: u32, content: &str| json!([{"id": id, "content": content}]);
    let nested = |depth| (0..depth).fold(json!({"type": "NFC"}), |inner, _| json!({"type": "Sequence", "normalizers": [inner]}));
    let cases = [
        ("/model/merges", json!([["Ġ", "never seen"]]), "the vocabulary lacks"),
        ("/model/merges", json!([["zq", "Ġ"]]), "the vocabulary lacks"),
        ("/model/merges", json!(["a b c"]), "not a pair"),
        ("/model/vocab", json!({"a": 1_000_000}), "ids must lie below"),
        ("/model/vocab", json!({"a": -1}), "invalid value"),
        ("/model/type", json!("WordPiece"), "only `BPE` is supported"),
        ("/model/dropout", json!(0.1), "at random"),
        ("/model/unk_token", json!("never seen"), "lacks the unknown token"),
        ("/model/continuing_subword_prefix", json!("##"), "marks the parts of a word"),
        ("/model/end_of_word_suffix", json!("</w>"), "marks the parts of a word"),
        ("/added_tokens", added(4097, "<new>"), "cannot have the id 4097"),
        ("/added_tokens", added(7, "<|endoftext|>"), "cannot have the id 7"),
        ("/added_tokens", added(4096, ""), "empty or given twice"),
        ("/added_tokens", added(u32::MAX, "<new>"), "ids must lie below"),
        ("/added_tokens", json!([{"id": 4096, "content": " \n", "rstrip": true, "lstrip": true}]), "holds white space"),
        ("/pre_tokenizer", split("(a+)+$"), "pattern that is not supported"),
        ("/pre_tokenizer", split(&"^".repeat(100_000)), "pattern that is not supported"),
        ("/pre_tokenizer", json!({"type": "Punctuation", "behavior": "Isolated"}), "unknown variant `Punctuation`"),
        ("/normalizer", json!({"type": "Replace", "pattern": {"Regex": "a*"}, "content": "b"}), "only one character"),
        ("/normalizer", json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}), "only one character"),
        ("/normalizer", json!({"type": "Replace", "pattern": {"String": ""}, "content": "a"}), "only one character"),
        ("/normalizer", json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"}), "unknown variant `Precompiled`"),
        ("/normalizer", nested(2), "within another"),
        ("/normalizer", nested(100), "recursion limit"),
        ("/normalizer", json!({"type": "Sequence", "normalizers": vec![json!({"type": "NFC"}); 5]}), "5 parts"),
        ("/post_processor", template(json!([{"SpecialToken": {"id": "y"}}, text])), "unknown token `y`"),
        ("/post_processor", template(json!([{"Sequence": {"id": "B"}}])), "the text `B` out of turn"),
        ("/post_processor", template(json!([text, text])), "the text `A` out of turn"),
        ("/post_processor", template(json!([{"SpecialToken": {"id": "x"}}])), "leaves the text out"),
        ("/post_processor", template(json!([vec![json!({"SpecialToken": {"id": "x"}}); 9], vec![text]].concat())), "adds more than"),
        ("/decoder", Value::Null, "no decoder"),
        ("/decoder", json!({"type": "Strip", "content": " ", "start": 0, "stop": 9}), "not supported"),
        ("/decoder", json!({"type": "Sequence", "decoders": []}), "not supported"),
    ];
    for (path, value, expected) in cases {
        match tokenizer_of(&with(&[(path, value)])) {
            Err(Error::Tokenizer { reason }) => assert!(reason.contains(expected), "{path}: expected `{expected}`, found `{reason}`"),
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
fn a_tokenizer_file_over_the_limit_is_refused_unread() {
    let load = |bytes: usize| {
        let mut tokenizer = BASE_JSON.to_string().into_bytes();
        tokenizer.resize(bytes, b' ');
        Tokenizer::from_files(&TokenizerFiles { tokenizer: &tokenizer, tokenizer_config: None, generation_config: None, config: CONFIG })
    };
    assert!(load(32 << 20).is_ok());
    assert_eq!(load((32 << 20) + 1).map(|_| ()).unwrap_err().code(), "tokenizer");
}

#[test]
fn a_batch_is_the_next_rows_and_the_last_of_an_epoch_may_be_smaller() {
    let batches = Batches { rows: 7, batch: 3, seed: 0, shuffle: false };
    assert_eq!(batches.steps_per_epoch(), 3);
    let steps: Vec<_> = (0..4).map(|step| batches.indices(step)).collect();
    assert_eq!(steps, [vec![0, 1, 2], vec![3, 4, 5], vec![6], vec![0, 1, 2]]);
    assert!(Batches { rows: 0, ..batches }.indices(5).is_empty());
    assert!(Batches { batch: 0, ..batches }.indices(5).is_empty());
}

#[test]
fn the_shuffle_is_the_documented_one() {
    // From a Python transcription of the documentation of `permutation`.
    let order = |seed, epoch| Batches { rows: 10, batch: 10, seed, shuffle: true }.indices(epoch);
    assert_eq!(order(0, 0), [1, 2, 5, 7, 0, 8, 4, 3, 9, 6]);
    assert_eq!(order(0, 1), [3, 6, 4, 7, 9, 5, 2, 1, 8, 0]);
    assert_eq!(order(7, 0), [6, 1, 8, 3, 0, 2, 9, 4, 5, 7]);
    assert_eq!(order(u64::MAX, u32::MAX), [5, 4, 2, 7, 1, 3, 8, 6, 0, 9]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_give_the_ids_of_one_call(parts in prop::collection::vec(prop::sample::select(&NASTY[..]), 0..60), bytes in 0usize..6) {
        thread_local!(static ALL: Vec<(Tokenizer, tokenizers::Tokenizer)> = recognised());
        let text = parts.concat();
        ALL.with(|all| for (tokenizer, oracle) in all {
            let expected = oracle.encode(text.as_str(), false).unwrap();
            assert_eq!(tokenizer.encode_in_pieces(&text, false, bytes).unwrap(), expected.get_ids(), "{text:?}");
        });
    }

    #[test]
    fn every_token_but_the_first_is_a_target_once(words in prop::collection::vec(1usize..30, 1..4), seq_len in 1usize..12) {
        let texts: Vec<String> = words.iter().map(|n| "word ".repeat(*n)).collect();
        let documents: Vec<Document> = texts.iter().map(|text| document("a.txt", text)).collect();
        let all: Vec<u32> = texts.iter().flat_map(|text| [ids(text), vec![EOS]].concat()).collect();
        match rows(&TOKENIZER, &documents, seq_len) {
            Ok(found) => prop_assert_eq!(found.rows.iter().flat_map(labels).collect::<Vec<_>>(), &all[1..]),
            Err(error) => prop_assert_eq!(error, Error::TextTooShort { found: all.len(), needed: seq_len + 1 }),
        }
    }

    #[test]
    fn an_epoch_is_every_row_once(rows in 1usize..60, batch in 1usize..9, seed: u64, epoch in 0u32..5) {
        let batches = Batches { rows, batch, seed, shuffle: true };
        let steps = batches.steps_per_epoch();
        let order: Vec<usize> = (epoch * steps..(epoch + 1) * steps).flat_map(|step| batches.indices(step)).collect();
        prop_assert_eq!(order.len(), rows);
        prop_assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), rows);
    }

    #[test]
    fn streaming_gives_the_text_of_all_ids(base in prop::collection::vec(0u32..4200, 0..40), bytes in prop::collection::vec(1u32..264, 0..40)) {
        thread_local!(static FALLBACK: Tokenizer = byte_fallback());
        check_stream(&TOKENIZER, &base);
        check_stream(&TOKENIZER, &bytes);
        FALLBACK.with(|tokenizer| check_stream(tokenizer, &bytes));
    }

    #[test]
    fn damaged_tokenizers_are_errors_or_tokenizers(at: prop::sample::Index, byte: u8, cut: bool) {
        thread_local!(static SMALL: Vec<u8> = {
            let vocab: serde_json::Map<_, _> = ["a", "b", "ab", "Ġ", "Ġa"].iter().enumerate().map(|(i, t)| (t.to_string(), json!(i))).collect();
            let model = json!({"type": "BPE", "vocab": vocab, "merges": [["a", "b"], ["Ġ", "a"]]});
            with(&[("/model", model), ("/added_tokens", json!([{"id": 5, "content": "<s>", "special": true}]))]).to_string().into_bytes()
        });
        let mut json = SMALL.with(Vec::clone);
        let at = at.index(json.len());
        if cut { json.truncate(at) } else { json[at] = byte }
        let files = TokenizerFiles { tokenizer: &json, tokenizer_config: None, generation_config: None, config: CONFIG };
        if let Ok(tokenizer) = Tokenizer::from_files(&files) {
            let ids = tokenizer.encode("ab a<s> é", true);
            prop_assert!(ids.map_or(true, |ids| tokenizer.decode(&ids).is_ok()));
        }
    }

    #[test]
    fn any_bytes_are_rows_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..80), text in "\\PC{0,40}", name in "a\\.(txt|jsonl|csv)") {
        let _ = rows(&TOKENIZER, &[Document { name: name.clone(), bytes }], 3);
        let _ = rows(&TOKENIZER, &[document(&name, &text)], 3);
    }

    #[test]
    fn a_micro_batch_lists_its_targets_in_order(masks in prop::collection::vec(prop::collection::vec(any::<bool>(), 5), 0..4), missing in 0usize..3) {
        let made: Vec<Row> = masks.iter().enumerate().map(|(b, mask)| Row {
            ids: (0..6).map(|t| (100 * b + t + 1) as u32).collect(),
            targets: mask.clone(),
            tokens: 3,
        }).collect();
        let batch = made.len() + missing;
        let micro = MicroBatch::assemble(&made.iter().collect::<Vec<_>>(), batch, 5);
        for list in [&micro.tokens, &micro.targets, &micro.rows, &micro.slot_of_row] {
            prop_assert_eq!(list.len(), batch * 5);
        }
        let mut labelled = Vec::new();
        for place in 0..batch * 5 {
            let (b, t) = (place / 5, place % 5);
            let row = made.get(b);
            prop_assert_eq!(micro.tokens[place], row.map_or(0, |r| r.ids[t]));
            if row.is_some_and(|r| r.targets[t]) {
                prop_assert_eq!(micro.targets[place], made[b].ids[t + 1]);
                prop_assert_eq!(micro.slot_of_row[place], labelled.len() as u32);
                labelled.push(place as u32);
            } else {
                prop_assert_eq!((micro.targets[place], micro.slot_of_row[place]), (0, MicroBatch::NO_SLOT));
            }
        }
        prop_assert_eq!((micro.labelled as usize, micro.real_tokens as usize), (labelled.len(), 3 * made.len()));
        labelled.resize(batch * 5, 0);
        prop_assert_eq!(micro.rows, labelled);
    }
}
