//! Adapters in the forms of MLX and llama.cpp: written and read back, in the layout of each, and what is refused.
//! tests/parity/check_exports.py has the programs themselves read them.

use std::fs;

use serde_json::{Value, json};
use tabtune::adapter::{AdapterFiles, Form};
use tabtune::device::Shape;
use tabtune::files::Gguf;
use tabtune::files::gguf_writer::{Field, Written, beginning};
use tabtune::files::safetensors::{Dtype, to_f32};
use tabtune::model::Config;

use crate::adapters::{tensors, tiny_config};
use crate::bad_input::{FIXTURES, Folder, refused, succeeded, tabtune};
use crate::check::{device, origin};
use crate::golden::CASES;
use crate::laws::case;

/// What a form's files are to whoever reads them.
fn read(form: Form, files: Vec<(&str, Vec<u8>)>) -> AdapterFiles {
    let mut read = AdapterFiles { config: String::new(), weights: Vec::new() };
    for (name, bytes) in files {
        match name {
            "adapter_config.json" => read.config = String::from_utf8(bytes).expect("UTF-8"),
            name => {
                assert_eq!(name, form.weights());
                read.weights = bytes;
            }
        }
    }
    read
}

fn gguf(name: &str) -> Vec<u8> {
    let config = Config::parse(case(name).config).expect("a config");
    let files = case(name).files().export(Form::Gguf, &config, "base").expect("a GGUF file");
    files.into_iter().next().expect("one file").1
}

crate::device_tests! {
    async fn every_form_gives_back_the_same_bits() {
        let device = device(Shape::Direct).await;
        for case in CASES {
            let config = Config::parse(case.config).expect("a config");
            let (adapter, flat) = case.files().load(&device, &config).expect("an adapter");
            let peft = AdapterFiles::new(&adapter, &flat, &origin("some/base"));
            for form in [Form::Peft, Form::Mlx, Form::Gguf] {
                let what = format!("{}, {form:?}", case.name);
                let files = read(form, case.files().export(form, &config, "some/base").expect(&what));
                let again = files.in_peft_form(&config, "another").expect(&what);
                if form != Form::Peft {
                    assert_eq!(tensors(&again), tensors(&peft), "{what}");
                }
                assert!(files.warnings(&config).expect(&what).is_empty(), "{what}");
                let (is, was) = (files.spec(&config).expect(&what), peft.spec(&config).expect(&what));
                assert_eq!(is.target_names(&config), was.target_names(&config), "{what}");
                // A GGUF file holds its alpha in f32.
                assert!((is.alpha() - was.alpha()).abs() <= 1e-7 * was.alpha(), "{what}: {}", is.alpha());
            }
        }
    }

    async fn what_an_adapter_notes_is_in_every_form() {
        let device = device(Shape::Direct).await;
        let config = tiny_config();
        let (adapter, flat) = case("llama-default").files().load(&device, &config).expect("an adapter");
        let noted = tabtune::adapter::Origin { is_chat: true, ..origin("some/base") };
        let peft = AdapterFiles::new(&adapter, &flat, &noted);
        assert_eq!(peft.origin().expect("an origin"), noted);
        for form in [Form::Mlx, Form::Gguf] {
            let files = read(form, peft.export(form, &config, "unused").expect("files"));
            assert_eq!(files.origin().expect("an origin"), noted, "{form:?}");
            let again = files.in_peft_form(&config, "unused").expect("PEFT's files");
            assert_eq!(again.origin().expect("an origin"), noted, "{form:?}");
        }
    }
}

