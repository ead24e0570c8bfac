//! Published models compared with Python's `tokenizers` and `transformers`: ids, renderings of chat templates, masks.
//! The expected values are in tests/fixtures/text, written by tests/fixtures/make_text.py. The tokenizers come from
//! package registries; if they could not be fetched, these tests say so and pass.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;
use tabtune::files::Source;
use tabtune::run::ModelFiles;
use tabtune::text::chat::{ChatTemplate, Refusal};
use tabtune::text::formats::{Content, Conversation, Example};
use tabtune::text::tokenizer::GgufTokenizer;
use tabtune::text::{Tokenizer, TokenizerFiles, rows};

use super::{document, labels};

const TEXT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/text");
/// SmolLM2 as one file.
const GGUF: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

static CHAT: LazyLock<Chat> = LazyLock::new(|| read("chat.json"));

fn read<T: for<'de> Deserialize<'de>>(name: &str) -> T {
    serde_json::from_slice(&std::fs::read(format!("{TEXT}/{name}")).unwrap()).unwrap()
}

#[derive(Deserialize)]
struct Chat {
    conversations: Vec<Value>,
    rendered: serde_json::Map<String, Value>,
    generation_template: String,
    masks: Vec<Mask>,
}

#[derive(Deserialize)]
struct Mask {
    ids: Vec<u32>,
    mask: Vec<u8>,
}

#[derive(Deserialize)]
struct Case {
    conversation: usize,
    add_generation_prompt: bool,
    kwargs: serde_json::Map<String, Value>,
    text: Option<String>,
    ids: Option<Vec<u32>>,
    error: Option<String>,
}

impl Chat {
    fn cases(&self, model: &str) -> Vec<Case> {
        Case::deserialize_all(&self.rendered[model])
    }

    fn conversation(&self, at: usize) -> Conversation {
        conversation(&self.conversations[at])
    }
}

impl Case {
    fn deserialize_all(cases: &Value) -> Vec<Case> {
        cases.as_array().unwrap().iter().map(|case| Case::deserialize(case).unwrap()).collect()
    }
}

/// The conversation that a file with these messages contains.
pub fn conversation(messages: &Value) -> Conversation {
    record(&serde_json::json!({ "messages": messages }).to_string())
}

/// The conversation that a file with this record contains.
pub fn record(record: &str) -> Conversation {
    let document = document("a.jsonl", record).read().unwrap_or_else(|error| panic!("{error}"));
    let Content::Examples(examples) = document.content else { panic!("examples") };
    let Some(Example::Conversation(conversation)) = examples.into_iter().next() else { panic!("a conversation") };
    conversation
}

/// A file of a published model; None, with a warning that is hard to overlook, if it was not fetched.
fn fetched(model: &str, name: &str) -> Option<Vec<u8>> {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from);
    let path = cache.join("tabtune/models").join(model).join(name);
    let bytes = std::fs::read(&path).ok();
    if bytes.is_none() {
        // Straight to the terminal: what a passing test prints is not shown.
        let _ = writeln!(
            std::io::stderr(),
            "\nNOT TESTED: {model}: {} is missing; run `tools/setup.sh models`\n",
            path.display()
        );
    }
    bytes
}

fn tokenizer(model: &str, template: Option<&str>) -> Option<Tokenizer> {
    let json = fetched(model, "tokenizer.json")?;
    let files = TokenizerFiles {
        tokenizer: &json,
        tokenizer_config: None,
        generation_config: None,
        chat_template: template.map(str::as_bytes),
        config: b"{}",
    };
    Some(Tokenizer::from_files(&files).unwrap_or_else(|e| panic!("{model}: {e}")))
}

/// The template of a model, from the fixtures or from the fetched files.
fn template(model: &str) -> Option<ChatTemplate> {
    let config = std::fs::read(format!("{TEXT}/templates/{model}.json"))
        .ok()
        .or_else(|| fetched(model, "tokenizer_config.json"))?;
    Some(ChatTemplate::new(None, serde_json::from_slice(&config).unwrap()).unwrap().unwrap())
}

#[derive(Deserialize)]
struct Lines {
    lines: Vec<String>,
    ids: serde_json::Map<String, Value>,
}

#[test]
fn ids_equal_those_of_python() {
    let Lines { lines, ids } = read("lines.json");
    assert_eq!((lines.len(), ids.len()), (274, 5));
    for (model, expected) in &ids {
        let Some(tokenizer) = tokenizer(model, None) else { continue };
        let expected: Vec<Vec<u32>> = serde_json::from_value(expected.clone()).unwrap();
        for (line, expected) in lines.iter().zip(expected) {
            assert_eq!(tokenizer.encode(line, false).unwrap(), expected, "{model}: {line:?}");
            assert_eq!(tokenizer.encode_in_pieces(line, false, 1).unwrap(), expected, "{model} in pieces: {line:?}");
            let (ids, offsets) = tokenizer.encode_with_offsets(line).unwrap();
            assert_eq!((&ids, offsets.len()), (&expected, expected.len()), "{model} with offsets: {line:?}");
            assert!(offsets.iter().all(|token| line.get(token.clone()).is_some()), "{model}: {offsets:?} in {line:?}");
        }
    }
}

