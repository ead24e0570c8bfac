//! Examples as they reach rows: what is learnt of them, which special tokens surround them, and what their reader is
//! told.

use serde_json::{Value, json};
use tabtune::error::Error;
use tabtune::text::*;
use tabtune::warning::Warning;

use super::chat::{CHATML, with_template};
use super::{EOS, ORACLE, TOKENIZER, document, ids, json_line, labels, rows_of, tokenizer_of, with};

fn pair(prompt: &str, completion: &str) -> String {
    json_line(&[("prompt", prompt), ("completion", completion)])
}

fn codes(found: &Rows) -> Vec<&str> {
    found.all_warnings(64).iter().map(|warning| warning.code).collect()
}

fn message<'a>(warnings: &'a [Warning], code: &str) -> &'a str {
    &warnings.iter().find(|warning| warning.code == code).unwrap_or_else(|| panic!("{code} in {warnings:?}")).message
}

/// What the oracle's tokens of the whole text say about a boundary: whether the prompt's ids begin them, and the number
/// of tokens before the first that holds any of the completion.
fn boundary(prompt: &str, completion: &str) -> (bool, usize) {
    let whole = ORACLE.encode(format!("{prompt}{completion}"), false).unwrap();
    let alone = ids(prompt);
    match whole.get_ids().starts_with(&alone) {
        true => (true, alone.len()),
        false => (false, whole.get_offsets().iter().filter(|(_, end)| *end <= prompt.len()).count()),
    }
}

#[test]
fn prompt_and_completion_are_one_text_to_the_tokenizer() {
    let (mut clean, mut shared) = (0, 0);
    for (prompt, completion) in [
        ("Which town?", " Paris is."),
        ("Name: ", "Ann and her brother"),
        ("2 + 2 = ", "4"),
        ("Which town? ", "Paris is."),
        ("beli", "eve it"),
        ("un", "believable"),
        ("The sea\n", "\nwas calm"),
        ("caf", "\u{e9} noir"),
        ("", "Said unasked."),
        ("Only asked.", ""),
        ("A list:\n\n", "- one"),
        ("\u{1f600}", " means a smile"),
    ] {
        let found = rows_of("a.jsonl", &pair(prompt, completion), 32).unwrap();
        let whole = [ids(&format!("{prompt}{completion}")), vec![EOS]].concat();
        let row = &found.rows[0];
        assert_eq!(row.ids[..whole.len()], whole, "{prompt:?} {completion:?}");
        let (is_clean, first) = boundary(prompt, completion);
        assert_eq!(labels(row), whole[first.max(1)..], "{prompt:?} {completion:?}");
        assert_eq!(codes(&found).contains(&"boundary_token"), !is_clean, "{prompt:?} {completion:?}");
        (clean, shared) = (clean + usize::from(is_clean), shared + usize::from(!is_clean));
    }
    assert!(clean >= 4 && shared >= 3, "the cases are of both kinds: {clean}, {shared}");

    let lines = [pair("Name: ", "Ann"), pair("Name:", " Ann"), pair("Age: ", "nine")].join("\n");
    let found = rows_of("a.jsonl", &lines, 16).unwrap();
    let said = found.all_warnings(16);
    assert!(message(&said, "boundary_token").starts_with("in 2 of 3 examples"), "{said:?}");
    assert_eq!(found.rows[0].ids, found.rows[1].ids);
}

#[test]
fn a_mark_for_the_first_space_is_not_put_between_prompt_and_completion() {
    let marked = |prompt: &str, completion: &str| {
        let normalizer = json!({ "type": "Prepend", "prepend": "Z" });
        let tokenizer = tokenizer_of(&with(&[("/normalizer", normalizer)])).unwrap();
        rows(&tokenizer, &[document("a.jsonl", &pair(prompt, completion))], 16).unwrap()
    };
    for (prompt, completion) in [("2+2=", "4"), ("a", "b"), ("Q: ", "A"), ("x", " y"), ("one two", " three")] {
        let row = &marked(prompt, completion).rows[0];
        let shown = |ids: &[u32]| ORACLE.decode(ids, false).unwrap();
        let learnt = shown(&labels(row));
        assert_eq!(shown(&row.ids[..=row.tokens.min(16)]).matches('Z').count(), 1, "{prompt} {completion}");
        assert!(learnt.contains(completion.trim()) && !learnt.contains('Z'), "{prompt} {completion}: {learnt}");
    }
}

