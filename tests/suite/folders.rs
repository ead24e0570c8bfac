//! Folders in a form that is known and not read: each is refused with what it is and what to do.

use std::fs;
use std::path::Path;

use crate::bad_input::{FIXTURES, Folder, refused, succeeded, tabtune};

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const TOKENIZER: &str = "tokenizer.json";
const ADAPTER: &str = "adapter_config.json";
const TENSORS: &str = "adapter_model.safetensors";

/// Makes a folder of empty files beside copies of those of `from` that are named.
fn made(folder: &Folder, name: &str, from: &str, copied: &[&str], empty: &[&str]) -> String {
    fs::create_dir_all(folder.path(name)).expect("a folder");
    for file in copied {
        folder.file(&format!("{name}/{file}"), fs::read(format!("{from}/{file}")).expect("a file"));
    }
    for file in empty {
        folder.file(&format!("{name}/{file}"), "");
    }
    folder.path(name)
}

#[test]
fn a_folder_that_is_no_model_is_called_what_it_is() {
    let folder = Folder::new("model-folders");
    let model = folder.model("whole");
    let table: [(&[&str], &[&str], &[&str]); 16] = [
        (&[], &[], &["is empty"]),
        (&[CONFIG, TOKENIZER], &["pytorch_model.bin"], &["pytorch_model.bin", "pickle", "save_pretrained"]),
        (&[CONFIG, TOKENIZER], &["consolidated.00.pth"], &["consolidated.00.pth", "pickle"]),
        (&[CONFIG, TOKENIZER], &["last.ckpt", "optimizer.pt"], &["last.ckpt", "pickle"]),
        (&[CONFIG, TOKENIZER], &["training_args.bin", "optimizer.pt"], &["has no model.safetensors: give the whole"]),
        (&[CONFIG, TOKENIZER], &["tiny-Q4_K_M.GGUF"], &["tiny-Q4_K_M.GGUF", "llama.cpp"]),
        (&[], &["tiny.gguf"], &["tiny.gguf", "llama.cpp"]),
        (
            &[CONFIG, TOKENIZER],
            &["model-00001-of-00002.safetensors"],
            &["model-00001-of-00002", "no model.safetensors.index.json"],
        ),
        (&[CONFIG, TOKENIZER], &["weights.safetensors"], &["weights.safetensors", "rename"]),
        (&[CONFIG, TOKENIZER], &["tf_model.h5"], &["tf_model.h5", "TensorFlow"]),
        (&[CONFIG, WEIGHTS], &["tokenizer.model"], &["tokenizer.model", "AutoTokenizer.from_pretrained"]),
        (&[CONFIG, WEIGHTS], &["vocab.json", "merges.txt"], &["vocab.json", "AutoTokenizer.from_pretrained"]),
        (&[CONFIG, WEIGHTS], &[], &["has no tokenizer.json"]),
        (&[], &[ADAPTER, TENSORS], &["holds an adapter", "--adapter"]),
        (&[CONFIG, TOKENIZER], &[ADAPTER, TENSORS], &["holds an adapter", "--adapter"]),
        (&[], &["snapshots/1a2b/config.json", "x"], &["has no config.json"]),
    ];
    for (at, (copied, empty, words)) in table.iter().enumerate() {
        let path = made(&folder, &at.to_string(), &model, copied, empty);
        refused(&["info", "--model", &path], "folder", words);
    }
    let above = made(&folder, "above", &model, &[], &["checkpoint-500/config.json"]);
    refused(&["info", "--model", &above], "folder", &["`checkpoint-500`", "give that folder"]);
    for (name, words) in [
        (WEIGHTS, ["is a file", "give the folder that it is in"]),
        ("tiny.gguf", ["GGUF", "llama.cpp"]),
        ("pytorch_model.bin", ["pickle", "save_pretrained"]),
    ] {
        let file = folder.file(&format!("files/{name}"), "");
        match name {
            "tiny.gguf" => refused(&["info", "--model", &file], "gguf", &["it ends before"]),
            _ => refused(&["info", "--model", &file], "folder", &words),
        }
        refused(&["info", "--adapter", &file], "folder", &words);
    }
}

#[test]
fn a_folder_that_is_no_adapter_is_called_what_it_is() {
    let folder = Folder::new("adapter-folders");
    let (model, whole) = (folder.model("model"), format!("{FIXTURES}/cases/llama-all-linear"));
    let table: [(&[&str], &[&str], &[&str]); 9] = [
        (&[], &[], &["is empty"]),
        (&[ADAPTER], &["adapter_model.bin"], &["adapter_model.bin", "pickle", "safe_serialization=True"]),
        (&[ADAPTER], &["lora_A.bin"], &["lora_A.bin", "pickle"]),
        (&[ADAPTER], &["adapters.npz"], &["adapters.npz", "MLX"]),
        (&[ADAPTER], &[], &["has no adapter_model.safetensors"]),
        (&[TENSORS], &[], &["has no adapter_config.json beside `adapter_model.safetensors`"]),
        (&[], &["adapters.safetensors"], &["has no adapter_config.json beside `adapters.safetensors`"]),
        (&[], &["lora.gguf"], &["lora.gguf", "llama.cpp"]),
        (&[], &["checkpoint-20/adapter_config.json"], &["`checkpoint-20`", "give that folder"]),
    ];
    for (at, (copied, empty, words)) in table.iter().enumerate() {
        let path = made(&folder, &at.to_string(), &whole, copied, empty);
        refused(&["info", "--model", &model, "--adapter", &path], "folder", words);
    }
    refused(&["info", "--model", &model, "--adapter", &model], "folder", &["holds a model", "--model"]);
    refused(&["merge", "--model", &whole, "--adapter", &whole, "--out", &folder.path("out")], "folder", &["--adapter"]);
    refused(&["merge", "--model", &model, "--adapter", &model, "--out", &folder.path("out")], "folder", &["--model"]);
    let data = folder.file("text.txt", "The sea.");
    refused(&["eval", "--data", &model, "--model", &model], "folder", &["is a folder"]);
    refused(&["train", "--data", &data, "--out", &folder.path("out"), "--resume", &data], "run_state", &["is a file"]);
    assert!(!Path::new(&folder.path("out")).exists());
}