#[test]
fn the_tokenizer_in_a_gguf_file_is_that_of_its_checkpoint() {
    let Some(file) = fetched("", GGUF) else { return };
    let files = pollster::block_on(ModelFiles::of_gguf(Source::memory(GGUF, file))).unwrap();
    let tokenizer = Tokenizer::from_files(&files.small()).unwrap();
    let Lines { lines, mut ids } = read("lines.json");
    let expected: Vec<Vec<u32>> = serde_json::from_value(ids["smollm2"].take()).unwrap();
    for (line, expected) in lines.iter().zip(expected) {
        assert_eq!(tokenizer.encode(line, true).unwrap(), expected, "{line:?}");
    }
    let rendered = |model: &ChatTemplate| model.text(&CHAT.conversation(0), true).unwrap();
    let (found, published) = (tokenizer.chat_template("here").unwrap(), template("smollm2").unwrap());
    assert_eq!(rendered(found), rendered(&published));
}

/// The metadata of a GGUF file that llama.cpp's converter makes of a SentencePiece tokenizer. Scores are as the merges.
fn scored(json: &Value, adds_space: bool) -> BTreeMap<String, Value> {
    let mut tokens = BTreeMap::new();
    for (token, id) in json["model"]["vocab"].as_object().unwrap() {
        tokens.insert(id.as_u64().unwrap(), (token.as_str(), 1));
    }
    for token in json["added_tokens"].as_array().unwrap() {
        let kind = if token["special"] == true { 3 } else { 4 };
        tokens.insert(token["id"].as_u64().unwrap(), (token["content"].as_str().unwrap(), kind));
    }
    let mut ranks = HashMap::new();
    for (rank, merge) in json["model"]["merges"].as_array().unwrap().iter().enumerate() {
        let result = merge.as_str().map(|line| line.replace(' ', ""));
        let result = result.unwrap_or_else(|| format!("{}{}", merge[0].as_str().unwrap(), merge[1].as_str().unwrap()));
        ranks.entry(result).or_insert(-(rank as f64));
    }
    let kind = |(token, kind): (&str, u64)| if token == "<unk>" { 2 } else { kind };
    let score = |(token, kind): (&str, u64)| if kind == 1 { ranks.get(token).map_or(-1e9, |rank| *rank) } else { -1e3 };
    let spelt = |(token, kind): (&str, u64)| if kind == 4 { token.replace('▁', " ") } else { token.to_string() };
    let id = |text: &str| tokens.iter().find(|(_, (token, _))| *token == text).map(|(id, _)| *id);
    let fields = [
        ("model", "llama".into()),
        ("tokens", tokens.values().map(|token| spelt(*token)).collect()),
        ("scores", tokens.values().map(|token| score(*token)).collect()),
        ("token_type", tokens.values().map(|token| kind(*token)).collect()),
        ("bos_token_id", id("<bos>").or(id("<s>")).into()),
        ("add_space_prefix", adds_space.into()),
    ];
    assert_eq!(tokens.len() as u64, tokens.keys().max().unwrap() + 1);
    fields.into_iter().map(|(key, value)| (format!("tokenizer.ggml.{key}"), value)).collect()
}

#[test]
fn sentence_piece_tokenizers_in_gguf_files_are_those_of_their_checkpoints() {
    let Lines { lines, .. } = read("lines.json");
    for (model, adds_space) in [("mistral", true), ("gemma3", false)] {
        let Some(json) = fetched(model, "tokenizer.json") else { continue };
        let published = tokenizer(model, None).unwrap();
        let made = GgufTokenizer::new(&scored(&serde_json::from_slice(&json).unwrap(), adds_space)).unwrap();
        let found = Tokenizer::from_files(&TokenizerFiles {
            tokenizer: &made.tokenizer,
            tokenizer_config: Some(&made.tokenizer_config),
            generation_config: Some(&made.generation_config),
            chat_template: None,
            config: b"{}",
        });
        let found = found.unwrap_or_else(|error| panic!("{model}: {error}"));
        for line in lines.iter().chain([&lines.concat(), &lines.join("\n")]) {
            let expected = published.encode(line, true).unwrap();
            assert_eq!(found.encode(line, true).unwrap(), expected, "{model}: {line:?}");
            assert_eq!(found.decode(&expected).unwrap(), published.decode(&expected).unwrap(), "{model}: {line:?}");
        }
    }
}

