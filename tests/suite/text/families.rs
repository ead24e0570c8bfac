//! Small tokenizers of every family compared with Python's `tokenizers`: ids, texts, and pieces of long texts. What is
//! expected is in tests/fixtures/text/tokenizers.json, written by tests/fixtures/make_tokenizers.py.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;
use tabtune::text::{StreamDecoder, Tokenizer};

use super::{oracle, tokenizer_of};

#[derive(Deserialize)]
struct Fixture {
    lines: Vec<String>,
    models: BTreeMap<String, Value>,
    families: BTreeMap<String, Family>,
}

#[derive(Deserialize)]
struct Family {
    tokenizer: Value,
    ids: Vec<Vec<u32>>,
    text: Vec<String>,
    surrounded: Vec<u32>,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let file = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/text/tokenizers.json")).unwrap();
    let mut fixture: Fixture = serde_json::from_slice(&file).unwrap();
    for family in fixture.families.values_mut() {
        let model = &mut family.tokenizer["model"];
        let options = model.take();
        *model = fixture.models[options["name"].as_str().unwrap()].clone();
        model.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    }
    fixture
});

/// Each tokenizer with its name, beside the crate's own without its post-processor, which would trim offsets.
pub fn all() -> impl Iterator<Item = (&'static str, Tokenizer, tokenizers::Tokenizer)> {
    FIXTURE.families.iter().map(|(name, family)| {
        let tokenizer = tokenizer_of(&family.tokenizer).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut oracle = oracle(&family.tokenizer);
        oracle.with_post_processor(None::<tokenizers::PostProcessorWrapper>);
        (name.as_str(), tokenizer, oracle)
    })
}

#[test]
fn ids_and_texts_equal_those_of_python() {
    assert_eq!(FIXTURE.families.len(), 21);
    for (name, family) in &FIXTURE.families {
        let tokenizer = tokenizer_of(&family.tokenizer).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(family.ids.len(), FIXTURE.lines.len());
        for ((line, ids), text) in FIXTURE.lines.iter().zip(&family.ids).zip(&family.text) {
            assert_eq!(tokenizer.encode(line, false).unwrap(), *ids, "{name}: {line:?}");
            assert_eq!(tokenizer.encode_in_pieces(line, false, 1).unwrap(), *ids, "{name} in pieces: {line:?}");
            let (placed, places) = tokenizer.encode_with_offsets(line).unwrap();
            assert_eq!((&placed, places.len()), (ids, ids.len()), "{name} with offsets: {line:?}");
            assert!(places.iter().all(|place| line.get(place.clone()).is_some()), "{name}: {places:?} in {line:?}");
            assert_eq!(tokenizer.decode(ids).unwrap(), *text, "{name}: {line:?}");
            let mut stream = StreamDecoder::new(&tokenizer);
            let streamed: String = ids.iter().map(|id| stream.push(*id).unwrap()).collect();
            assert_eq!(streamed + &stream.finish().unwrap(), *text, "{name}, streamed: {line:?}");
        }
        let last = FIXTURE.lines.last().unwrap();
        assert_eq!(tokenizer.encode(last, true).unwrap(), family.surrounded, "{name}, with special tokens");
    }
}