#[test]
fn the_config_is_judged_before_what_lies_beside_it() {
    let folder = Folder::new("config-first");
    let model = folder.model("model");
    let config = fs::read_to_string(format!("{model}/config.json")).expect("a config");
    let mamba = config.replace("\"llama\"", "\"mamba\"");
    let quantised = config.replacen('{', "{\"quantization_config\": {\"quant_method\": \"awq\"},", 1);
    let broken = config.replace("\"hidden_size\": 32", "\"hidden_size\": Infinity");
    for (at, (config, code, word)) in
        [(&mamba, "unsupported_model", "mamba"), (&quantised, "quantised", "awq"), (&broken, "config", "Infinity")]
            .into_iter()
            .enumerate()
    {
        for (beside, bytes) in
            [("x", ""), (WEIGHTS, ""), (WEIGHTS, "version https://git-lfs"), ("pytorch_model.bin", "")]
        {
            let name = format!("{at}-{beside}-{}", bytes.len());
            folder.file(&format!("{name}/config.json"), config);
            folder.file(&format!("{name}/{beside}"), bytes);
            refused(&["info", "--model", &folder.path(&name)], code, &[word]);
        }
    }
}

#[test]
fn what_there_is_to_say_about_a_model_or_an_adapter_is_said_everywhere() {
    use tabtune::files::safetensors::{Header, write};
    let folder = Folder::new("said");
    let (model, data) = (folder.model("model"), folder.file("text.txt", "The sea is wide. ".repeat(40)));
    let config = fs::read_to_string(format!("{model}/config.json")).expect("a config");
    folder.file("model/config.json", config.replace("\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true"));
    let adapter = folder.path("adapter");
    let bytes = fs::read(format!("{FIXTURES}/cases/llama-all-linear/{TENSORS}")).expect("an adapter");
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
    let header = Header::parse(&bytes[8..8 + length], bytes.len() as u64, "adapter").expect("a header");
    let read = |entry: &tabtune::files::safetensors::Entry| {
        let mut numbers = Vec::new();
        let bytes = &bytes[entry.begin as usize..entry.end as usize];
        tabtune::files::safetensors::to_f32(entry.dtype, bytes, &mut numbers);
        (entry.name.replacen("base_model.model.", "", 1), entry.shape.clone(), numbers)
    };
    let tensors: Vec<_> = header.entries.iter().map(read).collect();
    let tensors: Vec<_> = tensors.iter().map(|(name, shape, x)| (name.clone(), shape.clone(), x.as_slice())).collect();
    folder.file(&format!("adapter/{TENSORS}"), write(&tensors, &[]));
    let config = fs::read(format!("{FIXTURES}/cases/llama-all-linear/{ADAPTER}")).expect("a config");
    folder.file(&format!("adapter/{ADAPTER}"), config);

    let both = ["--model", &model, "--adapter", &adapter];
    let (out, log) = (folder.path("out"), folder.path("run.jsonl"));
    let (merged, short) = (folder.path("merged"), ["--seq-len", "16"]);
    let commands: [(Vec<&str>, &[&str]); 5] = [
        ([&["info"], &both[..]].concat(), &["head_differs", "adapter_names"]),
        ([&["eval", "--data", &data], &both[..], &short].concat(), &["head_differs", "adapter_names"]),
        ([&["generate", "--prompt", "The"], &both[..]].concat(), &["head_differs", "adapter_names"]),
        ([&["merge", "--out", &merged], &both[..]].concat(), &["adapter_names"]),
        (
            [
                &["train", "--data", &data, "--out", &out, "--model", &model, "--init", &adapter, "--log", &log],
                &["--steps", "1", "--batch", "1"][..],
                &short,
            ]
            .concat(),
            &["head_differs", "adapter_names"],
        ),
    ];
    for (args, codes) in commands {
        let (status, _, err) = tabtune(&args);
        assert_eq!(status, 0, "{args:?}: {err}");
        for code in codes {
            assert_eq!(err.matches(&format!("warning[{code}]: ")).count(), 1, "{args:?}: {err}");
        }
    }
    let log = fs::read_to_string(&log).expect("a log");
    for code in ["head_differs", "adapter_names"] {
        assert_eq!(log.matches(&format!("\"code\":\"{code}\"")).count(), 1, "{log}");
    }
    assert!(succeeded(&["info", "--adapter", &out, "--model", &model]).contains("LoRA"));
}
