//! Files as people bring them: each form gives the rows of the same examples written plainly, or an error that names
//! what was found.

use serde_json::{Value, json};
use tabtune::error::Error;
use tabtune::text::{Document, Rows, rows};

use super::chat::{CHATML, with_template};
use super::{TOKENIZER, document, json_line, rows_of};

const LINES: &str = "{\"text\": \"One sheet of sail.\"}\n{\"text\": \"Two lengths of rope.\"}\n";

fn bytes(name: &str, bytes: &[u8]) -> Document {
    Document::new(name, bytes.to_vec())
}

fn utf16(text: &str, unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(unit).collect()
}

/// The rows of records on a model with a chat template.
fn chat_rows(records: &[Value]) -> Rows {
    let lines: Vec<String> = records.iter().map(Value::to_string).collect();
    rows(&with_template(CHATML), &[document("a.jsonl", &lines.join("\n"))], 64).unwrap()
}

fn codes(found: &Rows) -> Vec<&str> {
    found.warnings.iter().map(|warning| warning.code).collect()
}

#[test]
fn line_ends_and_marks_change_nothing() {
    let plain = "First line.\n\nThird, with an é.\nThe last of them all, with words enough for a row.\n";
    let expected = rows_of("a.txt", plain, 8).unwrap().rows;
    let windows = plain.replace('\n', "\r\n");
    for text in [windows.clone(), plain.replace('\n', "\r"), format!("\u{feff}{plain}"), format!("\u{feff}{windows}")] {
        assert_eq!(rows_of("a.txt", &text, 8).unwrap().rows, expected, "{text:?}");
    }
    let little = [vec![0xff, 0xfe], utf16(plain, u16::to_le_bytes)].concat();
    let big = [vec![0xfe, 0xff], utf16(&windows, u16::to_be_bytes)].concat();
    for encoded in [little, big] {
        assert_eq!(rows(&TOKENIZER, &[bytes("a.txt", &encoded)], 8).unwrap().rows, expected);
    }
    let (csv, json) = ("text\r\n\"a\r\nb\"\r\n", json_line(&[("text", "a\nb")]));
    assert_eq!(rows_of("a.csv", csv, 8).unwrap().rows, rows_of("a.jsonl", &json, 8).unwrap().rows);
}

#[test]
fn what_is_not_text_is_refused_by_its_name() {
    let cases: [(&[u8], &str); 19] = [
        (b"PAR1\x15\x04\x15\x80PAR1", "Parquet"),
        (b"ARROW1\0\0", "Arrow"),
        (b"SQLite format 3\0\x10\0", "SQLite"),
        (b"\x1f\x8b\x08\0\0\0", "gzip"),
        (b"BZh91AY&SY\xd7\x13", "bzip2"),
        (b"\xfd7zXZ\0\0", "xz"),
        (b"\x28\xb5\x2f\xfd\x04", "zstd"),
        (b"PK\x03\x04\x14\0notes.txt", "ZIP archive"),
        (b"PK\x03\x04\x14\0xl/workbook.xml", "Excel"),
        (b"PK\x03\x04\x14\0word/document.xml", "Word"),
        (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
        (b"{\\rtf1\\ansi Notes}", "RTF"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "picture (PNG)"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "picture (JPEG)"),
        (b"RIFF\x24\0\0\0WEBP", "picture"),
        (b"ID3\x04\0\0", "sound"),
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"\xff\xfe\0\0N\0\0\0", "UTF-32"),
        (b"some \0 bytes", "zero bytes"),
    ];
    let silent = utf16("Notes of a voyage", u16::to_le_bytes);
    for (content, expected) in cases.into_iter().chain([(silent.as_slice(), "UTF-16")]) {
        for name in ["notes.txt", "notes.jsonl", "notes.csv", "notes"] {
            let error = rows(&TOKENIZER, &[bytes(name, content)], 4).unwrap_err();
            let Error::NotText { found, advice, .. } = &error else { panic!("{expected}: {error:?}") };
            assert!(found.contains(expected) && !advice.is_empty(), "{expected}: {error}");
        }
    }
    for prose in
        ["PAR1 is a region of the X chromosome.", "BZhang wrote this on a Monday.", "Take ftyp, RIFF and PK as names."]
    {
        assert!(rows_of("a.txt", prose, 4).is_ok(), "{prose}");
    }
    let torn = rows(&TOKENIZER, &[bytes("a.txt", b"\xff\xfeN\0o")], 4).unwrap_err();
    assert!(torn.to_string().contains("damaged"), "{torn}");
    assert_eq!(rows(&TOKENIZER, &[bytes("a.txt", b"caf\xe9")], 4).unwrap_err().code(), "text_not_utf8");
}