#[test]
fn renderings_and_their_ids_equal_those_of_transformers() {
    let mut rendered = 0;
    for model in CHAT.rendered.keys() {
        let Some(mut template) = template(model) else { continue };
        let cases = CHAT.cases(model);
        let tokenizer = cases.iter().any(|case| case.ids.is_some()).then(|| tokenizer(model, None)).flatten();
        for case in cases {
            for (name, value) in &case.kwargs {
                template.set(name, minijinja::Value::from_serialize(value));
            }
            let found = template.text(&CHAT.conversation(case.conversation), case.add_generation_prompt);
            let place = format!("{model}, conversation {}, {:?}", case.conversation, case.kwargs);
            match (&case.text, &case.error) {
                (Some(text), None) => assert_eq!(found.as_ref(), Ok(text), "{place}"),
                (None, Some(error)) => assert_eq!(found, Err(Refusal::Conversation(error.clone())), "{place}"),
                _ => panic!("{place}: neither a text nor an error"),
            }
            if let (Some(tokenizer), Some(ids)) = (&tokenizer, &case.ids) {
                assert_eq!(tokenizer.encode(&found.unwrap(), false).unwrap(), *ids, "{place}");
            }
            for name in case.kwargs.keys() {
                template.set(name, minijinja::Value::UNDEFINED);
            }
            rendered += 1;
        }
    }
    assert!(rendered >= 168, "{rendered} cases");
}

/// `{% generation %}` marks in Jinja what we find out by rendering twice.
#[test]
fn masks_equal_those_that_transformers_reads_from_generation_tags() {
    let Some(tokenizer) = tokenizer("smollm2", Some(&CHAT.generation_template)) else { return };
    for (at, expected) in CHAT.masks.iter().enumerate() {
        let line = serde_json::json!({ "messages": CHAT.conversations[at] }).to_string();
        let found = rows(&tokenizer, &[document("a.jsonl", &line)], expected.ids.len() - 1).unwrap();
        assert_eq!(found.rows[0].ids, expected.ids, "conversation {at}");
        let marked = expected.ids.iter().zip(&expected.mask).filter(|(_, said)| **said == 1).map(|(id, _)| *id);
        assert_eq!(labels(&found.rows[0]), marked.collect::<Vec<_>>(), "conversation {at}");
    }
}

/// Compares each turn of the assistant with what `turns` makes of its content and of whether it is the last message.
fn check_spans(model: &str, turns: impl Fn(&str, bool) -> String) {
    let Some(template) = template(model) else { return };
    let mut seen = 0;
    for case in CHAT.cases(model).iter().filter(|case| !case.add_generation_prompt && case.kwargs.is_empty()) {
        let Some(text) = &case.text else { continue };
        let messages = CHAT.conversations[case.conversation].as_array().unwrap();
        let last = messages.len() - 1;
        let said = messages.iter().enumerate().filter(|(_, message)| message["role"] == "assistant");
        let expected: Vec<String> =
            said.map(|(at, message)| turns(message["content"].as_str().unwrap(), at == last)).collect();
        let spans = template.assistant_spans(&CHAT.conversation(case.conversation), text, text.len());
        let found: Vec<&str> = spans.into_iter().map(|span| &text[span]).collect();
        assert_eq!(found, expected, "{model}: {text}");
        seen += found.len();
    }
    assert!(seen >= 5, "{model}: {seen} turns");
}

#[test]
fn what_the_assistant_says_is_found_in_every_published_template() {
    check_spans("smollm2", |content, _| format!("{content}<|im_end|>"));
    check_spans("qwen2.5", |content, _| format!("{content}<|im_end|>"));
    check_spans("mistral", |content, _| format!("{content}</s>"));
    check_spans("tinyllama", |content, _| format!("{content}</s>"));
    check_spans("deepseek-v3", |content, _| format!("{content}<｜end▁of▁sentence｜>"));
    check_spans("gemma3", |content, _| format!("{}<end_of_turn>", content.trim()));
    check_spans("llama3.1", |content, _| format!("{}<|eot_id|>", content.trim()));
    // Earlier thoughts are left out; a last answer without a thought is written with an empty one.
    check_spans("qwen3", |content, last| {
        let (thought, answer) = match content.split_once("</think>") {
            Some((thought, answer)) => {
                (thought.trim_start_matches("<think>").trim_matches('\n'), answer.trim_start_matches('\n'))
            }
            None => ("", content),
        };
        if last {
            format!("<think>\n{thought}\n</think>\n\n{}<|im_end|>", answer.trim_start_matches('\n'))
        } else {
            format!("{answer}<|im_end|>")
        }
    });
}

/// Llama 3.2's template prints today's date unless it is given one.
#[test]
fn what_the_assistant_says_is_found_in_llama_3() {
    let Some(mut template) = template("llama3.2") else { return };
    template.set("date_string", "26 Jul 2024");
    for case in CHAT.cases("llama3.2").iter().filter(|case| !case.add_generation_prompt) {
        let (text, conversation) = (case.text.as_ref().unwrap(), CHAT.conversation(case.conversation));
        let messages = CHAT.conversations[case.conversation].as_array().unwrap();
        let said = messages.iter().filter(|message| message["role"] == "assistant");
        let expected: Vec<String> =
            said.map(|message| format!("{}<|eot_id|>", message["content"].as_str().unwrap().trim())).collect();
        let found: Vec<&str> =
            template.assistant_spans(&conversation, text, text.len()).into_iter().map(|span| &text[span]).collect();
        assert_eq!(found, expected, "{text}");
    }
}
