//! Input made to do harm must give a typed error in reasonable time. A release build takes a fraction of a second for
//! each case; anything exponential would take hours.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};
use tabtune::error::{Error, Result};
use tabtune::text::chat::{ChatConfig, ChatTemplate};
use tabtune::text::*;

use super::chat::with_template;
use super::conformance::conversation;
use super::{CONFIG, TOKENIZER, document, tokenizer_of, with};

/// Generous enough for a debug build on a busy machine.
const SOON: Duration = Duration::from_secs(40);

/// The error that `f` returns, which must come in time.
fn soon<T>(what: &str, f: impl FnOnce() -> Result<T>) -> Error {
    let start = Instant::now();
    let Err(error) = f() else { panic!("{what}: accepted") };
    let took = start.elapsed();
    assert!(took < SOON, "{what}: {took:?}");
    error
}

fn small() -> Value {
    json!({"decoder": {"type": "ByteLevel"}, "model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}})
}

#[test]
fn hostile_tokenizers_are_refused_soon() {
    let model = |field: &str, value: Value| {
        let mut json = small();
        json["model"][field] = value;
        json
    };
    let bytes = |json: Value| json.to_string().into_bytes();
    let split =
        |regex: String| json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false});
    let words = |count: u32, width: usize| -> serde_json::Map<String, Value> {
        (0..count).map(|i| (format!("{i:0width$}"), json!(i))).collect()
    };
    let added: Vec<Value> =
        (0..300_000_u32).map(|i| json!({"id": i + 2, "content": format!("<{i:x}{}>", "z".repeat(40))})).collect();
    let nested = format!("{{\"normalizer\": {}", "{\"type\": \"Sequence\", \"normalizers\": [".repeat(100_000));
    let template = |name: &str, id: u32| {
        let single = json!([{"SpecialToken": {"id": name, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]);
        let known = json!({"<s>": {"id": "<s>", "ids": [id], "tokens": ["<s>"]}});
        with(&[(
            "/post_processor",
            json!({"type": "TemplateProcessing", "single": single, "pair": single, "special_tokens": known}),
        )])
    };
    let cases: [(&str, Vec<u8>); 12] = [
        ("a vocabulary of 50 MB", bytes(model("vocab", Value::Object(words(700_000, 60))))),
        (
            "a million merges of unknown tokens",
            bytes(model("merges", Value::Array(vec![json!(["a", "b"]); 1_000_000]))),
        ),
        ("a merge of two long words", bytes(model("merges", json!([["a".repeat(15 << 20), "b".repeat(15 << 20)]])))),
        ("an id beyond every limit", bytes(model("vocab", json!({"a": u32::MAX})))),
        ("300,000 added tokens", bytes(with_added(added))),
        ("one added token of 8 MB", bytes(with_added(vec![json!({"id": 2, "content": "x".repeat(8 << 20)})]))),
        ("a regular expression that explodes", bytes(with(&[("/pre_tokenizer", split("(a*)*$".to_owned()))]))),
        ("a regular expression of 8 MB", bytes(with(&[("/pre_tokenizer", split("(".repeat(8 << 20)))]))),
        ("a template with an id that no token has", bytes(template("<s>", 1_000_000))),
        ("a template with a token that it does not define", bytes(template("<t>", 1))),
        ("deep nesting", nested.into_bytes()),
        ("brackets", vec![b'['; 1 << 20]),
    ];
    for (what, json) in cases {
        let files = TokenizerFiles {
            tokenizer: &json,
            tokenizer_config: None,
            generation_config: None,
            chat_template: None,
            config: CONFIG,
        };
        let error = soon(what, || Tokenizer::from_files(&files));
        assert_eq!(error.code(), "tokenizer", "{what}: {error}");
        assert!(error.to_string().len() < 1_000, "{what}: the error repeats the file");
    }
}

fn with_added(tokens: Vec<Value>) -> Value {
    let mut json = small();
    json["added_tokens"] = Value::Array(tokens);
    json
}

/// Files at the limits are read in time too.
#[test]
fn the_largest_tokenizers_that_are_read_are_read_soon() {
    let vocab: serde_json::Map<String, Value> = (0..600_000_u32).map(|i| (format!("{i:036}"), json!(i))).collect();
    let mut json = small();
    json["model"]["vocab"] = Value::Object(vocab);
    let added =
        (0..90_000_u32).map(|i| json!({"id": i + 2, "content": format!("<{i:x}{}>", "z".repeat(39))})).collect();
    for json in [json, with_added(added)] {
        let start = Instant::now();
        tokenizer_of(&json).unwrap();
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    }
}

#[test]
fn hostile_chat_templates_are_refused_soon() {
    let loops = |depth: usize| {
        let open: String = (0..depth).map(|i| format!("{{% for x{i} in range(99999) %}}")).collect();
        format!("{open}{{% set y = 1 %}}{}", "{% endfor %}".repeat(depth))
    };
    let cases = [
        ("nested loops", loops(1), "may never end"),
        ("deeply nested loops", loops(20), "may never end"),
        ("a macro that calls itself", "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}".to_owned(), "recursion"),
        ("a template that includes itself", "{% include 'default' %}".to_owned(), "reads another template"),
        ("a recursive loop", "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}".to_owned(), "recursion"),
        ("a long text", "{{ 'x' * 100000000 }}".to_owned(), "too long"),
        ("a text too long to be made", "{{ 'x' * 100000000000000 }}".to_owned(), "too long"),
        ("a text that doubles", "{% set x = 'x' %}".to_owned() + &"{% set x = x ~ x + x %}".repeat(60), "longer"),
        ("a list that doubles", "{% set x = [1] %}".to_owned() + &"{% set x = x + x %}".repeat(60), "too long"),
        (
            "a list that prints much",
            "{% set x = [1] %}".to_owned() + &"{% set x = [x, x] %}".repeat(60) + "{{ x }}",
            "longer",
        ),
        ("a list that nests", "{% set x = [] %}".to_owned() + &"{% set x = [x] %}".repeat(15_000), "nested"),
        (
            "a list that nests in a loop",
            "{% set n = namespace(x=1) %}{% for i in range(99999) %}{% set n.x = {'a': n.x} %}{% endfor %}".to_owned(),
            "nested",
        ),
        ("a list in batches", "{% set x = [1] %}".to_owned() + &"{% set x = x | batch(1) %}".repeat(9_000), "nested"),
        ("a dict that nests", "{% set x = 1 %}".to_owned() + &"{% set x = dict(a=x) %}".repeat(10_000), "nested"),
        ("a namespace that holds itself", "{% set n = namespace() %}{% set n.n = n %}".to_owned(), "holds a namespace"),
        ("a chain of operators", format!("{{{{ {}1 }}}}", "1 + ".repeat(60_000)), "too long"),
        ("a chain of attributes", format!("{{{{ x{} }}}}", ".a".repeat(60_000)), "too long"),
        ("a chain of filters", format!("{{{{ x{} }}}}", "|e".repeat(60_000)), "too long"),
        ("a chain of elifs", format!("{{% if x %}}{}{{% endif %}}", "{% elif x %}".repeat(20_000)), "too long"),
        ("wide placeholders", "{{ '%999999999d' % 1 }}".to_owned(), "limit"),
        ("wide padding", "{{ 'a'.ljust(999999999999) }}".to_owned(), "too long"),
        ("a large power", "{{ 9 ** 99999999 }}".to_owned(), "too large"),
        ("an empty string that is counted", "{{ 'ab'.count('') }}{{ raise_exception('done') }}".to_owned(), "done"),
        (
            "a long text in small pieces",
            "{% for x in range(9999) %}{{ 'x' * 10000 }}{% endfor %}".to_owned(),
            "longer than 16777216 bytes",
        ),
        ("a long list", "{{ range(10000000000) | list }}".to_owned(), "too many elements"),
        ("other files", "{% include '/etc/passwd' %}".to_owned(), "reads another template"),
    ];
    for (what, source, expected) in cases {
        let tokenizer = with_template(&source);
        let line = document("a.jsonl", r#"{"messages": [{"role": "user", "content": "Hi"}]}"#);
        let error = soon(what, || rows(&tokenizer, &[line], 8));
        assert!(matches!(error.code(), "template_fails" | "conversation" | "chat_template"), "{what}: {error:?}");
        assert!(error.to_string().contains(expected), "{what}: expected `{expected}`, found `{error}`");
    }
}

#[test]
fn a_conversation_of_many_turns_is_read_soon() {
    let turn = r#"{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}"#;
    let line = format!(r#"{{"messages": [{}]}}"#, [turn; 5_000].join(", "));
    let template = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}";
    let start = Instant::now();
    let found = rows(&with_template(template), &[document("a.jsonl", &line)], 128).unwrap();
    assert!(found.rows[0].labels.iter().any(|label| *label));
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

#[test]
fn deep_json_is_an_error() {
    for open in ["[", "{\"a\":", "{\"messages\": [", "{\"text\": ["] {
        let error = soon(open, || rows(&TOKENIZER, &[document("a.jsonl", &open.repeat(200_000))], 8));
        assert_eq!(error.code(), "data_line");
    }
}

#[test]
fn long_runs_of_one_character_are_encoded_soon() {
    for character in [" ", "\n", "a", "7", "!", "\u{301}", "é"] {
        let start = Instant::now();
        // A million bytes of white space are refused.
        let times = if character.trim().is_empty() { 500_000 } else { 1_000_000 };
        TOKENIZER.encode(&character.repeat(times), false).unwrap();
        assert!(start.elapsed() < SOON, "{character:?}: {:?}", start.elapsed());
    }
}

/// JSON that is often close to what is expected.
fn nearly() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(
        &["role", "content", "messages", "user", "assistant", "text", "prompt", "completion", "tools", ""][..],
    );
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
        "\\PC{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..4).prop_map(|fields| Value::Object(
                fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
            )),
        ]
    })
}