#[test]
fn the_ending_says_what_a_file_is_and_else_its_content_does() {
    let expected = rows_of("a.jsonl", LINES, 8).unwrap().rows;
    for name in ["a.json", "a.ndjson", "a.JL"] {
        let found = rows_of(name, LINES, 8).unwrap();
        assert_eq!((found.rows.as_slice(), codes(&found)), (expected.as_slice(), vec![]), "{name}");
    }
    let table = "prompt,completion\na,b\n";
    for (name, text, expected) in
        [("a.data", LINES, &expected), ("a.tab", table, &rows_of("a.csv", table, 8).unwrap().rows)]
    {
        let found = rows_of(name, text, 8).unwrap();
        assert_eq!((&found.rows, codes(&found)), (expected, vec!["read_as"]), "{name}");
    }
    for (name, text) in
        [("a.txt", LINES), ("a.md", table), ("notes", LINES), ("a.log", "[{\"text\": \"a and b and c\"}]")]
    {
        let found = rows_of(name, text, 4).unwrap();
        assert_eq!(codes(&found), ["looks_like_records"], "{name}");
    }
    for (name, text) in
        [("a.txt", "{not} JSON, only prose"), ("a.py", "prompt = 1\nx, y = 2, 3\n"), ("a.rst", "[a list] of words")]
    {
        assert_eq!(codes(&rows_of(name, text, 4).unwrap()), [""; 0], "{name}");
    }
}

#[test]
fn json_is_one_object_per_line_or_one_list_or_one_object() {
    let expected = rows_of("a.jsonl", LINES, 8).unwrap().rows;
    let list: Vec<Value> = LINES.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for text in [json!(list).to_string(), serde_json::to_string_pretty(&list).unwrap(), format!("\n{}\n", json!(list))]
    {
        assert_eq!(rows_of("a.json", &text, 8).unwrap().rows, expected, "{text}");
    }
    let one = serde_json::to_string_pretty(&list[0]).unwrap();
    assert_eq!(rows_of("a.json", &one, 8).unwrap().rows, expected[..1]);

    let cases = [
        ("[\n{\"text\": \"a\"},\n{\"text\": 1}\n]", 3, "`text` is not a string"),
        ("[\n{\"text\": \"a\"},\n3\n]", 3, "not a JSON object"),
        ("[\n{\"text\": \"a\"},\n{\"text\": \"b\"\n", 4, "not a list of JSON objects"),
        ("{\n\"data\": [],\n\"version\": 2}", 1, "but found `data`, `version`"),
        ("[1]\n[2]\n", 1, "not a JSON object"),
    ];
    for (text, expected_line, expected) in cases {
        let error = rows_of("a.json", text, 8).unwrap_err();
        let (Error::DataLine { line, reason, .. } | Error::UnknownColumns { line, reason, .. }) = &error else {
            panic!("{text}: {error:?}")
        };
        assert!(*line == expected_line && reason.contains(expected), "{text}: {error}");
    }
}

#[test]
fn the_separator_of_a_table_is_found() {
    let expected = rows_of("a.csv", "prompt,completion\nWhere?,\"Here; and, there\"\n", 16).unwrap().rows;
    for (name, text) in [
        ("a.csv", "prompt;completion\nWhere?;\"Here; and, there\"\n"),
        ("a.csv", "id\tcompletion\tprompt\n1\tHere; and, there\tWhere?\n"),
        ("a.csv", "prompt|completion\nWhere?|Here; and, there\n"),
        ("a.tsv", "prompt\tcompletion\nWhere?\tHere; and, there\n"),
        ("a.tsv", "prompt;completion\nWhere?;\"Here; and, there\"\n"),
    ] {
        assert_eq!(rows_of(name, text, 16).unwrap().rows, expected, "{text}");
    }
    for (text, expected) in [
        ("Frage;Antwort\na;b\n", "with a semicolon between"),
        ("Frage;Antwort\na;b\n", "but found `Frage`, `Antwort`"),
        ("words,id\na,1\n", "with a comma between"),
        ("prompt\tid\na\t1\n", "`completion` is missing"),
    ] {
        let error = rows_of("a.csv", text, 8).unwrap_err();
        assert!(error.code() == "unknown_columns" && error.to_string().contains(expected), "{text}: {error}");
    }
}

#[test]
fn a_quote_that_does_not_close_is_named_with_its_line() {
    for (text, expected_line) in [
        ("text\nfine\n\"open\nlater\nlast\n", 3),
        ("text,x\n\"a \"\"b\"\", c\",1\nd,\"e\nf,2\n", 3),
        ("\"text\nfine\n", 1),
        ("text\n\"closed\nhere\"\n\"not here\n", 4),
        ("text;x\na;\"b\n", 2),
    ] {
        let error = rows_of("a.csv", text, 8).unwrap_err();
        let Error::DataLine { line, reason, .. } = &error else { panic!("{text}: {error:?}") };
        assert!(*line == expected_line && reason.contains("quote"), "{text}: {error}");
    }
    for fine in [
        "text\na \"word\" within\n",
        "text\n\"\"\n\"a\"\n",
        "text\n\"two\nlines\"\n",
        "text,x\n\"a\",\"b\"",
        "text\n5\" pipe\n",
    ] {
        let found = rows_of("a.csv", fine, 8).unwrap();
        assert!(!codes(&found).contains(&"line_in_field"), "{fine}");
    }
    let swallowed = "prompt,completion\na,\"b\nc,d\ne\",f\n".replace("e\",f", "e\"");
    let found = rows_of("a.csv", &swallowed, 16).unwrap();
    assert_eq!(codes(&found), ["line_in_field"]);
    assert!(found.warnings[0].message.contains("the first is line 3"), "{}", found.warnings[0].message);
}