#[test]
fn a_special_token_that_is_written_is_not_written_again() {
    let template = json!({"type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<|im_start|>"]}}});
    let tokenizer = tokenizer_of(&with(&[("/post_processor", template)])).unwrap();
    let [begin, end] = [1, EOS];
    let text = ids("Some words.");
    let whole = [vec![begin], text, vec![end]].concat();
    for (written, is_warned) in [
        ("Some words.", false),
        ("<|im_start|>Some words.", true),
        ("Some words.<|endoftext|>", true),
        ("<|im_start|>Some words.<|endoftext|>", true),
    ] {
        let (prompt, completion) = written.split_at(written.find(' ').unwrap());
        for (name, content) in [
            ("a.txt", written.to_owned()),
            ("a.jsonl", json_line(&[("text", written)])),
            ("a.jsonl", pair(prompt, completion)),
        ] {
            let found = rows(&tokenizer, &[document(name, &content)], whole.len() - 1).unwrap();
            assert_eq!(found.rows[0].ids, whole, "{content}");
            assert_eq!(codes(&found).contains(&"special_token_written"), is_warned, "{content}");
        }
        assert_eq!(tokenizer.encode(written, true).unwrap()[..2], whole[..2], "{written}");
    }
    let twice =
        format!("{}\n{}", json_line(&[("text", "<|im_start|>One.")]), json_line(&[("text", "Two.<|endoftext|>")]));
    let found = rows(&tokenizer, &[document("a.jsonl", &twice)], 8).unwrap();
    assert!(message(&found.all_warnings(8), "special_token_written").starts_with("2 texts"));
}

/// What the assistant is to learn, of a conversation with these messages.
fn learnt(messages: &Value) -> Result<String, String> {
    let line = json!({ "messages": messages }).to_string();
    let found = rows(&with_template(CHATML), &[document("a.jsonl", &line)], 64).map_err(|e| e.to_string())?;
    Ok(ORACLE.decode(&labels(&found.rows[0]), false).unwrap().replace("<|im_end|>", "|"))
}

#[test]
fn a_message_that_is_marked_as_not_to_be_learnt_is_only_read() {
    let turn = |content: &str, key: &str, value: Value| json!({ "role": "assistant", "content": content, key: value });
    let user = json!({ "role": "user", "content": "Hi" });
    for (key, mark, expected) in [
        ("weight", json!(0), "Right.|"),
        ("weight", json!(0.0), "Right.|"),
        ("weight", json!(1), "Wrong.|Right.|"),
        ("weight", json!(null), "Wrong.|Right.|"),
        ("train", json!(false), "Right.|"),
        ("train", json!(true), "Wrong.|Right.|"),
        ("training", json!(false), "Right.|"),
    ] {
        let messages = json!([user, turn("Wrong.", key, mark.clone()), user, turn("Right.", "name", json!("a"))]);
        assert_eq!(learnt(&messages).as_deref(), Ok(expected), "{key} {mark}");
    }
    for (key, mark, expected) in [
        ("weight", json!(0.5), "message 1: `weight` is 0.5"),
        ("weight", json!("0"), "message 1: `weight` is 0"),
        ("train", json!(0), "`train` is neither true nor false"),
        ("training", json!("no"), "`training` is neither true nor false"),
        ("weight", json!(-1), "`weight` is -1"),
    ] {
        let error = learnt(&json!([turn("Wrong.", key, mark.clone())])).unwrap_err();
        assert!(error.contains(expected), "{key} {mark}: {error}");
    }
    let turns = json!({ "conversations": [{ "from": "human", "value": "Hi" },
        { "from": "gpt", "value": "Wrong.", "weight": 0 }, { "from": "gpt", "value": "Right.", "weight": 1 }] });
    let found = rows(&with_template(CHATML), &[document("a.jsonl", &turns.to_string())], 64).unwrap();
    assert_eq!(ORACLE.decode(&labels(&found.rows[0]), false).unwrap(), "Right.<|im_end|>");
    let wrong_role = json!({ "messages": [{ "role": "user", "content": "Hi", "train": true },
        { "role": "assistant", "content": "Ho" }] });
    let found = rows(&with_template(CHATML), &[document("a.jsonl", &wrong_role.to_string())], 64).unwrap();
    assert!(codes(&found).contains(&"mark_not_honoured"));
}

