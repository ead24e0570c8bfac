//! What generation continues, and where it stops.

use serde_json::json;
use tabtune::text::*;

use super::chat::{CHATML, with_template};
use super::{EOS, TOKENIZER, document, ids};

const IM_END: u32 = 2;

#[test]
fn a_message_is_written_as_the_template_writes_it() {
    let chat = with_template(CHATML);
    let written = |text: &str| chat.encode(text, false).unwrap();
    let opened = "<|im_start|>assistant\n";
    for (message, system, expected) in [
        ("Hi", None, "<|im_start|>user\nHi<|im_end|>\n"),
        ("", None, "<|im_start|>user\n<|im_end|>\n"),
        ("Hi", Some("Be brief."), "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"),
        ("two\nlines", None, "<|im_start|>user\ntwo\nlines<|im_end|>\n"),
        ("Hi", Some(""), "<|im_start|>system\n<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"),
    ] {
        let conversation = Conversation::of_user(message, system);
        let found = Prompt::Conversation(&conversation).ids(&chat).unwrap();
        assert_eq!(found, written(&format!("{expected}{opened}")), "{message:?} {system:?}");
    }
    assert_eq!(Prompt::from("Hi").ids(&chat).unwrap(), ids("Hi"));
    let alone = Conversation::of_user("Hi", None);
    let error = Prompt::Conversation(&alone).ids(&TOKENIZER).unwrap_err();
    assert!(error.code() == "no_chat_template" && error.to_string().starts_with("the prompt: "), "{error}");
    let strict = with_template("{{ raise_exception('No user.') }}");
    assert_eq!(Prompt::Conversation(&alone).ids(&strict).unwrap_err().code(), "conversation");
}

#[test]
fn a_file_of_messages_is_one_conversation() {
    let messages = json!([{ "role": "system", "content": "Be brief." }, { "role": "user", "content": "Hi" }]);
    let expected = Conversation::of_user("Hi", Some("Be brief."));
    for content in [
        messages.to_string(),
        serde_json::to_string_pretty(&messages).unwrap(),
        json!({ "messages": messages }).to_string(),
        serde_json::to_string_pretty(&json!({ "messages": messages, "id": 3 })).unwrap(),
        json!([{ "messages": messages }]).to_string(),
        json!({ "conversations": [{ "from": "human", "value": "Hi" }], "system": "Be brief." }).to_string(),
    ] {
        let found = Conversation::of_file(&document("chat.json", &content)).unwrap();
        assert_eq!(found.messages, expected.messages, "{content}");
    }
    for (content, expected) in [
        ("[]", "found no record"),
        ("{\"messages\": []}", "`messages` is empty"),
        ("[{\"role\": \"user\"}, 3]", "message 2 of `messages` is not an object with a `role`"),
        ("[\"Hi\"]", "not a JSON object"),
        ("{\"text\": \"Hi\"}", "it is no conversation"),
        ("{\"messages\": []}\n{\"messages\": []}", "found several records"),
        ("", "found no record"),
        ("Hi", "not a JSON object"),
    ] {
        let error = Conversation::of_file(&document("chat.json", content)).unwrap_err();
        assert!(error.to_string().contains(expected), "{content}: {error}");
    }
}

#[test]
fn the_token_that_ends_the_assistants_turn_ends_generation() {
    let turn = |end: &str| {
        format!(
            "{{% for m in messages %}}{{{{ m.role + ': ' + m.content + '{end}' }}}}{{% endfor %}}\
             {{% if add_generation_prompt %}}assistant: {{% endif %}}"
        )
    };
    for (end, stops) in [
        ("<|im_end|>", true),
        ("<|im_end|>\\n", true),
        (" <|im_end|>\\n", true),
        ("\\n<|im_end|>", true),
        ("", false),
        ("\\n\\n", false),
        (" END <|im_end|>", false),
        ("<|endoftext|><|im_end|>", false),
    ] {
        let tokenizer = with_template(&turn(end));
        assert_eq!((tokenizer.is_stop(IM_END), tokenizer.is_stop(EOS)), (stops, true), "{end}");
        assert_eq!(tokenizer.eos(), Some(EOS), "the token that is written after a text stays the model's: {end}");
    }
    assert!(!TOKENIZER.is_stop(IM_END));
    assert!(!with_template("{{ raise_exception('No.') }}").is_stop(IM_END));

    let line = json!({ "messages": [{ "role": "user", "content": "a" }, { "role": "assistant", "content": "b" }] });
    for (end, warns) in
        [("<|im_end|>", false), ("<|endoftext|>", false), ("\\n", true), ("", true), (" and so on", true)]
    {
        let found = rows(&with_template(&turn(end)), &[document("a.jsonl", &line.to_string())], 32).unwrap();
        let warned = found.all_warnings(32).iter().any(|warning| warning.code == "no_end_of_turn");
        assert_eq!(warned, warns, "{end}");
    }
}
