//! JSON as Python writes it: what is replaced, and that everything else stays where it is.

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};
use tabtune::files::json::{not_finite, plain, read, shown};
use tabtune::text::{Tokenizer, TokenizerFiles};

#[derive(Debug, PartialEq, Deserialize)]
struct Numbers {
    r: f64,
    #[serde(default)]
    names: Vec<String>,
}

fn numbers(json: &str) -> Result<Numbers, String> {
    read(json.as_bytes())
}

#[test]
fn what_nobody_reads_may_be_a_number_that_is_not_finite() {
    for unread in [
        "NaN",
        "Infinity",
        "-Infinity",
        "[NaN, -Infinity,Infinity]",
        "{\"x\":NaN,\"y\": [1.0,\nNaN\n]}",
        "\"NaN\"",
        "\"a \\\" NaN \\\\\"",
    ] {
        let found = numbers(&format!("{{\"grad_norm\": {unread}, \"r\": 8, \"names\": [\"q, NaN, v\"]}}"));
        assert_eq!(found, Ok(Numbers { r: 8.0, names: vec!["q, NaN, v".to_string()] }), "{unread}");
    }
    assert_eq!(numbers("\u{feff}{\"r\": 1}").map(|found| found.r), Ok(1.0));
}

#[test]
fn what_is_read_is_named_by_its_line_and_column() {
    for (json, words) in [
        ("{\n  \"r\": NaN\n}", "invalid type: NaN, expected f64 at line 2 column 10"),
        ("{\"r\": Infinity}", "invalid type: Infinity, expected f64 at line 1 column 14"),
        ("{\"x\": NaN,\n \"r\":-Infinity}", "invalid type: -Infinity, expected f64 at line 2 column 14"),
        ("{\"x\": NaN, \"r\": 1,}", "trailing comma at line 1 column 19"),
        ("{\"x\": NaNs, \"r\": 1}", "expected value at line 1 column 7"),
        ("{\"x\": +Infinity}", "expected value at line 1 column 7"),
        ("{\"x\": -NaN}", "invalid number at line 1 column 8"),
        ("{\"r\": 1, \"x\": nan}", "expected ident at line 1 column 16"),
        ("{\"r\": \"NaN\"}", "invalid type: string \"NaN\", expected f64 at line 1 column 11"),
        ("{\"x\": NaN, \"r\": 1", "EOF while parsing an object at line 1 column 17"),
    ] {
        assert_eq!(numbers(json), Err(words.to_string()), "{json}");
    }
    let utf16: Vec<u8> = [0xff, 0xfe].into_iter().chain("{}".encode_utf16().flat_map(u16::to_le_bytes)).collect();
    assert!(read::<Value>(&utf16).expect_err("UTF-16").contains("UTF-16"));
}

#[test]
fn a_value_is_known_and_shown_as_the_file_has_it() {
    let found: Value = read(b"{\"a\": NaN, \"b\": [-Infinity, Infinity], \"c\": \"NaN\", \"d\": 1}").expect("JSON");
    assert_eq!(not_finite(&found["a"]), Some("NaN"));
    assert_eq!(not_finite(&found["b"][0]), Some("-Infinity"));
    assert_eq!(not_finite(&found["b"][1]), Some("Infinity"));
    assert_eq!((not_finite(&found["c"]), not_finite(&found["d"])), (None, None));
    assert_eq!(shown(&found), "{\"a\":NaN,\"b\":[-Infinity,Infinity],\"c\":\"NaN\",\"d\":1}");
}

#[test]
fn the_files_beside_a_tokenizer_may_be_as_python_writes_them() {
    let tokenizer = crate::tiny::tiny_tokenizer();
    let read = |tokenizer: &[u8], names: &str, generation: &str, config: &str| {
        let names = (!names.is_empty()).then_some(names.as_bytes());
        let generation = (!generation.is_empty()).then_some(generation.as_bytes());
        let config = config.as_bytes();
        let read = Tokenizer::from_files(&TokenizerFiles {
            tokenizer,
            tokenizer_config: names,
            generation_config: generation,
            chat_template: None,
            config,
        });
        read.map(drop)
    };
    for (names, generation, config) in [
        ("{\"model_max_length\": Infinity, \"eos_token\": \"!\"}", "", "{}"),
        ("\u{feff}{\"pad_token\": NaN}", "", "{}"),
        ("", "{\"temperature\": NaN, \"eos_token_id\": 2}", "{}"),
        ("", "\u{feff}{\"eos_token_id\": [1, 2]}", "{}"),
        ("", "", "\u{feff}{\"eos_token_id\": 2, \"loss\": -Infinity}"),
    ] {
        assert_eq!(read(&tokenizer, names, generation, config), Ok(()), "{names}{generation}{config}");
    }
    let marked = ["\u{feff}".as_bytes(), &tokenizer].concat();
    assert_eq!(read(&marked, "", "", "{}"), Ok(()));
    for (names, generation, config, words) in [
        ("{\"x\": NaN,}", "", "{}", ["tokenizer_config.json", "line 1 column 11"]),
        ("", "{\"x\": NaN\n}}", "{}", ["generation_config.json", "line 2 column 2"]),
        ("", "", "{\"vocab_size\": NaN}", ["NaN, expected usize", "line 1 column 18"]),
    ] {
        let error = read(&tokenizer, names, generation, config).expect_err(words[0]).to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Strings of anything, in any place, beside numbers that are not finite.
    #[test]
    fn json_that_is_plain_stays_as_it_is(keys in prop::collection::vec("[\\PC\\\\\"N\u{e9}]{0,9}", 1..6)) {
        let object: Value = keys.iter().map(|key| (key.clone(), json!([key, "NaN", 1.5]))).collect();
        let text = object.to_string();
        let same = plain(text.as_bytes()).expect("UTF-8");
        prop_assert_eq!(same.as_ref(), text.as_bytes());
        let python = format!("[{text},NaN, -Infinity]");
        let made = plain(python.as_bytes()).expect("UTF-8");
        prop_assert_eq!(made.len(), python.len());
        let read: Value = read(python.as_bytes()).expect("JSON");
        prop_assert_eq!(&read[0], &object);
        prop_assert_eq!(not_finite(&read[2]), Some("-Infinity"));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(plain) = plain(&bytes) {
            let had_mark = bytes.starts_with(b"\xef\xbb\xbf");
            prop_assert_eq!(plain.len() + if had_mark { 3 } else { 0 }, bytes.len());
        }
    }
}
