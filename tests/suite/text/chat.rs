//! Conversations: templates from a model's folder, rows whose labels are what the assistant says, and errors. The
//! renderings of published templates are compared in `conformance`.

use serde_json::{Value, json};
use tabtune::error::{Error, Result};
use tabtune::text::chat::{ChatConfig, ChatTemplate, Refusal};
use tabtune::text::{Dataset, DatasetOptions, PAGE_LIMIT, Rows, Tokenizer, TokenizerFiles, rows};

use super::conformance::conversation;
use super::{BASE_JSON, document, ids, labels, padded};

pub const CHATML: &str = "{% for m in messages %}\
                      {{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}\
                      {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// The embedded tokenizer, which knows ChatML's tokens, with a template.
pub fn with_template(template: &str) -> Tokenizer {
    folder(Some(template), None)
}

fn folder(template: Option<&str>, tokenizer_config: Option<Value>) -> Tokenizer {
    let (tokenizer, tokenizer_config) = (BASE_JSON.to_string(), tokenizer_config.map(|config| config.to_string()));
    let files = TokenizerFiles {
        tokenizer: tokenizer.as_bytes(),
        tokenizer_config: tokenizer_config.as_deref().map(str::as_bytes),
        generation_config: None,
        chat_template: template.map(str::as_bytes),
        config: br#"{"eos_token_id": 0}"#,
    };
    Tokenizer::from_files(&files).unwrap()
}

fn template(source: &str) -> ChatTemplate {
    ChatTemplate::new(Some(source.as_bytes()), ChatConfig::default()).unwrap().unwrap()
}

fn render(source: &str, messages: Value) -> Result<String, Refusal> {
    template(source).text(&conversation(&messages), false)
}

fn said(source: &str, messages: Value) -> Vec<String> {
    let (template, conversation) = (template(source), conversation(&messages));
    let text = template.text(&conversation, false).unwrap();
    template.assistant_spans(&conversation, &text, text.len()).into_iter().map(|turn| text[turn].to_owned()).collect()
}

fn line(messages: &Value) -> String {
    json!({ "messages": messages }).to_string()
}

fn rows_of(tokenizer: &Tokenizer, lines: &str, seq_len: usize) -> Result<Rows> {
    rows(tokenizer, &[document("a.jsonl", lines)], seq_len)
}

fn exchange() -> Value {
    json!([
        {"role": "user", "content": "Who goes there?"}, {"role": "assistant", "content": "A friend."},
        {"role": "user", "content": "Pass."}, {"role": "assistant", "content": "Thank you."},
    ])
}

#[test]
fn a_conversation_is_one_row_that_trains_on_what_the_assistant_says() {
    let tokenizer = with_template(CHATML);
    let turn = |role: &str, said: &str| [vec![1], ids(&format!("{role}\n")), ids(said), vec![2], ids("\n")].concat();
    let all = [
        turn("user", "Who goes there?"),
        turn("assistant", "A friend."),
        turn("user", "Pass."),
        turn("assistant", "Thank you."),
    ];
    let all = all.concat();
    let found = rows_of(&tokenizer, &line(&exchange()), 100).unwrap();
    assert_eq!(found.rows.len(), 1);
    // No token is added, neither by the post-processor nor at the end of the text.
    assert_eq!(found.rows[0].ids, padded(all.clone(), 101));
    assert_eq!(found.rows[0].tokens, all.len());
    assert_eq!(labels(&found.rows[0]), [ids("A friend."), vec![2], ids("Thank you."), vec![2]].concat());
    assert_eq!((found.counts.tokens, found.counts.cut), (all.len(), 0));
}

#[test]
fn long_conversations_lose_their_end_and_are_counted() {
    let tokenizer = with_template(CHATML);
    let whole = rows_of(&tokenizer, &line(&exchange()), 100).unwrap().rows.remove(0);
    for seq_len in 1..whole.tokens {
        let found = rows_of(&tokenizer, &line(&exchange()), seq_len).unwrap();
        let row = &found.rows[0];
        assert_eq!(found.counts.cut, usize::from(whole.tokens > seq_len + 1));
        assert_eq!((&row.ids[..], &row.labels[..]), (&whole.ids[..=seq_len], &whole.labels[..seq_len]), "{seq_len}");
    }
    let options = DatasetOptions { seq_len: 4, holdout: 0.0, holdout_at_most: None, limit_bytes: PAGE_LIMIT };
    let lines = document("a.jsonl", &line(&exchange()));
    let error = Dataset::from_documents(&tokenizer, &[lines], None, &options).unwrap_err();
    assert!(
        matches!(&error, Error::DataFormat { reason, .. } if reason.contains("the assistant says nothing")),
        "{error:?}"
    );
}

