//! A model as data: its single list of tensors, and what its config may contain.

use std::collections::HashMap;

use tabtune::device::Shape;
use tabtune::files::Source;
use tabtune::files::safetensors::Header;
use tabtune::model::config::{Activation, Layer, Layout, NormKind};
use tabtune::model::rope::Rope;
use tabtune::model::{Config, Role, Storage, Target, Transformer};

use crate::check::device;
use crate::golden::{CASES, Case};

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
            for target in Target::ALL {
                let path = config.family.module(layer, target);
                assert_eq!(config.family.parse_module(&path), Some((layer, target)));
                assert_eq!(config.family.target(config.family.name(target)), Some(target));
                assert_eq!(config.weight(layer, target).name, format!("{path}.weight"));
            }
        }
        for wrong in ["model.layers.007.self_attn.q_proj", "model.layers.0.mlp.q_proj", "model.layers.0", "q_proj", ""]
        {
            assert_eq!(config.family.parse_module(wrong), None, "{wrong}");
        }
    }

    async fn a_checkpoint_is_written_as_it_was_read() {
        let device = device(Shape::Direct).await;
        for name in ["llama-all-linear", "llama-biases", "llama-tied-all-linear"] {
            let case = CASES.iter().find(|case| case.name == name).expect("a case");
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
            let ones = vec![1.0; spec.shape.iter().product()];
            let changed = again.checkpoint(&HashMap::from([(wanted, ones.as_slice())])).await.expect("a checkpoint");
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

    /// A feature that a config can describe but the engine does not compute yet is refused by name, never ignored.
    async fn features_that_are_not_computed_yet_are_refused_by_name() {
        let llama = config(&CASES[0]);
        assert_eq!(llama.check_computed(), Ok(()));
        let rope = llama.layer(0).rope.expect("rope");
        let layers = |layers: &[Layer]| Config { pattern: layers.to_vec(), ..llama.clone() };
        let with_rope = |rope: Rope| Layer { window: None, rope: Some(rope) };
        let same = with_rope(rope);
        let cases = [
            (Config { norm: NormKind::RmsPlusOne, ..llama.clone() }, "norm"),
            (Config { norm: NormKind::LayerNorm { bias: true }, ..llama.clone() }, "norm"),
            (Config { output_norms: true, ..llama.clone() }, "norms after"),
            (Config { activation: Activation::GeluTanh, ..llama.clone() }, "hidden_act"),
            (Config { learned_positions: true, ..llama.clone() }, "learned positions"),
            (layers(&[with_rope(Rope { fraction: 0.5, ..rope })]), "partial_rotary_factor"),
            (Config { embedding_scale: 2.0, ..llama.clone() }, "embedding"),
            (Config { query_scale: Some(0.1), ..llama.clone() }, "query_pre_attn_scalar"),
            (Config { layout: Layout { fused_qkv: true, ..llama.layout }, ..llama.clone() }, "q, k and v"),
            (Config { layout: Layout { fused_gate_up: true, ..llama.layout }, ..llama.clone() }, "gate and up"),
            (Config { layout: Layout { transposed: true, ..llama.layout }, ..llama.clone() }, "[in, out]"),
        ];
        for (config, word) in cases {
            let error = config.check_computed().expect_err(word);
            assert!(error.code() == "not_yet" && error.to_string().contains(word), "{word}: {error}");
        }
        let repeated = layers(&[same, Layer { window: Some(8), ..same }]);
        assert_eq!([0, 1, 2, 5].map(|layer| repeated.layer(layer).window), [None, Some(8), None, Some(8)]);
    }
}
