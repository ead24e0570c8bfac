//! Constructs of chat templates compared with what jinja2 renders of them, as transformers runs it. The expected texts
//! are in tests/fixtures/text/constructs.json, written by tests/fixtures/make_constructs.py.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use tabtune::text::chat::{ChatConfig, ChatTemplate, Refusal};

use super::conformance::record;

#[derive(Deserialize)]
struct Constructs {
    /// As text: serde_json sorts keys, and templates print them in their order.
    context: BTreeMap<String, Box<RawValue>>,
    constructs: Vec<Construct>,
}

#[derive(Deserialize)]
struct Construct {
    template: String,
    text: Option<String>,
    error: Option<String>,
}

/// Constructs that jinja2 renders and tabtune refuses, with a word of the reason.
const REFUSED: &[(&str, &str)] = &[
    ("{{ 1, 2 }}", "unexpected `,`"),
    ("{{ '\\N{BULLET}' }}", "escape `\\N`"),
    ("{{ self is defined }}", "`self` is not available"),
    ("{% set j = joiner(', ') %}{% for x in words %}{{ j() }}{{ x }}{% endfor %}", "joiner is unknown"),
];
/// Constructs that jinja2 refuses and tabtune renders.
const ACCEPTED: &[&str] = &[];

#[test]
fn constructs_render_as_jinja2_renders_them() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/text/constructs.json");
    let Constructs { mut context, constructs } = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert!(constructs.len() >= 200);
    let conversation = record(&format!(r#"{{"messages": {}, "tools": {}}}"#, context["messages"], context["tools"]));
    for name in ["messages", "tools", "documents", "add_generation_prompt"] {
        context.remove(name);
    }
    let mut wrong = Vec::new();
    for construct in &constructs {
        let rendered = match ChatTemplate::new(Some(construct.template.as_bytes()), ChatConfig::default()).unwrap() {
            Err(reason) => Err(Refusal::Template(reason)),
            Ok(mut template) => {
                for (name, value) in &context {
                    template.set(name, serde_json::from_str::<minijinja::Value>(value.get()).unwrap());
                }
                template.text(&conversation, true)
            }
        };
        let refused = REFUSED.iter().find(|(template, _)| construct.template == *template);
        let right = match (&rendered, &construct.text, refused) {
            (Ok(text), Some(expected), None) => text == expected,
            (Err(Refusal::Template(reason)), Some(_), Some((_, word))) => reason.contains(word),
            (Err(Refusal::Conversation(reason)), None, None) => {
                construct.error.as_deref() == Some(&format!("TemplateError: {reason}"))
            }
            (Err(Refusal::Template(_)), None, None) => {
                construct.error.as_ref().is_some_and(|error| !error.starts_with("TemplateError"))
            }
            (Ok(_), None, None) => ACCEPTED.contains(&construct.template.as_str()),
            _ => false,
        };
        if !right {
            let expected = construct.text.as_ref().or(construct.error.as_ref());
            wrong.push(format!("{}\n  expected {expected:?}\n  found    {rendered:?}", construct.template));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), constructs.len(), wrong.join("\n"));
}
