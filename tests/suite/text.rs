//! From text to batches, checked against the documented rules and the `tokenizers` crate as the oracle. The tokenizer
//! is the embedded model's; others are derived from it.

mod batches;
mod chat;
mod conformance;
mod constructs;
mod examples;
mod families;
mod formats;
mod hostile;
mod packing;
mod preview;
mod prompts;
mod tokenizer;
mod values;

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};
use tabtune::error::{Error, Result};
use tabtune::text::*;

const BASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/www/public/base/");
/// The embedded model's end-of-text token.
const EOS: u32 = 0;
const CONFIG: &[u8] = br#"{"eos_token_id": 0, "vocab_size": 5000}"#;

static BASE_JSON: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_slice(&std::fs::read(format!("{BASE}tokenizer.json")).unwrap()).unwrap());
static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
    let read = |name| std::fs::read(format!("{BASE}{name}")).unwrap();
    let (tokenizer, tokenizer_config, config) =
        (read("tokenizer.json"), read("tokenizer_config.json"), read("config.json"));
    let files = TokenizerFiles {
        tokenizer: &tokenizer,
        tokenizer_config: Some(&tokenizer_config),
        generation_config: None,
        chat_template: None,
        config: &config,
    };
    Tokenizer::from_files(&files).unwrap()
});
static ORACLE: LazyLock<tokenizers::Tokenizer> = LazyLock::new(|| oracle(&BASE_JSON));

fn tokenizer_of(json: &Value) -> Result<Tokenizer> {
    let tokenizer = json.to_string().into_bytes();
    Tokenizer::from_files(&TokenizerFiles {
        tokenizer: &tokenizer,
        tokenizer_config: None,
        generation_config: None,
        chat_template: None,
        config: CONFIG,
    })
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
    Document::new(name, text.as_bytes().to_vec())
}

fn rows_of(name: &str, text: &str, seq_len: usize) -> Result<Rows> {
    rows(&TOKENIZER, &[document(name, text)], seq_len)
}

/// The labelled ids of a row.
fn labels(row: &Row) -> Vec<u32> {
    row.labels.iter().zip(&row.ids[1..]).filter(|(label, _)| **label).map(|(_, id)| *id).collect()
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
    assert_eq!(
        (found.counts.characters, found.counts.tokens, found.counts.cut),
        (text.chars().count(), all.len() - 1, 0)
    );
    assert_eq!(found.rows.len(), (all.len() - 1).div_ceil(8));
    for (at, row) in found.rows.iter().enumerate() {
        let window = &all[at * 8..all.len().min(at * 8 + 9)];
        assert_eq!(row.ids, padded(window.to_vec(), 9));
        assert_eq!(labels(row), window[1..]);
        assert_eq!(row.tokens, window.len().min(8));
    }
    assert!(found.rows.last().unwrap().labels.iter().any(|t| !t), "the text should need padding");
}

#[test]
fn every_plain_file_ends_in_one_end_of_text() {
    let documents =
        [document("a.txt", "One two three."), document("B.MD", ""), document("notes", "Four five six seven.")];
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
    let error = rows_of("a.txt", text, count).unwrap_err();
    assert!(matches!(error, Error::TextTooShort { found, needed, .. } if (found, needed) == (count, count + 1)));
}

#[test]
fn a_short_text_is_measured_in_words_and_without_spaces_in_characters() {
    let message = |text: &str| rows_of("a.txt", text, 128).unwrap_err().to_string();
    for (text, size, unit) in [
        ("Hello", 1usize, "word"),
        ("one two three", 3, "words"),
        ("海は静かで、船は港を出た。船長は日誌を書いた。", 23, "characters"),
    ] {
        let tokens = ids(text).len() + 1;
        let enough = (size * 129).div_ceil(tokens).next_multiple_of(10);
        let expected = format!("it has {size} {unit}, about {enough} are needed ({tokens} tokens, one row needs 129)");
        assert!(message(text).ends_with(&expected), "{}", message(text));
    }
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
    let (text, prompt, completion, unasked) =
        (ids("A short text."), ids("Which town?"), ids(" Paris is."), ids("Said unasked."));
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
    assert_eq!(found.counts.cut, 1);
    assert_eq!(found.rows[0].ids, ids(text)[..9]);
    assert_eq!(labels(&found.rows[0]), ids(text)[1..9]);
    assert_eq!(found.rows[0].tokens, 8);

    let options = DatasetOptions { seq_len: 8, holdout: 0.0, holdout_at_most: None, limit_bytes: PAGE_LIMIT };
    let data = Dataset::from_documents(&TOKENIZER, &[document("a.jsonl", &lines)], None, &options).unwrap();
    assert_eq!(data.warnings.iter().map(|w| w.code).collect::<Vec<_>>(), ["rows_cut"]);
    assert!(data.warnings[0].message.starts_with("1 of 2 "), "{}", data.warnings[0].message);
}

