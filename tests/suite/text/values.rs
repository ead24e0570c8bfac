//! Records whose values come in other forms than templates take, compared with what transformers renders of them in the
//! right form (tests/fixtures/text/values.json, written by tests/fixtures/make_values.py), and values that are refused.

use std::collections::BTreeMap;

use serde::Deserialize;
use tabtune::error::Error;
use tabtune::text::chat::{ChatConfig, ChatTemplate};
use tabtune::text::rows;

use super::chat::{CHATML, with_template};
use super::conformance::record;
use super::{document, labels};

#[derive(Deserialize)]
struct Values {
    special_tokens: BTreeMap<String, String>,
    templates: BTreeMap<String, String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    template: String,
    record: String,
    text: String,
}

fn template(source: &str) -> ChatTemplate {
    ChatTemplate::new(Some(source.as_bytes()), ChatConfig::default()).unwrap().unwrap()
}

#[test]
fn values_reach_templates_in_the_form_they_take() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/text/values.json");
    let Values { special_tokens, templates, cases } = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert!(cases.len() >= 100);
    for case in cases {
        let mut template = template(&templates[&case.template]);
        for (name, token) in &special_tokens {
            template.set(name, token.as_str());
        }
        let conversation = record(&case.record);
        let place = format!("{}: {}", case.template, case.record);
        let text = template.text(&conversation, false).unwrap_or_else(|error| panic!("{place}: {error:?}"));
        assert_eq!(text, case.text, "{place}");
        // What is learnt is found in the same text: the assistant's last words, if the template writes them.
        let spans = template.assistant_spans(&conversation, &text, text.len());
        let said: String = spans.into_iter().map(|span| &text[span]).collect();
        let is_said = conversation.messages.last().unwrap().get_attr("content").unwrap();
        let is_said = is_said.as_str().map_or(String::new(), |said| said.trim_start_matches("<think>").to_owned());
        let is_said = is_said.rsplit("</think>").next().unwrap_or_default().trim();
        assert!(!text.contains(is_said) || said.contains(is_said), "{place}: {said:?} has no {is_said:?}");
    }
}