const CHATML: &str = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n\
                      {{ m['content'] | trim }}<|im_end|>\n{% endfor %}\
                      {{ tools | tojson }}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// Pieces that templates are made of.
const PIECES: [&str; 44] = [
    "{{",
    "}}",
    "{%",
    "%}",
    "{%-",
    "-%}",
    "{#",
    "#}",
    " for m in messages ",
    " endfor ",
    " if ",
    " endif ",
    " else ",
    " set x = ",
    " messages",
    "[0]",
    "['role']",
    ".content",
    " | trim",
    " | tojson(indent=",
    ")",
    "(",
    " ~ ",
    " + ",
    " == ",
    " 'x' ",
    " 1 ",
    " generation ",
    " endgeneration ",
    " raise_exception(",
    " strftime_now('%",
    "\n",
    "'%s %d'",
    " % ",
    " ** ",
    "[::-1]",
    ".items()",
    ".split(",
    "'{:>5}'.format(",
    " in ",
    " if x else ",
    " macro m(x) ",
    " endmacro ",
    "{'a': ",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_record_is_a_row_or_an_error(record in nearly(), messages in nearly()) {
        thread_local!(static CHAT: Tokenizer = with_template(CHATML));
        for line in [record, json!({"messages": messages}), json!({"messages": [messages]})] {
            let found = CHAT.with(|tokenizer| rows(tokenizer, &[document("a.jsonl", &line.to_string())], 7));
            if let Ok(found) = found {
                let fits = |row: &Row| row.ids.len() == 8 && row.labels.len() == 7 && row.tokens <= 7;
                prop_assert!(found.rows.iter().all(fits));
            }
        }
    }

    #[test]
    fn any_table_is_rows_or_an_error(
        cells in prop::collection::vec("[a-z\",\r\n é]{0,8}|text|prompt|completion", 0..20),
    ) {
        let _ = rows(&TOKENIZER, &[document("a.csv", &cells.join(","))], 3);
        let _ = rows(&TOKENIZER, &[document("a.csv", &format!("text,prompt,completion\n{}", cells.join(",")))], 3);
    }

    #[test]
    fn any_template_is_a_text_or_an_error(
        pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..14), noise in "\\PC{0,10}",
    ) {
        let turns = json!([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]);
        let messages = conversation(&turns);
        for source in [pieces.concat(), format!("{}{noise}", pieces.concat()), noise] {
            if let Some(Ok(template)) = ChatTemplate::new(Some(source.as_bytes()), ChatConfig::default())
                && let Ok(text) = template.text(&messages, false)
            {
                let spans = template.assistant_spans(&messages, &text, text.len());
                prop_assert!(spans.iter().all(|span| text.get(span.clone()).is_some()), "{:?} of {text:?}", spans);
            }
        }
    }

    #[test]
    fn any_configuration_is_a_template_or_an_error(value in nearly()) {
        for config in [json!({"chat_template": value, "eos_token": value}), value] {
            let (config, tokenizer) = (config.to_string(), small().to_string());
            let files = TokenizerFiles {
                tokenizer: tokenizer.as_bytes(),
                tokenizer_config: Some(config.as_bytes()),
                generation_config: Some(config.as_bytes()),
                chat_template: None,
                config: b"{}",
            };
            let _ = Tokenizer::from_files(&files);
        }
    }
}