#[test]
fn prompts_that_fill_every_row_are_an_error() {
    let line = json_line(&[("prompt", "A prompt that is longer than its row of four tokens."), ("completion", "No.")]);
    let options = DatasetOptions { seq_len: 4, holdout: 0.0, holdout_at_most: None, limit_bytes: PAGE_LIMIT };
    let error = Dataset::from_documents(&TOKENIZER, &[document("a.jsonl", &line)], None, &options).unwrap_err();
    assert_eq!(error.code(), "data_format");
}

#[test]
fn csv_gives_the_rows_of_the_same_json_lines() {
    let pairs = json_line(&[("prompt", "Say \"hi\",\nplease"), ("completion", " hi")]);
    let csv = "id,completion,\"prompt\"\r\n1, hi,\"Say \"\"hi\"\",\nplease\"\r\n";
    assert_eq!(rows_of("a.CSV", csv, 16).unwrap().rows, rows_of("a.jsonl", &pairs, 16).unwrap().rows);
    let text = json_line(&[("text", "one, two")]);
    assert_eq!(
        rows_of("a.csv", "\u{feff}text\n\"one, two\"\n", 16).unwrap().rows,
        rows_of("a.json", &text, 16).unwrap().rows
    );
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
        ("{\"prompt\": \"a\", \"completion\": null}", "`completion` is missing"),
        ("{\"prompt\": \"a\", \"completion\": 1}", "`completion` is not a string"),
        ("{\"words\": \"a\", \"id\": null}", "but found `words`"),
        ("{}", "but found nothing"),
    ];
    for (line, expected) in cases {
        let error = rows_of("a.jsonl", &format!("{good}\n\n{line}\n{good}"), 8).unwrap_err();
        let (Error::DataLine { name, line: 3, reason } | Error::UnknownColumns { name, line: 3, reason }) = &error
        else {
            panic!("{line}: {error:?}")
        };
        assert_eq!(name, "a.jsonl");
        assert!(reason.contains(expected), "{line}: {reason}");
    }
    let error = rows_of("a.csv", "text,x\nfine,1\n\nshort\n", 8).unwrap_err();
    let Error::DataLine { line: 4, reason, .. } = &error else { panic!("{error:?}") };
    assert_eq!(reason, "expected 2 fields, as in the first line, but found 1");
    assert_eq!(rows_of("a.csv", "prompt,answer\na,b\n", 8).unwrap_err().code(), "unknown_columns");
}

