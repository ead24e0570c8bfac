//! Checkpoints in several files: the same model as in one file, and every way in which the files may not fit the index.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use sha2::Digest;
use tabtune::adapter::AdapterFiles;
use tabtune::device::Shape;
use tabtune::files::Source;
use tabtune::model::{Storage, Transformer};
use tabtune::run::{MergeOptions, ModelFiles, ModelFolder};

use crate::bad_input::{FIXTURES, Folder, refused, succeeded};
use crate::check::device;
use crate::laws::{MODEL, ids, logits, same_bits};

const INDEX: &str = "model.safetensors.index.json";
const NORM: &str = "model.norm.weight";

/// A tensor of a safetensors file: what its header says of it, and its bytes.
#[derive(Clone)]
struct Tensor {
    name: String,
    facts: Value,
    bytes: Vec<u8>,
}

fn tensors(file: &[u8]) -> Vec<Tensor> {
    let begin = 8 + u64::from_le_bytes(file[..8].try_into().expect("8 bytes")) as usize;
    let header: BTreeMap<String, Value> = serde_json::from_slice(&file[8..begin]).expect("a header");
    let tensor = |(name, facts): (String, Value)| {
        let at = |i: usize| begin + facts["data_offsets"][i].as_u64().expect("an offset") as usize;
        let bytes = file[at(0)..at(1)].to_vec();
        Tensor { name, facts, bytes }
    };
    header.into_iter().filter(|(name, _)| name != "__metadata__").map(tensor).collect()
}

fn file(tensors: &[Tensor]) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for Tensor { name, facts, bytes } in tensors {
        let mut facts = facts.clone();
        facts["data_offsets"] = json!([data.len(), data.len() + bytes.len()]);
        header.insert(name.clone(), facts);
        data.extend(bytes);
    }
    let header = Value::from(header).to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}

fn shard(number: usize) -> String {
    format!("model-0000{number}-of-00003.safetensors")
}

/// The small model cut into three files, before they are written.
struct Cut {
    shards: BTreeMap<String, Vec<Tensor>>,
    index: Value,
}

impl Cut {
    /// The files hold the tensors in turn, so that neighbours in the model are in different files.
    fn new() -> Cut {
        let mut cut = Cut { shards: BTreeMap::new(), index: json!({ "metadata": {}, "weight_map": {} }) };
        let mut bytes = 0;
        for (at, tensor) in tensors(MODEL).into_iter().enumerate() {
            let name = shard(at % 3 + 1);
            bytes += tensor.bytes.len();
            cut.index["weight_map"][&tensor.name] = json!(name);
            cut.shards.entry(name).or_default().push(tensor);
        }
        cut.index["metadata"]["total_size"] = json!(bytes);
        cut
    }

    fn take(&mut self, tensor: &str) -> Tensor {
        let place = self.index["weight_map"][tensor].as_str().expect("a place").to_string();
        let tensors = self.shards.get_mut(&place).expect("a shard");
        let at = tensors.iter().position(|it| it.name == tensor).expect("a tensor");
        tensors.remove(at)
    }

    fn write(&self, folder: &Folder, name: &str) -> String {
        let path = folder.model(name);
        fs::remove_file(format!("{path}/model.safetensors")).expect("a file");
        for (shard, tensors) in &self.shards {
            folder.file(&format!("{name}/{shard}"), file(tensors));
        }
        folder.file(&format!("{name}/{INDEX}"), self.index.to_string());
        path
    }
}

async fn load(path: &str) -> (Source, Transformer) {
    let folder = ModelFolder::open(Path::new(path)).expect("a model");
    let source = folder.weights().expect("weights");
    let device = device(Shape::Cpu).await;
    let model = Transformer::load(&device, folder.config.clone(), &source, Storage::default(), &mut |_, _| {}).await;
    (source, model.expect("a model"))
}