#[test]
fn records_in_the_forms_of_others_are_the_same_examples() {
    let pair = |prompt: &str, completion: &str| json!({ "prompt": prompt, "completion": completion });
    let task = "Below is an instruction that describes a task. Write a response that appropriately completes the \
                request.\n\n### Instruction:\nAdd.\n\n### Response:\n";
    let task_with_input = "Below is an instruction that describes a task, paired with an input that provides further \
                           context. Write a response that appropriately completes the request.\n\n### Instruction:\n\
                           Add.\n\n### Input:\n2, 3\n\n### Response:\n";
    let talk = json!({ "messages": [
        { "role": "system", "content": "Be brief." },
        { "role": "user", "content": "Hi" },
        { "role": "assistant", "content": "Ho" },
    ]});
    let cases = [
        (json!({ "question": "Where?", "answer": " Here." }), pair("Where?", " Here.")),
        (json!({ "input": "Where?", "output": " Here.", "id": 3 }), pair("Where?", " Here.")),
        (json!({ "instruction": "Add.", "output": "5" }), pair(task, "5")),
        (json!({ "instruction": "Add.", "input": "", "output": "5" }), pair(task, "5")),
        (json!({ "instruction": "Add.", "input": "2, 3", "output": "5" }), pair(task_with_input, "5")),
        (
            json!({ "text": null, "prompt": "Where?", "completion": " Here.", "messages": null }),
            pair("Where?", " Here."),
        ),
        (
            json!({ "conversations": [
                { "from": "system", "value": "Be brief." },
                { "from": "human", "value": "Hi" },
                { "from": "gpt", "value": "Ho" },
            ]}),
            talk.clone(),
        ),
        (
            json!({ "prompt": [{ "role": "system", "content": "Be brief." }, { "role": "user", "content": "Hi" }],
                "completion": [{ "role": "assistant", "content": "Ho" }] }),
            talk.clone(),
        ),
        (
            json!({ "tools": null, "messages": [
                { "role": "system", "content": "Be brief.", "name": null },
                { "role": "user", "content": "Hi", "tool_calls": null },
                { "role": "assistant", "content": "Ho", "tool_calls": null },
            ]}),
            talk,
        ),
    ];
    for (found, expected) in cases {
        assert_eq!(chat_rows(std::slice::from_ref(&found)).rows, chat_rows(&[expected]).rows, "{found}");
    }
    let warned = chat_rows(&[json!({ "instruction": "Add.", "output": "5" })]);
    assert_eq!(codes(&warned), ["alpaca_prompt"]);
    let csv = "instruction,input,output\nAdd.,\"2, 3\",5\nAdd.,,5\n";
    let expected = chat_rows(&[pair(task_with_input, "5"), pair(task, "5")]);
    assert_eq!(rows_of("a.csv", csv, 64).unwrap().rows, expected.rows);
}

#[test]
fn the_assistants_words_in_a_prompt_are_not_learnt() {
    let turn = |role: &str, content: &str| json!({ "role": role, "content": content });
    let [a, b, c, d] = [turn("user", "Hi"), turn("assistant", "Ho"), turn("user", "Well?"), turn("assistant", "Well.")];
    let split = &chat_rows(&[json!({ "prompt": [a, b, c], "completion": [d] })]).rows[0];
    let whole = &chat_rows(&[json!({ "messages": [a, b, c, d] })]).rows[0];
    assert_eq!(split.ids, whole.ids);
    let learnt = |labels: &[bool]| labels.iter().filter(|label| **label).count();
    let last = &chat_rows(&[json!({ "messages": [a, turn("user", "Ho"), c, d] })]).rows[0];
    assert!(learnt(&split.labels) < learnt(&whole.labels) && learnt(&split.labels) == learnt(&last.labels));
}

#[test]
fn records_that_are_nearly_right_are_named() {
    for (record, expected) in [
        (json!({ "conversations": [{ "from": "narrator", "value": "Once" }] }), "is from `narrator`"),
        (json!({ "conversations": [{ "role": "user", "content": "Hi" }] }), "`from` and `value`"),
        (json!({ "conversations": [] }), "`conversations` is empty"),
        (json!({ "instruction": "Add." }), "`output` is missing"),
        (json!({ "question": "Where?" }), "`answer` is missing"),
        (json!({ "prompt": [{ "role": "user", "content": "Hi" }], "completion": "Ho" }), "`prompt` is not a string"),
        (json!({ "instruction": "Add.", "input": 3, "output": "5" }), "`input` is not a string"),
    ] {
        let error = rows_of("a.jsonl", &record.to_string(), 8).unwrap_err();
        assert!(
            matches!(error.code(), "data_line" | "unknown_columns") && error.to_string().contains(expected),
            "{record}: {error}"
        );
    }
}