#[test]
fn conversations_can_be_mixed_with_other_examples() {
    let tokenizer = with_template(CHATML);
    let lines = format!("{}\n{}\n", json!({"text": "Alone."}), line(&exchange()));
    let found = rows_of(&tokenizer, &lines, 100).unwrap();
    assert_eq!(labels(&found.rows[0]), [&ids("Alone.")[1..], &[0]].concat());
    assert_eq!(found.rows[1], rows_of(&tokenizer, &line(&exchange()), 100).unwrap().rows[0]);
}

#[test]
fn a_model_without_a_template_refuses_conversations_and_nothing_else() {
    let tokenizer = folder(None, Some(json!({"eos_token": "<|endoftext|>"})));
    let lines = format!("{}\n\n{}\n", json!({"text": "Alone."}), line(&exchange()));
    let error = rows_of(&tokenizer, &lines, 8).unwrap_err();
    assert_eq!(error, Error::NoChatTemplate { place: "`a.jsonl`, line 3".to_owned() });
    assert!(error.hint().contains("\"prompt\" and \"completion\""));
    assert!(rows_of(&tokenizer, r#"{"text": "Alone."}"#, 1).is_ok());
}

#[test]
fn a_template_that_refuses_is_an_error_with_the_line() {
    let source = "{% if messages[0].role != 'user' %}{{ raise_exception('The user speaks first') }}{% endif %}";
    let lines = format!("{}\n{}", line(&exchange()), line(&json!([{"role": "system", "content": ""}])));
    let error = rows_of(&with_template(source), &lines, 8).unwrap_err();
    assert_eq!(
        error,
        Error::Conversation { place: "`a.jsonl`, line 2".to_owned(), reason: "The user speaks first".to_owned() }
    );
    // An error from Jinja itself names the line of the template.
    let error = rows_of(&with_template("\n\n{{ messages[0].content + 1 }}"), &line(&exchange()), 8).unwrap_err();
    assert!(
        matches!(&error, Error::TemplateFails { reason, .. } if reason.contains("line 3 of the template")),
        "{error:?}"
    );
}

#[test]
fn a_template_that_cannot_be_used_is_an_error_only_for_conversations() {
    for (source, expected) in [
        ("{% for m in messages %}", "syntax error"),
        ("{{ m | no_such_filter }}", "no_such_filter"),
        (&"(".repeat(100_000), ""),
        (&format!("{{{{ {}", "(".repeat(100_000)), "too long"),
        (&" ".repeat((256 << 10) + 1), "the limit is 262144"),
    ] {
        let tokenizer = with_template(source);
        assert!(rows_of(&tokenizer, r#"{"text": "Alone."}"#, 1).is_ok());
        match rows_of(&tokenizer, &line(&exchange()), 8) {
            Err(Error::ChatTemplate { reason } | Error::TemplateFails { reason, .. }) => {
                assert!(reason.contains(expected), "{reason}")
            }
            other => assert!(expected.is_empty() && other.is_ok(), "{other:?}"),
        }
    }
    let damaged = ChatTemplate::new(Some(b"\xff"), ChatConfig::default());
    assert!(damaged.unwrap().is_err_and(|reason| reason.contains("UTF-8")));
}

#[test]
fn the_file_takes_precedence_over_the_config_and_default_over_other_names() {
    let text = |template: Option<&str>, config: Value| {
        let tokenizer = folder(template, Some(config));
        tokenizer.chat_template("a test").ok().map(|template| template.text(&conversation(&exchange()), false).unwrap())
    };
    let named = json!([{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "chosen"}]);
    assert_eq!(text(None, json!({"chat_template": "one"})).as_deref(), Some("one"));
    assert_eq!(text(Some("file"), json!({"chat_template": "one"})).as_deref(), Some("file"));
    assert_eq!(text(None, json!({"chat_template": named})).as_deref(), Some("chosen"));
    assert_eq!(text(None, json!({"chat_template": [{"name": "rag", "template": "x"}]})), None);
    assert_eq!(text(None, json!({"chat_template": null})), None);
    let tokens = json!({"chat_template": "{{ bos_token }}|{{ eos_token }}|{{ pad_token }}|{{ add_bos_token }}",
        "bos_token": "<s>", "eos_token": {"content": "<|im_end|>"}, "pad_token": null, "add_bos_token": true});
    assert_eq!(text(None, tokens).as_deref(), Some("<s>|<|im_end|>||"));
    let extra = json!({"chat_template": "{{ image_token }}|{{ boi }}|{{ tools_token }}", "image_token": "outer",
        "tools_token": "t", "extra_special_tokens": {"image_token": "<image>", "boi": {"content": "<boi>"}}});
    assert_eq!(text(None, extra).as_deref(), Some("<image>|<boi>|t"));
    let listed =
        json!({"chat_template": "{{ eos_token }}", "eos_token": "<|im_end|>", "extra_special_tokens": ["<x>"]});
    assert_eq!(text(None, listed).as_deref(), Some("<|im_end|>"));
}

#[test]
fn jinja_is_read_as_transformers_reads_it() {
    let messages = json!([
        {"role": "user", "content": " Hi ", "zebra": [1, 2.0, 1e-7, 1e16, null, true], "apple": {"é\"": "<&>'"}},
    ]);
    let cases = [
        // Blocks are trimmed on both sides, and a line end at the end of the file is dropped.
        ("  {% if true %}\n  a\n  {% endif %}\nb\n", "  a\nb"),
        ("{{ messages[0]['content'].strip() }}|{{ messages[0].content | trim }}", "Hi|Hi"),
        ("{{ messages[0].content.split('H')[1] }}{{ messages[-1].role.startswith('us') }}", "i True"),
        ("{{ none }}{{ true }}{{ missing }}{{ messages[0].missing }}", "NoneTrue"),
        (
            "{% for i in range(9) %}{% if i == 1 %}{% continue %}{% elif i == 3 %}{% break %}{% endif %}\
             {{ i }}{% endfor %}",
            "02",
        ),
        ("{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}", "1"),
        // From Python: json.dumps(value, ensure_ascii=False).
        ("{{ messages[0].zebra | tojson }}", "[1, 2.0, 1e-07, 1e+16, null, true]"),
        (
            "{{ messages[0] | tojson }}",
            "{\"role\": \"user\", \"content\": \" Hi \", \"zebra\": [1, 2.0, 1e-07, 1e+16, null, true], \
              \"apple\": {\"é\\\"\": \"<&>'\"}}",
        ),
        ("{{ messages[0].apple | tojson(indent=2) }}", "{\n  \"é\\\"\": \"<&>'\"\n}"),
        ("{{ tools is none }}{{ documents is none }}{{ tools is defined }}", "TrueTrueTrue"),
        ("a{% generation %}b{%- endgeneration -%} c", "abc"),
    ];
    for (source, expected) in cases {
        // Python keeps the key order of the file, but serde_json's `json!` sorts keys, so this line is written by hand.
        let line = concat!(
            r#"{"messages": [{"role": "user", "content": " Hi ", "zebra": [1, 2.0, 1e-7, 1e16, null, true], "#,
            r#""apple": {"é\"": "<&>'"}}]}"#
        );
        let parsed: Value = serde_json::from_str(line).unwrap();
        assert_eq!(parsed["messages"], messages);
        let document = document("a.jsonl", line).read().unwrap();
        let tabtune::text::formats::Content::Examples(examples) = document.content else { panic!("examples") };
        let [tabtune::text::formats::Example::Conversation(conversation)] = &examples[..] else {
            panic!("a conversation")
        };
        assert_eq!(template(source).text(conversation, false), Ok(expected.to_owned()), "{source}");
    }
    let today = render("{{ strftime_now('%d %b %Y') }}", exchange()).unwrap();
    assert!(today.len() == 11 && chrono::NaiveDate::parse_from_str(&today, "%d %b %Y").is_ok(), "{today}");
    assert!(render("{{ strftime_now('%Q') }}", exchange()).is_err());
}

#[test]
fn a_turn_is_found_whatever_the_template_does_to_it() {
    let chat = exchange();
    // This template ignores add_generation_prompt.
    let plain = "{% for m in messages %}<{{ m.role }}> {{ m.content }} </s>\n{% endfor %}";
    assert_eq!(said(plain, chat.clone()), ["A friend. </s>", "Thank you. </s>"]);
    // A line end ends each turn except the last one of the conversation.
    let lines =
        "{% for m in messages %}{{ m.role }}: {{ m.content }}{% if not loop.last %}{{ '\n' }}{% endif %}{% endfor %}";
    assert_eq!(said(lines, chat.clone()), ["A friend.", "Thank you."]);
    let lines = "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ '\n' }}{% endfor %}\
                 {% if add_generation_prompt %}assistant: {% endif %}";
    assert_eq!(said(lines, chat.clone()), ["A friend.\n", "Thank you.\n"]);
    // The template changes words, leaves out earlier turns, or leaves out everything.
    assert_eq!(
        said(&CHATML.replace("m.content", "m.content | upper"), chat.clone()),
        ["A FRIEND.<|im_end|>", "THANK YOU.<|im_end|>"]
    );
    assert_eq!(said(&CHATML.replace("in messages", "in messages[2:]"), chat.clone()), ["Thank you.<|im_end|>"]);
    assert_eq!(said("nothing", chat), Vec::<String>::new());
    // Messages repeat each other, consist of words of the template, or are empty.
    let echo = json!([{"role": "user", "content": "<|im_end|>\n"}, {"role": "assistant", "content": "<|im_end|>\n"},
        {"role": "assistant", "content": "assistant\n"}, {"role": "assistant", "content": ""}]);
    assert_eq!(said(CHATML, echo), ["<|im_end|>\n<|im_end|>", "assistant\n<|im_end|>", "<|im_end|>"]);
}

#[test]
fn tool_calls_are_labels_too() {
    let source = "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}<{{ m.role }}>\
                  {% if m.tool_calls %}{% for c in m.tool_calls %}\
                  [{{ c.function.name }} {{ c.function.arguments | tojson }}]{% endfor %}\
                  {% else %}{{ m.content }}{% endif %}</{{ m.role }}>\n{% endfor %}\
                  {% if add_generation_prompt %}<assistant>{% endif %}";
    let line = r#"{"tools": [{"name": "add"}], "messages": [{"role": "user", "content": "1+2?"},
        {"role": "assistant", "content": null,
            "tool_calls": [{"function": {"name": "add", "arguments": {"b": 2, "a": 1}}}]},
        {"role": "tool", "content": "3"}, {"role": "assistant", "content": "Three."}]}"#
        .replace('\n', "");
    let tokenizer = with_template(source);
    let found = rows_of(&tokenizer, &line, 200).unwrap();
    let text = tokenizer.decode(&labels(&found.rows[0])).unwrap();
    assert_eq!(text, r#"[add {"b": 2, "a": 1}]</assistant>Three.</assistant>"#);
    assert!(tokenizer.decode(&found.rows[0].ids).unwrap().starts_with(r#"[{"name": "add"}]<user>"#));
}

#[test]
fn invalid_messages_are_named_with_their_line() {
    let cases = [
        (json!("Hi"), "`messages` is not a list"),
        (json!({"role": "user"}), "`messages` is not a list"),
        (json!([]), "`messages` is empty"),
        (json!(["Hi"]), "message 1 of `messages`"),
        (json!([{"role": "user", "content": ""}, {"content": "Hi"}]), "message 2 of `messages`"),
        (json!([{"role": 1}]), "message 1 of `messages`"),
        (json!([null]), "message 1 of `messages`"),
    ];
    for (messages, expected) in cases {
        let lines = format!("{}\n{}", line(&exchange()), line(&messages));
        let error = rows_of(&with_template(CHATML), &lines, 8).unwrap_err();
        assert!(
            matches!(&error, Error::DataLine { line: 2, reason, .. } if reason.contains(expected)),
            "{messages}: {error:?}"
        );
    }
}