#[test]
fn a_gguf_adapter_is_laid_out_as_llama_cpp_expects() {
    let (file, config) = (gguf("llama-all-linear"), tiny_config());
    let found = Gguf::of(&file, file.len() as u64, "file").expect("a GGUF file");
    for (key, value) in
        [("general.architecture", json!("llama")), ("general.type", json!("adapter")), ("adapter.type", json!("lora"))]
    {
        assert_eq!(found.metadata[key], value, "{key}");
    }
    let peft = case("llama-all-linear").files();
    let (own, alpha) = (tensors(&peft), serde_json::from_str::<Value>(&peft.config).expect("JSON"));
    assert_eq!(found.metadata["adapter.lora.alpha"].as_f64(), alpha["lora_alpha"].as_f64());
    let values = |name: &str| {
        let entry = found.tensors.iter().find(|entry| entry.name == name).expect(name);
        let mut values = Vec::new();
        to_f32(entry.dtype, &file[entry.begin as usize..entry.end as usize], &mut values);
        (entry.shape.clone(), values)
    };
    let module = "base_model.model.model.layers.1.";
    assert_eq!(values("blk.1.ffn_down.weight.lora_a"), own[&format!("{module}mlp.down_proj.lora_A.weight")]);
    assert_eq!(values("blk.1.ffn_down.weight.lora_b"), own[&format!("{module}mlp.down_proj.lora_B.weight")]);
    assert_eq!(values("blk.1.attn_v.weight.lora_b"), own[&format!("{module}self_attn.v_proj.lora_B.weight")]);
    // `reshape(heads, 2, size / 2, rank).swapaxes(1, 2)` of the converter.
    for (ours, theirs, heads) in [("q_proj", "attn_q", config.heads.query), ("k_proj", "attn_k", config.heads.key)] {
        let (shape, b) = &own[&format!("{module}self_attn.{ours}.lora_B.weight")];
        let (half, rank) = (config.heads.size / 2, shape[1]);
        let order = (0..heads).flat_map(|h| (0..half).flat_map(move |i| [0, 1].map(|j| (h * 2 + j) * half + i)));
        let expected: Vec<f32> = order.flat_map(|row| b[row * rank..][..rank].to_vec()).collect();
        assert_eq!(values(&format!("blk.1.{theirs}.weight.lora_b")), (shape.clone(), expected), "{theirs}");
    }
}

/// A GGUF adapter of one linear, changed.
fn changed(change: impl Fn(&mut Vec<(String, Field)>, &mut Vec<Written>)) -> AdapterFiles {
    let word = |key: &str, value: &str| (key.to_string(), Field::Word(value.to_string()));
    let mut metadata = vec![
        word("general.architecture", "llama"),
        word("general.type", "adapter"),
        word("adapter.type", "lora"),
        ("adapter.lora.alpha".to_string(), Field::F32(6.0)),
    ];
    let tensor = |which: &str, shape: [usize; 2]| Written {
        name: format!("blk.1.ffn_down.weight.lora_{which}"),
        shape: shape.to_vec(),
        dtype: Dtype::F32,
    };
    let (hidden, intermediate) = (tiny_config().hidden, tiny_config().intermediate);
    let mut tensors = vec![tensor("a", [4, intermediate]), tensor("b", [hidden, 4])];
    change(&mut metadata, &mut tensors);
    let mut weights = beginning(&metadata, &tensors);
    for tensor in &tensors {
        weights.resize(weights.len() + tensor.bytes().next_multiple_of(32) as usize, 0);
    }
    AdapterFiles { config: String::new(), weights }
}

#[test]
fn an_alpha_of_zero_is_a_scale_of_one() {
    for (alpha, scale) in [(6.0, 1.5), (0.0, 1.0)] {
        let files = changed(|metadata, _| metadata[3].1 = Field::F32(alpha));
        assert_eq!(files.spec(&tiny_config()).expect("a spec").sites()[0].scale(), scale);
    }
}