#[test]
fn what_is_not_read_of_records_is_named_once() {
    for (name, content, expected) in [
        ("a.jsonl", r#"{"text": "a b c", "id": 1}"#, "keys `id`"),
        (
            "a.jsonl",
            "{\"text\": \"a b\", \"id\": 1}\n{\"text\": \"c d\", \"source\": \"x\", \"id\": 2}",
            "keys `id`, `source`",
        ),
        ("a.csv", "id,prompt,completion,note\n1,a,b,c\n", "keys `id`, `note`"),
        ("a.jsonl", r#"{"text": "a b c", "prompt": "d", "completion": "e"}"#, "keys `completion`, `prompt`"),
        ("a.jsonl", r#"{"instruction": "a", "output": "b", "system": "c", "history": []}"#, "keys `history`, `system`"),
        (
            "a.jsonl",
            r#"{"text": "a b c", "a": 1, "b": 1, "c": 1, "d": 1, "e": 1, "f": 1, "g": 1, "h": 1, "i": 1, "j": 1}"#,
            "`h` and 2 more",
        ),
    ] {
        let found = rows_of(name, content, 8).unwrap();
        let warnings: Vec<_> = found.warnings.iter().filter(|warning| warning.code == "keys_not_read").collect();
        assert!(warnings.len() == 1 && warnings[0].message.ends_with(expected), "{content}: {warnings:?}");
    }
    for content in [r#"{"text": "a b c", "id": null}"#, r#"{"instruction": "a", "input": "", "output": "b"}"#] {
        assert!(!codes(&rows_of("a.jsonl", content, 8).unwrap()).contains(&"keys_not_read"), "{content}");
    }
}

#[test]
fn columns_are_chosen_by_name() {
    let chosen = |text: &str, prompt: &str, completion: &str| {
        let given = |name: &str| Some(name.to_owned()).filter(|name| !name.is_empty());
        Columns::chosen(given(text), given(prompt), given(completion))
    };
    let plain = |name: &str, content: &str| rows_of(name, content, 16).unwrap().rows;
    let cases = [
        ("a.csv", "Frage;Antwort\nWo?;Hier\n", chosen("", "Frage", "Antwort"), pair("Wo?", "Hier")),
        ("a.tsv", "q\ta\nWo?\tHier\n", chosen("", "q", "a"), pair("Wo?", "Hier")),
        ("a.jsonl", r#"{"body": "Hier", "text": "not this"}"#, chosen("body", "", ""), json_line(&[("text", "Hier")])),
        ("a.json", r#"[{"q": "Wo?", "a": "Hier"}]"#, chosen("", "q", "a"), pair("Wo?", "Hier")),
        ("a.csv", "text,label\nno,Hier\n", chosen("label", "", ""), json_line(&[("text", "Hier")])),
        ("a.dump", "q|a\nWo?|Hier\n", chosen("", "q", "a"), pair("Wo?", "Hier")),
        ("a.csv", "prompt,completion\nHier,Wo?\n", chosen("", "completion", "prompt"), pair("Wo?", "Hier")),
    ];
    for (name, content, columns, expected) in cases {
        let document = Document { columns: columns.unwrap(), ..document(name, content) };
        assert_eq!(rows(&TOKENIZER, &[document], 16).unwrap().rows, plain("a.jsonl", &expected), "{content}");
    }
    for (name, content, columns, expected) in [
        ("a.csv", "Frage,Antwort\na,b\n", chosen("", "Frage", "Reply"), "`Reply` is missing; found `Frage`, `Antwort`"),
        ("a.jsonl", r#"{"text": "a"}"#, chosen("body", "", ""), "`body` is missing; found `text`"),
        ("a.jsonl", r#"{"body": 3}"#, chosen("body", "", ""), "`body` is not a string"),
        ("a.jsonl", r#"{"body": null}"#, chosen("body", "", ""), "`body` is missing; found nothing"),
        ("a.json", r#"[{"q": "a", "a": ["b"]}]"#, chosen("", "q", "a"), "`a` is not a string"),
    ] {
        let document = Document { columns: columns.unwrap(), ..document(name, content) };
        let error = rows(&TOKENIZER, &[document], 16).unwrap_err().to_string();
        assert!(error.contains(expected), "{content}: {error}");
    }
    for (text, prompt, completion) in
        [("a", "b", ""), ("a", "", "b"), ("", "a", ""), ("", "", "a"), ("", "a", "a"), ("a", "b", "c")]
    {
        assert_eq!(chosen(text, prompt, completion).unwrap_err().code(), "setting");
    }
    let prose = Document { columns: chosen("a", "", "").unwrap(), ..document("a.txt", "Some running text of words.") };
    assert_eq!(codes(&rows(&TOKENIZER, &[prose], 4).unwrap()), ["no_columns"]);
}

#[test]
fn numbers_that_json_does_not_have_matter_only_where_they_are_read() {
    let expected = rows_of("a.jsonl", r#"{"text": "a b c"}"#, 8).unwrap().rows;
    for content in [
        r#"{"text": "a b c", "score": NaN}"#,
        r#"{"score": -Infinity, "text": "a b c"}"#,
        r#"[{"text": "a b c", "scores": [1, Infinity, {"x": NaN}]}]"#,
        "{\n  \"score\": NaN,\n  \"text\": \"a b c\"\n}",
        "\u{feff}{\"text\": \"a b c\", \"NaN\": NaN}",
    ] {
        for name in ["a.jsonl", "a.json"] {
            assert_eq!(rows_of(name, content, 8).unwrap().rows, expected, "{name} {content}");
        }
    }
    let literal = rows_of("a.jsonl", r#"{"text": "NaN is a word, and so is Infinity."}"#, 16).unwrap();
    assert!(ORACLE.decode(&literal.rows[0].ids, true).unwrap().starts_with("NaN is a word, and so is Infinity."));
    for (content, expected_line, expected) in [
        ("{\"text\": \"a\"}\n{\"text\": NaN}", 2, "`text` holds NaN at column 10"),
        ("{\"prompt\": \"a\", \"completion\": -Infinity}", 1, "`completion` holds -Infinity at column 31"),
        ("[{\"text\": \"a\"},\n {\"text\": Infinity}]", 2, "`text` holds Infinity at column 11"),
        ("{\"messages\": [{\"role\": \"user\", \"content\": NaN}]}", 1, "`messages` holds NaN at column 43"),
        ("{\"instruction\": \"a\", \"input\": NaN, \"output\": \"b\"}", 1, "`input` holds NaN at column 31"),
        ("{\"text\": \"a\", \"x\": Nan}", 1, "not a JSON object"),
    ] {
        let error = rows_of("a.jsonl", content, 8).unwrap_err();
        let Error::DataLine { line, reason, .. } = &error else { panic!("{content}: {error:?}") };
        assert!(*line == expected_line && reason.contains(expected), "{content}: {error}");
    }
}

#[test]
fn a_held_out_part_without_labels_is_said_and_a_file_is_refused() {
    let filled = pair("A prompt that alone is longer than any row of eight tokens can ever be.", "No.");
    let short = pair("Hi", " Ho");
    let options = |holdout| DatasetOptions { seq_len: 8, holdout, holdout_at_most: None, limit_bytes: PAGE_LIMIT };
    let dataset = |train: &[&String], eval: Option<&String>, holdout| {
        let text = |lines: &[&String]| lines.iter().map(|line| line.as_str()).collect::<Vec<_>>().join("\n");
        let eval = eval.map(|line| [document("held.jsonl", &text(&[line]))]);
        let eval = eval.as_ref().map(|documents| documents.as_slice());
        Dataset::from_documents(&TOKENIZER, &[document("a.jsonl", &text(train))], eval, &options(holdout))
    };
    let cut_off = dataset(&[&short, &short, &filled], None, 0.4).unwrap();
    assert_eq!(cut_off.held_out.len(), 1);
    assert!(message(&cut_off.warnings, "nothing_measured").contains("(1 of 3 rows)"));
    for fine in [
        dataset(&[&short, &filled, &short], None, 0.4),
        dataset(&[&short, &filled], Some(&short), 0.0),
        dataset(&[&short, &filled], None, 0.0),
    ] {
        assert!(!fine.unwrap().warned_of("nothing_measured"));
    }
    let error = dataset(&[&short], Some(&filled), 0.0).unwrap_err();
    assert!(matches!(&error, Error::DataFormat { name, .. } if name == "held.jsonl"), "{error}");
    assert!(error.to_string().contains("longer than 9 tokens"), "{error}");
    let error = dataset(&[&filled], Some(&short), 0.0).unwrap_err();
    assert!(matches!(&error, Error::DataFormat { name, .. } if name == "a.jsonl"), "{error}");
}

#[test]
fn a_text_that_repeats_itself_is_said_to() {
    let book = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/www/public/samples/cook.txt")).unwrap();
    let line = |prompt: &str, completion: &str| pair(prompt, completion);
    let classes: Vec<String> =
        (0..300).map(|n| line(&format!("Is {n} even?"), if n % 2 == 0 { " Yes." } else { " No." })).collect();
    let records: Vec<String> = (0..200)
        .map(|n| line("Tell me.", &format!(" The boat number {n} left the harbour at {} o'clock.", n * 7 % 24)))
        .collect();
    for (name, content, expected) in [
        ("a.txt", "a".repeat(20_000), true),
        ("a.txt", "The tide is out and the boats lie on the sand.\n".repeat(80), true),
        ("a.txt", book[..9_000].to_owned(), false),
        ("a.txt", format!("{}{}", &book[..3000], &book[..3000]), false),
        ("a.txt", book[..1000].repeat(12), true),
        ("a.txt", "Short. ".repeat(20), false),
        ("a.jsonl", records.join("\n"), false),
        // Answers of a word or two are classes, not a text.
        ("a.jsonl", classes.join("\n"), false),
    ] {
        let options = DatasetOptions { seq_len: 16, holdout: 0.0, holdout_at_most: None, limit_bytes: PAGE_LIMIT };
        let data = Dataset::from_documents(&TOKENIZER, &[document(name, &content)], None, &options).unwrap();
        let shown: String = content.chars().take(60).collect();
        assert_eq!(data.warned_of("repeats_itself"), expected, "{shown}: {:?}", data.warnings);
    }
}

#[test]
fn a_web_page_is_not_taken_for_prose_in_silence() {
    for (content, expected) in [
        ("<!DOCTYPE html>\n<title>Notes</title><p>Some words of it.", true),
        ("  <html lang=\"en\"><body>Some words of it.</body></html>", true),
        ("<HTML><BODY>Some words of it.</BODY></HTML>", true),
        ("The tag <html> begins a page of words.", false),
        ("<htmlx> is no tag that I know of at all.", false),
    ] {
        for name in ["a.html", "a.txt", "a"] {
            let found = rows_of(name, content, 4).unwrap();
            assert_eq!(codes(&found).contains(&"web_page"), expected, "{name} {content}");
        }
    }
}

#[test]
fn lines_that_begin_with_a_time_are_said_to() {
    let lines = |begin: &str| (10..40).map(|n| format!("{begin}{n} Anna: Hello number {n}\n")).collect::<String>();
    for (begin, expected) in [
        ("[12.03.24, 10:00:", true),
        ("\u{200e}[12.03.24, 10:", true),
        ("12/03/2024, 9:", true),
        ("2024-03-12T10:", true),
        ("00:01:", true),
        // Verses, prices and ends of lines.
        ("3:", false),
        ("12.", false),
        ("At 10:00:", false),
    ] {
        let found = rows_of("a.txt", &lines(begin), 8).unwrap();
        assert_eq!(codes(&found).contains(&"time_stamps"), expected, "{begin}");
    }
    let few = format!("{}{}", lines("00:01:"), "A line without a time.\n".repeat(200));
    assert!(!codes(&rows_of("a.txt", &few, 8).unwrap()).contains(&"time_stamps"));
}