const CALLS: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}\
    {% for c in m.tool_calls or [] %}{{ c.function.arguments | tojson }}{% endfor %}<|im_end|>\n{% endfor %}\
    {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

#[test]
fn parts_and_arguments_are_learnt_as_the_template_writes_them() {
    let labels_of = |template: &str, line: &str| {
        let tokenizer = with_template(template);
        let found = rows(&tokenizer, &[document("a.jsonl", line)], 200).unwrap();
        tokenizer.decode(&labels(&found.rows[0])).unwrap()
    };
    let user = r#"{"role": "user", "content": [{"type": "text", "text": "Is the gate open?"}]}"#;
    let said =
        r#"{"role": "assistant", "content": [{"type": "text", "text": "It is "}, {"type": "text", "text": "shut."}]}"#;
    assert_eq!(labels_of(CHATML, &format!(r#"{{"messages": [{user}, {said}]}}"#)), "It is shut.");
    let parts = CHATML.replace("m.content", "(m.content | map(attribute='text') | join('_'))");
    assert_eq!(labels_of(&parts, &format!(r#"{{"messages": [{user}, {said}]}}"#)), "It is _shut.");
    let plain = r#"{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}"#;
    assert_eq!(labels_of(&parts, plain), "Ho");
    let call = r#"{"role": "assistant", "content": "",
        "tool_calls": [{"function": {"name": "depth", "arguments": "{\"berth\":4}"}}]}"#;
    let line = format!(r#"{{"messages": [{user}, {call}]}}"#).replace('\n', "");
    assert_eq!(labels_of(CALLS, &line), r#"{"berth": 4}"#);
}

#[test]
fn values_that_no_template_takes_are_named() {
    let parts = |content: &str| format!(r#"{{"messages": [{{"role": "user", "content": {content}}}]}}"#);
    let calls = |arguments: &str| {
        format!(
            r#"{{"messages": [{{"role": "user", "content": "a"}}, {{"role": "assistant", "content": "",
            "tool_calls": [{{"type": "function", "function": {{"name": "f", "arguments": {arguments}}}}}]}}]}}"#
        )
        .replace('\n', "")
    };
    let with =
        |key: &str, value: &str| format!(r#"{{"messages": [{{"role": "user", "content": "a"}}], "{key}": {value}}}"#);
    let takes_parts = "{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}";
    let cases = [
        (
            CHATML,
            parts(r#"[{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "x"}}]"#),
            "`image_url`",
        ),
        (takes_parts, parts(r#"[{"type": "image"}]"#), "message 1: its `content` has a part of type `image`"),
        (CHATML, parts(r#"[{"type": "input_audio", "input_audio": {}}]"#), "`input_audio`"),
        (CHATML, parts(r#"[{"type": "tool_use", "name": "f", "input": {}}]"#), "`tool_use`"),
        (CHATML, parts(r#"[{"type": "text"}]"#), "without a string `text`"),
        (CHATML, parts(r#"[{"text": 5}]"#), "without a `type` and a `text`"),
        (CHATML, parts("[[]]"), "without a `type` and a `text`"),
        (CALLS, calls(r#""{\"berth\": 4""#), "message 2: the `arguments`"),
        (CALLS, calls(r#""berth=4""#), "message 2: the `arguments`"),
        (CALLS, calls(r#""""#), "message 2: the `arguments`"),
        (CALLS, calls(r#""[1]""#), "no JSON object"),
        (CALLS, calls(r#""4""#), "no JSON object"),
        (CHATML, with("tools", r#""[{]""#), "`tools` is a string that is no JSON"),
        (CHATML, with("tools", r#"{"name": "f"}"#), "`tools` is not a list"),
        (CHATML, with("tools", r#"["f"]"#), "tool 1 of `tools`"),
        (CHATML, with("tools", r#"[{"name": "f"}, 7]"#), "tool 2 of `tools` is not an object"),
        (CHATML, with("chat_template_kwargs", "[1]"), "`chat_template_kwargs` is not an object"),
        (CHATML, with("chat_template_kwargs", r#""a""#), "`chat_template_kwargs` is a string that is no JSON"),
        (CHATML, with("chat_template_kwargs", r#"{"messages": []}"#), "`chat_template_kwargs` has `messages`"),
        (CHATML, with("chat_template_kwargs", r#"{"tools": []}"#), "`chat_template_kwargs` has `tools`"),
        (CHATML, with("chat_template_kwargs", r#"{"add_generation_prompt": true}"#), "has `add_generation_prompt`"),
    ];
    for (template, line, expected) in cases {
        let lines = format!("{{\"text\": \"Alone.\"}}\n{line}");
        let error = rows(&with_template(template), &[document("a.jsonl", &lines)], 8).unwrap_err();
        assert!(matches!(error.code(), "data_line" | "messages"), "{line}: {error:?}");
        let said = error.to_string();
        assert!(said.starts_with("`a.jsonl`, line 2: ") && said.contains(expected), "{line}: {error:?}");
    }
}

#[test]
fn a_template_that_fails_is_not_the_conversation_refused() {
    let line = r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}"#;
    let cases = [
        ("\n{{ messages | nonsense }}", "line 2 of the template: unknown filter: filter nonsense is unknown"),
        ("{{ messages[0].content.nonsense() }}", "str has no method `nonsense`"),
        ("{{ nonsense(1) }}", "unknown function: nonsense is unknown"),
        ("{{ 'a' is nonsense }}", "unknown test: test nonsense is unknown"),
        ("{{ messages[0].content + 1 }}", "`+` between str and int"),
        ("{{ messages[0].name + 'a' }}", "`+` between a value that is not defined and str"),
        ("{% for x in messages[0].name.first %}{% endfor %}", "`.first` of a value that is not defined"),
        ("{{ '%d' % messages[0].content }}", "`%d` of str"),
        ("{{ messages[0] < 1 }}", "`<` compares dict with int"),
        ("{{ messages.append(1) }}", "`append` changes a list"),
        ("{{ messages[0].pop('role') }}", "`pop` changes a dict"),
        ("{{ messages | tojson(default=1) }}", "`tojson` has no argument `default`"),
        ("{{ messages[9].content }}", "`.content` of a value that is not defined"),
    ];
    for (source, expected) in cases {
        let error = rows(&with_template(source), &[document("a.jsonl", line)], 8).unwrap_err();
        assert!(
            matches!(&error, Error::TemplateFails { reason, .. } if reason.contains(expected)),
            "{source}: {error:?}"
        );
    }
    // What only Jinja2 has, or no Jinja, is found before any conversation.
    for (source, expected) in [
        ("{% include 'x' %}", "reads another template"),
        ("{{ cycler('a') }}", "unknown"),
        ("{% macro m() %}{{ varargs }}{% endmacro %}{{ m(1) }}", "`varargs` in a macro"),
        ("{{ self.x() }}", "`self` is not available"),
        ("{% do messages %}", "call"),
        ("{% autoescape true %}{% endautoescape %}", "`autoescape`"),
    ] {
        let error = rows(&with_template(source), &[document("a.jsonl", line)], 8).unwrap_err();
        let (Error::ChatTemplate { reason } | Error::TemplateFails { reason, .. }) = &error else {
            panic!("{source}: {error:?}")
        };
        assert!(reason.contains(expected), "{source}: {reason}");
    }
}