#[test]
fn gguf_files_that_are_no_plain_adapter_of_this_model_are_refused() {
    type Change<'a> = &'a dyn Fn(&mut Vec<(String, Field)>, &mut Vec<Written>);
    let word = |text: &str| Field::Word(text.to_string());
    let cases: [(&str, &str, Change); 14] = [
        ("gguf", "it is no adapter", &|metadata, _| metadata[1].1 = word("model")),
        ("adapter_mismatch", "`qwen2`, this one's is `llama`", &|metadata, _| metadata[0].1 = word("qwen2")),
        ("unsupported_adapter", "control_vector", &|metadata, _| metadata[2].1 = word("control_vector")),
        ("unsupported_adapter", "invocation_tokens", &|metadata, _| {
            metadata.push(("adapter.alora.invocation_tokens".to_string(), Field::I32s(vec![1])));
        }),
        ("adapter", "an alpha of -6", &|metadata, _| metadata[3].1 = Field::F32(-6.0)),
        ("adapter_mismatch", "no linear of a llama model", &|_, tensors| {
            for tensor in tensors {
                tensor.name = tensor.name.replace("ffn_down", "ffn_norm");
            }
        }),
        ("adapter_mismatch", "the model has 2 layers", &|_, tensors| {
            for tensor in tensors {
                tensor.name = tensor.name.replace("blk.1.", "blk.7.");
            }
        }),
        ("unsupported_adapter", "the embedding or the head", &|_, tensors| {
            tensors[0].name = "token_embd.weight.lora_a".to_string();
        }),
        ("unsupported_adapter", "the embedding or the head", &|_, tensors| {
            tensors[0].name = "output.weight.lora_a".to_string();
        }),
        ("adapter", "names are like `blk.0.attn_q.weight.lora_a`", &|_, tensors| {
            tensors[0].name = "blk.0.attn_norm.weight".to_string();
        }),
        ("adapter_incomplete", "`blk.1.ffn_down.weight.lora_b`", &|_, tensors| drop(tensors.pop())),
        ("adapter", "has rank 3, blk.1.ffn_down.weight.lora_b says 4", &|_, tensors| tensors[0].shape[0] = 3),
        ("adapter_mismatch", "changes a [60,", &|_, tensors| tensors[1].shape[0] = 60),
        ("adapter", "is not a matrix", &|_, tensors| tensors[1].shape.truncate(1)),
    ];
    for (code, words, change) in cases {
        let error = changed(change).spec(&tiny_config()).expect_err(words);
        assert!(error.code() == code && error.to_string().contains(words), "{}: {error}", error.code());
    }
    let large = changed(|_, tensors| {
        tensors[0].shape[0] = 300;
        tensors[1].shape[1] = 300;
    });
    assert_eq!(large.spec(&tiny_config()).expect_err("a rank").code(), "adapter_mismatch");
    let cut = changed(|_, _| {});
    for length in [4, 40, 200, cut.weights.len() - 40] {
        let files = AdapterFiles { config: String::new(), weights: cut.weights[..length].to_vec() };
        assert_eq!(files.spec(&tiny_config()).expect_err("cut").code(), "gguf", "{length}");
    }
}

#[test]
fn the_command_line_exports_and_opens_every_form() {
    let folder = Folder::new("exports");
    let (model, peft) = (folder.model("model"), format!("{FIXTURES}/cases/llama-all-linear"));
    let export = |adapter: &str, form: &str, out: &str| {
        let out = folder.path(out);
        let (status, _, err) =
            tabtune(&["export", "--model", &model, "--adapter", adapter, "--format", form, "--out", &out]);
        assert_eq!(status, 0, "{err}");
        out
    };
    let generated = |adapter: &str| {
        let flags = ["--prompt", "abc", "--temperature", "0", "--max-tokens", "12", "--device", "cpu"];
        succeeded(&[&["generate", "--model", &model, "--adapter", adapter][..], &flags].concat())
    };
    let expected = generated(&peft);
    let gguf = export(&peft, "gguf", "some/lora.gguf");
    let mlx = export(&gguf, "mlx", "mlx");
    let back = export(&mlx, "peft", "peft");
    for adapter in [&gguf, &mlx, &back] {
        assert_eq!(generated(adapter), expected, "{adapter}");
    }
    assert_ne!(
        expected,
        succeeded(&[
            "generate",
            "--model",
            &model,
            "--prompt",
            "abc",
            "--temperature",
            "0",
            "--max-tokens",
            "12",
            "--device",
            "cpu"
        ])
    );
    let file = |path: &str| fs::read(path).expect("a file");
    let weights = "adapter_model.safetensors";
    let values = |path: &str| tensors(&AdapterFiles { config: String::new(), weights: file(path) });
    assert_eq!(values(&format!("{back}/{weights}")), values(&format!("{peft}/{weights}")));
    assert_eq!(file(&export(&back, "gguf", "again.gguf")), file(&gguf));
    assert!(fs::read_dir(folder.path("some")).expect("a folder").count() == 1, "no half file is left");

    // The config of one form beside the tensors of another would be a broken adapter.
    let refuse = |out: &str, form: &str, adapter: &str, words: &[&str], code: &str| {
        refused(&["export", "--model", &model, "--adapter", adapter, "--format", form, "--out", out], code, words);
    };
    refuse(&mlx, "peft", &peft, &["out", "empty"], "setting");
    refuse(&mlx, "gguf", &peft, &["out", "file"], "setting");
    refuse(&folder.path("x"), "mlx", &model, &["holds a model, not an adapter"], "folder");
    let (status, _, err) = tabtune(&["export", "--adapter", &peft, "--format", "gguf", "--out", &folder.path("y")]);
    assert!(status == 2 && err.contains("--model"), "{status}: {err}");
}
