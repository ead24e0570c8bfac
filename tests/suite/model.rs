//! A model as data: its single list of tensors, and what its config may contain.

use std::collections::HashMap;

use tabtune::device::Shape;
use tabtune::files::Source;
use tabtune::files::safetensors::Header;
use tabtune::model::config::Layer;
use tabtune::model::{Config, Role, Storage, Target, Transformer};

use crate::check::device;
use crate::golden::{CASES, Case};
use crate::laws::case;

fn header(file: &[u8]) -> Header {
    let length = Header::length(file[..8].try_into().expect("8 bytes"), file.len() as u64, "model").expect("a header");
    Header::parse(&file[8..8 + length as usize], file.len() as u64, "model").expect("a header")
}

fn config(case: &Case) -> Config {
    Config::parse(case.config).expect("config.json")
}

crate::device_tests! {
    /// The names and shapes in the fixtures were written by transformers.
    async fn the_list_of_tensors_is_what_a_checkpoint_contains() {
        for case in CASES {
            let config = config(case);
            let entries = header(case.model).entries;
            let mut listed: Vec<_> = config.tensors().into_iter().map(|spec| (spec.name, spec.shape)).collect();
            listed.sort();
            let held: Vec<_> = entries.iter().map(|entry| (entry.name.clone(), entry.shape.clone())).collect();
            assert_eq!(listed, held, "{}", case.name);
            let numbers: usize = entries.iter().map(|entry| entry.shape.iter().product::<usize>()).sum();
            assert_eq!(config.parameters(), numbers, "{}", case.name);
        }
    }

    async fn a_linear_is_found_by_its_path_and_by_its_name() {
        let config = config(&CASES[0]);
        for layer in [0, 1, 17] {
            for target in Target::SEPARATE {
                let path = config.family.module(layer, target);
                assert_eq!(config.family.parse_module(&path), Some((layer, target)));
                assert!(config.family.named(config.family.name(target)).eq([target]));
                assert_eq!(config.weight(layer, target).name, format!("{path}.weight"));
            }
        }
        for wrong in ["model.layers.007.self_attn.q_proj", "model.layers.0.mlp.q_proj", "model.layers.0", "q_proj", ""]
        {
            assert_eq!(config.family.parse_module(wrong), None, "{wrong}");
        }
    }

    /// PEFT's names are ends of paths. GPT-2 has two linears called c_proj.
    async fn a_name_that_ends_several_paths_names_all_of_them() {
        let family = config(case("gpt2-default")).family;
        let names: Vec<&str> = family.targets().map(|target| family.name(target)).collect();
        assert_eq!(names, ["c_attn", "attn.c_proj", "c_fc", "mlp.c_proj"]);
        assert_eq!(family.parse_targets("c_proj"), Ok(vec![Target::O, Target::Down]));
        assert_eq!(family.parse_targets("attention"), Ok(vec![Target::Qkv, Target::O]));
        assert_eq!(family.parse_targets("mlp.c_proj, c_attn"), Ok(vec![Target::Qkv, Target::Down]));
        for wrong in ["proj", "c_attn,", "", "q_proj"] {
            assert!(family.parse_targets(wrong).is_err(), "{wrong}");
        }
    }

    async fn a_checkpoint_is_written_as_it_was_read() {
        let device = device(Shape::Direct).await;
        let llamas = ["llama-all-linear", "llama-biases", "llama-tied-all-linear", "qwen2", "qwen3"];
        for name in llamas.into_iter().chain(["gpt2-odd-c-proj", "gemma3-all-linear", "phi3-fused"]) {
            let case = case(name);
            let load = async |bytes: Vec<u8>| {
                let source = Source::memory("model.safetensors", bytes);
                Transformer::load(&device, config(case), &source, Storage::F32, &mut |_, _| {}).await.expect("a model")
            };
            let first = load(case.model.to_vec()).await.checkpoint(&HashMap::new()).await.expect("a checkpoint");
            let again = load(first.clone()).await;
            assert_eq!(again.weight_bytes(), 4 * again.config.parameters() as u64, "{name}");
            assert!(again.checkpoint(&HashMap::new()).await.expect("a checkpoint") == first, "{name}");
            let names = |file: &[u8]| header(file).entries.into_iter().map(|e| (e.name, e.shape)).collect::<Vec<_>>();
            assert_eq!(names(&first), names(case.model), "{name}");

            // The weights of one linear are replaced, and no others.
            let wanted = (1, Target::Down);
            let spec = again.config.weight(wanted.0, wanted.1);
            let given: Vec<f32> = (0..spec.shape.iter().product::<usize>()).map(|i| i as f32).collect();
            let changed = again.checkpoint(&HashMap::from([(wanted, given.as_slice())])).await.expect("a checkpoint");
            let held = load(changed.clone()).await;
            assert_eq!(held.linear(wanted.0, wanted.1).weight.download(&device).await, Ok(given), "{name}");
            let differ = |entry: &&tabtune::files::safetensors::Entry| {
                let bytes = entry.begin as usize..entry.end as usize;
                changed[bytes.clone()] != first[bytes]
            };
            let header = header(&first);
            let found: Vec<&str> = header.entries.iter().filter(differ).map(|entry| entry.name.as_str()).collect();
            assert_eq!(found, [spec.name.as_str()]);
            assert_eq!(spec.role, Role::Weight(1, Target::Down));
        }
    }

    async fn layers_follow_the_pattern() {
        let llama = config(&CASES[0]);
        let same = llama.layer(0);
        let repeated = Config { pattern: vec![same, Layer { window: Some(8), ..same }], ..llama };
        assert_eq!([0, 1, 2, 5].map(|layer| repeated.layer(layer).window), [None, Some(8), None, Some(8)]);
    }
}
