//! Rows as the page and the command line show them.

use tabtune::text::preview::preview;
use tabtune::text::rows;

use super::{TOKENIZER, document, ids, json_line};

#[test]
fn a_preview_shows_every_token_and_marks_the_labels() {
    let lines = [json_line(&[("prompt", "Which town?"), ("completion", " Paris.")]), json_line(&[("text", "Last.")])]
        .join("\n");
    let found = rows(&TOKENIZER, &[document("a.jsonl", &lines)], 24).unwrap();
    let shown = preview(&TOKENIZER, &found.rows, 1);
    assert_eq!(shown.len(), 1, "one was asked for");
    let row = &shown[0].tokens;
    assert_eq!(row.iter().map(|token| token.text.as_str()).collect::<String>(), "Which town? Paris.<|endoftext|>");
    let trained: String = row.iter().filter(|token| token.trained).map(|token| token.text.as_str()).collect();
    assert_eq!(trained, " Paris.<|endoftext|>");
    assert_eq!(row.len(), ids("Which town?").len() + ids(" Paris.").len() + 1, "padding is not shown");
}

#[test]
fn a_full_row_shows_its_last_label() {
    let found = rows(&TOKENIZER, &[document("a.txt", "One two three four five six seven.")], 4).unwrap();
    let shown = preview(&TOKENIZER, &found.rows, 9);
    assert_eq!(shown.len(), found.rows.len());
    assert_eq!(shown[0].tokens.iter().map(|token| token.trained).collect::<Vec<_>>(), [false, true, true, true, true]);
}

/// Standard output is not a terminal here, so brackets replace the faint colour.
#[test]
fn info_prints_the_first_rows_with_their_masks() {
    let folder = std::env::temp_dir().join(format!("tabtune-{}-info", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("a.jsonl");
    let lines: Vec<String> =
        (0..9).map(|_| json_line(&[("prompt", "Which town?"), ("completion", "\tParis.\n\u{1b}[2J")])).collect();
    std::fs::write(&path, lines.join("\n")).unwrap();
    let output =
        std::process::Command::new(env!("CARGO_BIN_EXE_tabtune")).args(["info", "--data"]).arg(&path).output().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    let shown: Vec<&str> = out.lines().filter(|line| line.starts_with("row ")).collect();
    assert_eq!(shown.len(), 3, "{out}");
    assert!(shown[0].starts_with("row 1: [Wh"), "{out}");
    assert!(shown[0].replace(' ', "").ends_with("town?]⇥Paris.↵\u{fffd}[2J<|endoftext|>"), "{out}");
    assert!(out.contains("[only read, not learnt from]") && !out.contains('\u{1b}'), "{out}");
}

#[test]
fn tokens_that_are_parts_of_a_character_are_shown_together() {
    let shown = |text: &str| {
        let found = rows(&TOKENIZER, &[document("a.jsonl", &json_line(&[("text", text)]))], 64).unwrap();
        preview(&TOKENIZER, &found.rows, 1).remove(0).tokens
    };
    for text in
        ["שלום", "سفينة", "船は港", "A 🚢 sails", "naïve café", "e\u{301}tude", "plain words", "\u{fffd} and on"]
    {
        let tokens = shown(text);
        let joined: String = tokens.iter().map(|token| token.text.as_str()).collect();
        assert_eq!(joined, format!("{text}<|endoftext|>"));
        assert_eq!(tokens.iter().map(|token| token.tokens).sum::<usize>(), ids(text).len() + 1, "{text}");
    }
    assert!(shown("🚢").iter().any(|token| token.tokens > 1));
    // A row may end inside a character; its tokens are shown all the same.
    let line = json_line(&[("text", "船は港を出て行きました")]);
    for seq_len in 2..12 {
        let found = rows(&TOKENIZER, &[document("a.jsonl", &line)], seq_len).unwrap();
        let tokens = preview(&TOKENIZER, &found.rows, 1).remove(0).tokens;
        assert_eq!(tokens.iter().map(|token| token.tokens).sum::<usize>(), seq_len + 1);
    }
}
