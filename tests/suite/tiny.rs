//! A small base with a tokenizer that fits it, a short text, and whole runs on them.

use std::rc::Rc;

use tabtune::adapter::AdapterFiles;
use tabtune::device::{Device, DeviceOptions, Shape};
use tabtune::files::Source;
use tabtune::model::Storage;
use tabtune::run::{self, Base, BaseFiles, Clock, Control, Event, Hooks, Outcome, Settings, Start};
use tabtune::text::Document;
use tabtune::text::dataset::{Dataset, PAGE_LIMIT};

use crate::laws::{CONFIG, MODEL};

/// A tokenizer whose 96 ids are one character each, for the small model.
pub fn tiny_tokenizer() -> Vec<u8> {
    let characters =
        ('!'..='~').chain(['\u{120}', '\u{10a}']).enumerate().map(|(id, c)| (c.to_string(), serde_json::json!(id)));
    let byte_level =
        serde_json::json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    let model =
        serde_json::json!({ "type": "BPE", "vocab": characters.collect::<serde_json::Map<_, _>>(), "merges": [] });
    serde_json::json!({ "pre_tokenizer": byte_level, "decoder": byte_level, "model": model }).to_string().into_bytes()
}

pub async fn tiny_base(device: &Rc<Device>) -> Base {
    // Without an end-of-text token, nothing ends a generation early.
    let config = CONFIG.replace("\"eos_token_id\": 2,", "");
    base_of(device, config.as_bytes(), MODEL, Storage::default()).await
}

/// A model of the fixtures with the tokenizer of 96 characters.
pub async fn base_of(device: &Rc<Device>, config: &[u8], model: &[u8], storage: Storage) -> Base {
    let tokenizer = tiny_tokenizer();
    let files = BaseFiles {
        tokenizer: &tokenizer,
        tokenizer_config: None,
        generation_config: None,
        chat_template: None,
        config,
    };
    Base::load(device, "tiny", &files, &Source::memory("model.safetensors", model.to_vec()), storage, &mut |_, _| {})
        .await
        .expect("a base")
}

/// The base on a device that is taken for software, where one step is under way at a time, and on one that is taken for
/// a graphics card, where there are two.
pub async fn tiny_bases() -> [Base; 2] {
    let base = async |software| {
        let options = DeviceOptions { shape: Some(Shape::Direct), ..DeviceOptions::default() };
        let mut device = Device::new(options).await.expect("a device");
        Rc::get_mut(&mut device).expect("a device that nobody else has yet").software = software;
        tiny_base(&device).await
    };
    [base(true).await, base(false).await]
}

pub fn tiny_settings(base: &Base) -> Settings {
    Settings {
        seq_len: 16,
        batch: 2,
        accumulate: 2,
        rank: 4,
        steps: 4,
        eval_every: 2,
        sample_every: 4,
        prompt: "The tide".to_string(),
        max_tokens: 6,
        seed: 7,
        autotune: false,
        ..Settings::defaults(&base.model.config, true)
    }
}

/// Rows of a short text.
pub fn tiny_data(base: &Base, settings: &Settings) -> Dataset {
    let text = (0..40).map(|i| format!("{} boats left on tide {i}; ", i * i % 17)).collect::<String>();
    let documents = [Document::new("text.txt", text.into_bytes())];
    base.dataset(&documents, None, settings, PAGE_LIMIT).expect("rows")
}

/// A whole run on the tiny base: its events except for the phases, and how it ends.
pub async fn whole_run(base: &Base, settings: &Settings, init: Option<&AdapterFiles>) -> (Vec<Event>, Outcome) {
    let mut events = Vec::new();
    let hooks = Hooks { emit: &mut |event| events.push(event), keep: &mut |_| {}, save: None, helpers: &[] };
    let start = init.map_or(Start::Fresh, Start::Adapter);
    let clock: Clock = Rc::new(|| 0.0);
    let data = tiny_data(base, settings);
    let outcome = run::train(base, &data, settings, start, &Control::default(), &clock, hooks).await.expect("a run");
    events.retain(|event| !matches!(event, Event::Phase { .. }));
    (events, outcome)
}