#[test]
fn files_without_anything_to_train_on_are_an_empty_text() {
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
fn a_byte_order_mark_is_not_text_and_other_encodings_are_refused() {
    assert_eq!(
        rows_of("a.txt", "\u{feff}Hello there", 2).unwrap().rows,
        rows_of("a.txt", "Hello there", 2).unwrap().rows
    );
    let latin1 = Document::new("a.txt", b"caf\xe9 noir".to_vec());
    assert_eq!(rows(&TOKENIZER, &[latin1], 2).unwrap_err(), Error::TextNotUtf8 { name: "a.txt".to_owned(), offset: 3 });
}

#[test]
fn sizes_are_refused_before_anything_is_decoded() {
    let documents = [document("a.txt", "twelve bytes"), Document::new("b.txt", vec![0xff; 8])];
    let options = DatasetOptions { seq_len: 2, holdout: 0.0, holdout_at_most: None, limit_bytes: 19 };
    let error = Dataset::from_documents(&TOKENIZER, &documents, None, &options).unwrap_err();
    assert_eq!(error, Error::TextTooLarge { bytes: 20, limit: 19 });
    let error = Dataset::from_documents(&TOKENIZER, &documents[..1], Some(&documents[1..]), &options).unwrap_err();
    assert_eq!(error, Error::TextTooLarge { bytes: 20, limit: 19 });
    let options = DatasetOptions { limit_bytes: 20, ..options };
    let error = Dataset::from_documents(&TOKENIZER, &documents, None, &options).unwrap_err();
    assert_eq!(error.code(), "text_not_utf8");
    assert_eq!((PAGE_LIMIT, NATIVE_LIMIT), (8_000_000, 64_000_000));
}

/// A file of `count` examples whose first ids differ.
fn numbered(count: usize) -> Document {
    let lines: Vec<String> =
        (0..count).map(|i| json_line(&[("text", &format!("{} x", (b'a' + i as u8) as char))])).collect();
    document("a.jsonl", &lines.join("\n"))
}

#[test]
fn the_last_rows_in_file_order_are_held_out() {
    let cases =
        [(10, 0.0, 0), (1, 0.5, 0), (2, 0.01, 1), (10, 0.1, 1), (19, 0.1, 1), (20, 0.1, 2), (10, 0.99, 9), (3, 0.5, 1)];
    for (count, holdout, expected) in cases {
        let options = DatasetOptions { seq_len: 4, holdout, holdout_at_most: None, limit_bytes: PAGE_LIMIT };
        let all = rows(&TOKENIZER, &[numbered(count)], 4).unwrap().rows;
        let data = Dataset::from_documents(&TOKENIZER, &[numbered(count)], None, &options).unwrap();
        assert_eq!(
            (data.rows.as_slice(), data.held_out.as_slice()),
            all.split_at(count - expected),
            "{holdout} of {count}"
        );
        assert_eq!(data.labels(), data.rows.iter().map(|r| labels(r).len()).sum::<usize>());
    }
    for holdout in [-0.1, 1.0, f64::NAN, f64::INFINITY] {
        let options = DatasetOptions { seq_len: 4, holdout, holdout_at_most: None, limit_bytes: PAGE_LIMIT };
        assert_eq!(Dataset::from_documents(&TOKENIZER, &[numbered(3)], None, &options).unwrap_err().code(), "setting");
    }
}

#[test]
fn capping_the_held_out_rows_equals_holding_out_fewer() {
    let rows = |holdout, holdout_at_most| {
        let options = DatasetOptions { seq_len: 4, holdout, holdout_at_most, limit_bytes: PAGE_LIMIT };
        let data = Dataset::from_documents(&TOKENIZER, &[numbered(20)], None, &options).unwrap();
        (data.rows, data.held_out)
    };
    assert_eq!(rows(0.5, Some(4)), rows(0.2, None));
    assert_eq!(rows(0.2, Some(9)), rows(0.2, None));
    assert_eq!(rows(0.5, Some(0)), rows(0.0, None));
}

#[test]
fn held_out_documents_replace_the_held_out_fraction() {
    let options = DatasetOptions { seq_len: 4, holdout: 0.5, holdout_at_most: None, limit_bytes: PAGE_LIMIT };
    let data = Dataset::from_documents(&TOKENIZER, &[numbered(4)], Some(&[numbered(7)]), &options).unwrap();
    assert_eq!((data.rows.len(), data.held_out.len()), (4, 7));
}

#[test]
fn plain_rows_go_where_the_first_plain_file_is() {
    let documents = [numbered(2), document("a.txt", "a b c d e"), numbered(1), document("b.txt", "f g h")];
    let found = rows(&TOKENIZER, &documents, 4).unwrap().rows;
    let examples = rows(&TOKENIZER, &[numbered(2)], 4).unwrap().rows;
    let plain = rows(&TOKENIZER, &[documents[1].clone(), documents[3].clone()], 4).unwrap().rows;
    assert_eq!(found, [&examples[..], &plain, &examples[..1]].concat());
}

#[test]
fn text_that_the_tokenizer_does_not_know_gives_a_warning() {
    let warned = |text: &str| {
        let options = DatasetOptions { seq_len: 16, holdout: 0.0, holdout_at_most: None, limit_bytes: PAGE_LIMIT };
        let data = Dataset::from_documents(&TOKENIZER, &[document("a.txt", text)], None, &options).unwrap();
        data.warnings.iter().any(|w| w.code == "unknown_language")
    };
    assert!(!warned(
        "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness."
    ));
    assert!(!warned("for (let i = 0; i < 10; i++) { console.log(`${i}: ${rows[i].name}`); }"));
    assert!(!warned("Es war einmal ein kleines süßes Mädchen, das hatte jedermann lieb, der sie nur ansah."));
    assert!(warned(
        "Ἐν ἀρχῇ ἦν ὁ λόγος. Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα."
    ));
    assert!(warned("Все люди рождаются свободными и равными в своем достоинстве и правах."));
    assert!(warned("すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_token_except_the_first_is_a_label_once(
        words in prop::collection::vec(1usize..30, 1..4), seq_len in 1usize..12,
    ) {
        let texts: Vec<String> = words.iter().map(|n| "word ".repeat(*n)).collect();
        let documents: Vec<Document> = texts.iter().map(|text| document("a.txt", text)).collect();
        let all: Vec<u32> = texts.iter().flat_map(|text| [ids(text), vec![EOS]].concat()).collect();
        match rows(&TOKENIZER, &documents, seq_len) {
            Ok(found) => prop_assert_eq!(found.rows.iter().flat_map(labels).collect::<Vec<_>>(), &all[1..]),
            Err(Error::TextTooShort { found, needed, .. }) => {
                prop_assert_eq!((found, needed), (all.len(), seq_len + 1))
            }
            Err(error) => prop_assert!(false, "{}", error),
        }
    }

    #[test]
    fn any_bytes_are_rows_or_an_error(
        bytes in prop::collection::vec(any::<u8>(), 0..80), text in "\\PC{0,40}", name in "a\\.(txt|jsonl|csv)",
    ) {
        let _ = rows(&TOKENIZER, &[Document::new(name.clone(), bytes)], 3);
        let _ = rows(&TOKENIZER, &[document(&name, &text)], 3);
    }
}