#[test]
fn a_checkpoint_in_several_files_is_the_model_in_one() {
    pollster::block_on(async {
        let folder = Folder::new("shards");
        let path = Cut::new().write(&folder, "cut");
        let (_, whole) = load(&folder.model("whole")).await;
        let (source, cut) = load(&path).await;
        assert_eq!(cut.warnings, []);
        let sequence = ids(24, 96, 3);
        same_bits("cut", &logits(&cut, &sequence, 2, 1.0).await, &logits(&whole, &sequence, 2, 1.0).await);

        let files: Vec<u8> = (1..=3).flat_map(|i| fs::read(format!("{path}/{}", shard(i))).expect("a shard")).collect();
        let hash: String = sha2::Sha256::digest(&files).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(source.sha256().await.expect("a hash"), hash, "of the files, one behind the other");
        let (from, length) = (source.bytes / 4, source.bytes / 2);
        let expected = &files[from as usize..(from + length) as usize];
        assert_eq!(source.read(from, length).await.expect("bytes"), expected, "a range across files");
    });
}

#[test]
fn merging_writes_the_files_that_the_base_has() {
    let folder = Folder::new("shards-merge");
    let (cut, whole) = (Cut::new().write(&folder, "cut"), folder.model("whole"));
    let adapter = format!("{FIXTURES}/cases/llama-all-linear");
    let merge = |model: &str, out: &str| {
        let out = folder.path(out);
        succeeded(&["merge", "--model", model, "--adapter", &adapter, "--out", &out]);
        out
    };
    let (cut_out, whole_out) = (merge(&cut, "cut-out"), merge(&whole, "whole-out"));
    let mut names: Vec<_> =
        fs::read_dir(&cut_out).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect();
    names.sort();
    assert_eq!(names, ["config.json", &shard(1), &shard(2), &shard(3), INDEX, "tokenizer.json"]);

    let merged = tensors(&fs::read(format!("{whole_out}/model.safetensors")).expect("weights"));
    let mut changed = 0;
    for number in 1..=3 {
        let read = |folder: &str| tensors(&fs::read(format!("{folder}/{}", shard(number))).expect("a shard"));
        for (before, after) in read(&cut).into_iter().zip(read(&cut_out)) {
            let expected = merged.iter().find(|it| it.name == after.name).expect("a tensor");
            assert!(before.facts == after.facts && after.bytes == expected.bytes, "{}", after.name);
            changed += usize::from(before.bytes != after.bytes);
        }
    }
    assert_eq!(changed, 14, "seven linears of two layers");

    // Each file can be written alone, whatever came before it.
    pollster::block_on(async {
        let files = ModelFiles::open(Path::new(&cut)).await.expect("a model");
        let adapter = AdapterFiles::open(Path::new(&adapter)).expect("an adapter");
        let options = MergeOptions { strength: 1.0, format: "safetensors".to_string(), kind: None };
        let merged = files.merged("cut", &adapter, &options).await.expect("a merged model");
        let names: Vec<&str> = merged.files().map(|(name, _)| name).collect();
        assert_eq!(names, ["config.json", "tokenizer.json", &shard(1), &shard(2), &shard(3), INDEX]);
        for name in names.into_iter().rev() {
            let mut bytes = Vec::new();
            let mut write = |piece: &[u8]| {
                bytes.extend_from_slice(piece);
                Ok(())
            };
            merged.write(name, &mut write).await.expect("a file");
            assert!(bytes == fs::read(format!("{cut_out}/{name}")).expect("a file"), "{name}");
        }
    });
    assert!(succeeded(&["info", "--model", &cut_out]).contains("parameters"));
}

#[test]
fn every_fault_of_the_files_is_named() {
    type Change = fn(&mut Cut);
    let folder = Folder::new("shards-faults");
    let cases: [(&str, Change, &[&str]); 9] = [
        ("lacking", |cut| drop(cut.shards.remove(&shard(2))), &["of its 3 files, 1 cannot be found", "model-00002"]),
        ("missing", |cut| drop(cut.take(NORM)), &["tensor `model.norm.weight` is missing from `model-0000"]),
        (
            "twice",
            |cut| {
                let tensor = cut.shards[&shard(1)][0].clone();
                cut.shards.get_mut(&shard(2)).expect("a shard").push(tensor);
            },
            &["`model-00002-of-00003.safetensors` holds tensor `lm_head.weight`", "in `model-00001", "alone"],
        ),
        (
            "elsewhere",
            |cut| cut.index["weight_map"]["lm_head.weight"] = json!(shard(3)),
            &["`model-00001-of-00003.safetensors` holds tensor `lm_head.weight`", "in `model-00003", "alone"],
        ),
        (
            "unnamed",
            |cut| drop(cut.index["weight_map"].as_object_mut().expect("a map").remove(NORM)),
            &["holds tensor `model.norm.weight`, which the index does not name"],
        ),
        ("empty", |cut| cut.index["weight_map"] = json!({}), &["it names no tensors"]),
        ("no-map", |cut| cut.index = json!({ "metadata": {} }), &["missing field `weight_map`"]),
        ("numbers", |cut| cut.index["weight_map"][NORM] = json!(1), &["invalid type: integer `1`"]),
        (
            "list",
            |cut| cut.index = json!([{}, cut.index["weight_map"]]),
            &["invalid type: sequence, expected an object"],
        ),
    ];
    for (name, change, words) in cases {
        let mut cut = Cut::new();
        change(&mut cut);
        refused(&["info", "--model", &cut.write(&folder, name)], "shards", &[&[INDEX], words].concat());
    }
    for place in [
        "../whole/model.safetensors",
        "sub/model.safetensors",
        "sub\\model.safetensors",
        "C:model.safetensors",
        "/etc/passwd",
        "model.bin",
        "..",
        ".safetensors",
        "",
        "a\nb.safetensors",
    ] {
        let mut cut = Cut::new();
        cut.index["weight_map"][NORM] = json!(place);
        refused(
            &["info", "--model", &cut.write(&folder, "place")],
            "shards",
            &["is not the name of a safetensors file"],
        );
    }
}

#[test]
fn faults_within_an_index_or_a_file_are_named() {
    let folder = Folder::new("shards-inside");
    let path = Cut::new().write(&folder, "cut");
    for (index, word) in [
        (format!(r#"{{"weight_map": {{"a": "{0}", "b": "{0}", "a": "{0}"}}}}"#, shard(1)), "tensor `a` twice"),
        (r#"{"weight_map": {}, "weight_map": {}}"#.to_string(), "duplicate field"),
        ("version https://git-lfs.github.com/spec/v1".to_string(), "expected value at line 1"),
        (" ".repeat((16 << 20) + 1), "it is larger than 16777216 bytes"),
    ] {
        folder.file(&format!("cut/{INDEX}"), index);
        refused(&["info", "--model", &path], "shards", &[word]);
    }
    let map: BTreeMap<String, String> = (0..20_001).map(|i| (i.to_string(), shard(1))).collect();
    folder.file(&format!("cut/{INDEX}"), json!({ "weight_map": map }).to_string());
    refused(&["info", "--model", &path], "shards", &["more than 20000 tensors"]);

    folder.file(&format!("cut/{INDEX}"), Cut::new().index.to_string());
    let whole = fs::read(format!("{path}/{}", shard(2))).expect("a shard");
    folder.file(&format!("cut/{}", shard(2)), &whole[..whole.len() - 1]);
    refused(&["info", "--model", &path], "safetensors", &["model-00002-of-00003", "end at byte"]);
    folder.file(&format!("cut/{}", shard(2)), "version https://git-lfs.github.com/spec/v1");
    refused(&["info", "--model", &path], "not_safetensors", &["model-00002-of-00003", "Git LFS"]);
}

#[test]
fn a_total_size_that_is_wrong_is_said_and_one_that_is_absent_is_not() {
    pollster::block_on(async {
        let folder = Folder::new("shards-size");
        for (name, metadata, words) in [
            ("wrong", json!({ "total_size": 7 }), Some("gives 7 as the bytes of all tensors")),
            ("word", json!({ "total_size": "7" }), Some("gives \"7\" as the bytes of all tensors")),
            ("absent", json!({ "total_parameters": 7 }), None),
            ("null", Value::Null, None),
        ] {
            let mut cut = Cut::new();
            cut.index["metadata"] = metadata;
            let (_, model) = load(&cut.write(&folder, name)).await;
            let messages: Vec<&str> = model.warnings.iter().map(|warning| warning.message.as_str()).collect();
            assert_eq!(messages.len(), usize::from(words.is_some()), "{name}: {messages:?}");
            assert!(words.is_none_or(|words| messages[0].contains(words)), "{name}: {messages:?}");
        }
    });
}
