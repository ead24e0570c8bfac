//! Adapters in and out: PEFT's rules for what a file means, round trips with random specs, merging, and swapping
//! without a new plan. `golden.rs` compares patterns, expressions and layers with PEFT's own numbers.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Value, json};
use tabtune::adapter::{Adapter, AdapterFiles, AdapterSpec};
use tabtune::device::{Device, Shape};
use tabtune::error::{Error, Result};
use tabtune::files::Source;
use tabtune::files::safetensors::{Header, to_f32, write};
use tabtune::generate::Generator;
use tabtune::model::{Config, Logits, Storage, Target, Transformer};
use tabtune::plan::Progress;
use tabtune::random::SplitMix64;
use tabtune::run::{self, Control, Settings};

use crate::check::{MODEL_SHAPES, close, device, origin};
use crate::laws::{case, ids, logits, same_bits};
use crate::tiny::{tiny_base, tiny_data, tiny_settings, whole_run};

const LAYERS: usize = 2;

/// A site of a test's adapter: layer, linear, rank, PEFT's alpha.
pub type Site = (usize, Target, usize, f64);

pub fn tiny_config() -> Config {
    Config::parse(include_bytes!("../fixtures/models/llama/config.json")).expect("a config")
}

/// Numbers that differ between adapters and are large enough to change logits.
fn numbers(random: &mut SplitMix64, n: usize) -> Vec<f32> {
    (0..n).map(|_| (random.unit() - 0.5) as f32).collect()
}

/// PEFT's files for sites of the small model, written without the library's exporter. The config has the rank and alpha
/// of the first site; ranks and alphas that differ are in patterns by whole path.
pub fn files(sites: &[Site], rslora: bool, seed: u64) -> AdapterFiles {
    let config = tiny_config();
    let mut random = SplitMix64(seed);
    let mut tensors = Vec::new();
    let (mut ranks, mut alphas) = (serde_json::Map::new(), serde_json::Map::new());
    let (_, _, r, lora_alpha) = sites[0];
    for &(layer, target, rank, alpha) in sites {
        let (module, (rows, cols)) = (config.family.module(layer, target), target.shape(&config));
        tensors.push((
            format!("base_model.model.{module}.lora_A.weight"),
            vec![rank, cols],
            numbers(&mut random, rank * cols),
        ));
        tensors.push((
            format!("base_model.model.{module}.lora_B.weight"),
            vec![rows, rank],
            numbers(&mut random, rows * rank),
        ));
        if rank != r {
            ranks.insert(module.clone(), json!(rank));
        }
        if alpha != lora_alpha {
            alphas.insert(module, json!(alpha));
        }
    }
    let modules: Vec<String> = sites.iter().map(|site| tiny_config().family.module(site.0, site.1)).collect();
    let config = json!({ "peft_type": "LORA", "r": r, "lora_alpha": lora_alpha, "use_rslora": rslora,
        "target_modules": modules, "rank_pattern": ranks, "alpha_pattern": alphas });
    let tensors: Vec<_> =
        tensors.iter().map(|(name, shape, values)| (name.clone(), shape.clone(), values.as_slice())).collect();
    AdapterFiles { config: config.to_string(), weights: write(&tensors, &[]) }
}

fn random_sites(random: &mut SplitMix64, uniform: bool) -> Vec<Site> {
    let mut pick = |n: usize| (random.unit() * n as f64) as usize;
    let (rank, alpha) = (1 + pick(9), 1.0 + pick(40) as f64 / 4.0);
    let mut sites = Vec::new();
    for layer in 0..LAYERS {
        for target in Target::SEPARATE {
            let chosen = pick(3) > 0;
            let (own_rank, own_alpha) = (1 + pick(9), 1.0 + pick(40) as f64 / 4.0);
            if chosen {
                sites.push(if uniform { (layer, target, rank, alpha) } else { (layer, target, own_rank, own_alpha) });
            }
        }
    }
    if sites.is_empty() { vec![(1, Target::Down, rank, alpha)] } else { sites }
}

/// The tensors of an adapter: name → (shape, numbers).
pub fn tensors(files: &AdapterFiles) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let bytes = &files.weights;
    let length = Header::length(bytes[..8].try_into().expect("8 bytes"), bytes.len() as u64, "adapter")
        .expect("a header") as usize;
    let header = Header::parse(&bytes[8..8 + length], bytes.len() as u64, "adapter").expect("a header");
    let read = |entry: &tabtune::files::safetensors::Entry| {
        let mut values = Vec::new();
        to_f32(entry.dtype, &bytes[entry.begin as usize..entry.end as usize], &mut values);
        (entry.name.clone(), (entry.shape.clone(), values))
    };
    header.entries.iter().map(read).collect()
}

/// scale · B A in f64, by PEFT's rules and with each site's own rank and alpha.
fn deltas(files: &AdapterFiles, scale: impl Fn(&str) -> f64) -> BTreeMap<String, Vec<f32>> {
    let tensors = tensors(files);
    let a_of = |name: &String| name.strip_suffix(".lora_A.weight").map(str::to_string);
    let delta = |module: String| {
        let (a_shape, a) = &tensors[&format!("{module}.lora_A.weight")];
        let (b_shape, b) = &tensors[&format!("{module}.lora_B.weight")];
        let (rank, cols, scale) = (a_shape[0], a_shape[1], scale(&module));
        assert_eq!(b_shape[1], rank, "{module}");
        let at = |r: usize, c: usize| {
            (0..rank).map(|k| f64::from(b[r * rank + k]) * f64::from(a[k * cols + c])).sum::<f64>() * scale
        };
        let values =
            (0..b_shape[0]).flat_map(|r| (0..cols).map(move |c| (r, c))).map(|(r, c)| at(r, c) as f32).collect();
        (module, values)
    };
    tensors.keys().filter_map(a_of).map(delta).collect()
}

fn export(device: &Device, files: &AdapterFiles) -> AdapterFiles {
    let (adapter, flat) = files.load(device, &tiny_config()).expect("an adapter");
    AdapterFiles::new(&adapter, &flat, &origin("base"))
}

async fn attached(device: &Rc<Device>, base: &Transformer, files: &AdapterFiles) -> (Adapter, Transformer) {
    let (adapter, flat) = files.load(device, &base.config).expect("an adapter");
    adapter.write(device, &flat);
    let model = adapter.attach(base);
    (adapter, model)
}

pub fn edited(files: &AdapterFiles, field: &str, value: Value) -> AdapterFiles {
    let mut config: Value = serde_json::from_str(&files.config).expect("JSON");
    config[field] = value;
    AdapterFiles { config: config.to_string(), ..files.clone() }
}

/// The spec of an adapter for the small model, whose names are those of any Llama model.
fn spec(files: &AdapterFiles) -> tabtune::error::Result<AdapterSpec> {
    files.spec(&tiny_config())
}

fn refusal(files: &AdapterFiles) -> Error {
    spec(files).expect_err(&files.config)
}

/// Bit for bit on a card. On the CPU, products of other widths are summed in another order: a rank that is padded with
/// zeros gives the same numbers, rounded differently.
fn same(shape: Shape, what: &str, found: &[f32], expected: &[f32]) {
    match shape {
        Shape::Cpu => {
            close(what, found, expected, 2e-5);
        }
        Shape::Tiled | Shape::Direct => same_bits(&format!("{what}, {shape:?}"), found, expected),
    }
}

crate::device_tests! {
    async fn an_adapter_of_one_rank_and_scale_keeps_every_tensor_on_the_way_through() {
        let device = device(Shape::Direct).await;
        for seed in 0..20 {
            let mut random = SplitMix64(seed);
            let files = files(&random_sites(&mut random, true), seed % 2 == 1, seed);
            let out = export(&device, &files);
            assert_eq!(tensors(&out), tensors(&files), "seed {seed}");
            let near = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-12;
            let (found, expected) = (spec(&out).expect("a spec"), spec(&files).expect("a spec"));
            assert!(
                found.is_uniform() && found.rank() == expected.rank() && near(found.alpha(), expected.alpha()),
                "seed {seed}"
            );
            assert_eq!(export(&device, &out), out, "seed {seed}");
        }
        // What PEFT wrote, in f32, f16 and bf16, with layers and with an expression.
        for name in ["llama-all-linear", "llama-rank-1", "llama-layer-1", "llama-down-proj"] {
            let files = case(name).files();
            assert_eq!(tensors(&export(&device, &files)), tensors(&files), "{name}");
        }
    }

    async fn ranks_and_scales_by_site_leave_as_one_and_compute_the_same() {
        let device = device(Shape::Direct).await;
        for seed in 0..20 {
            let mut random = SplitMix64(100 + seed);
            let sites = random_sites(&mut random, false);
            let rslora = seed % 2 == 1;
            let files = files(&sites, rslora, seed);
            let out = export(&device, &files);
            let config: Value = serde_json::from_str(&out.config).expect("JSON");
            assert_eq!(
                (&config["rank_pattern"], &config["alpha_pattern"], &config["use_rslora"]),
                (&json!({}), &json!({}), &json!(false))
            );
            let (r, alpha) = (config["r"].as_f64().expect("r"), config["lora_alpha"].as_f64().expect("alpha"));
            let found = deltas(&out, |_| alpha / r);
            let expected = deltas(&files, |module| {
                let of = |site: &&Site| module.ends_with(&tiny_config().family.module(site.0, site.1));
                let (_, _, rank, alpha) = sites.iter().find(of).expect("a site");
                alpha / if rslora { (*rank as f64).sqrt() } else { *rank as f64 }
            });
            assert!(found.keys().eq(expected.keys()), "seed {seed}");
            // A run state keeps a spec as JSON.
            let spec = spec(&files).expect("a spec");
            let kept: AdapterSpec = serde_json::from_str(&serde_json::to_string(&spec).expect("JSON")).expect("a spec");
            assert_eq!(kept, spec, "seed {seed}");
            for (module, expected) in &expected {
                close(&format!("seed {seed}, {module}"), &found[module], expected, 1e-6);
            }
            assert_eq!(export(&device, &out), out, "seed {seed}: a second export changes nothing");
        }
    }

    /// PEFT sets `fan_in_fan_out` where the linears of a model are stored as [in, out].
    async fn an_exported_adapter_has_the_names_numbers_and_orientation_of_pefts_own() {
        let device = device(Shape::Cpu).await;
        for name in ["llama-all-linear", "gpt2-all-linear", "gpt2-default", "gpt2-odd-c-proj", "phi3-fused"] {
            let case = case(name);
            let config = tabtune::model::Config::parse(case.config).expect("a config");
            let files = case.files();
            let (adapter, flat) = files.load(&device, &config).expect("an adapter");
            let found = AdapterFiles::new(&adapter, &flat, &origin("base"));
            assert!(tensors(&found) == tensors(&files), "{name}");
            let of = |files: &AdapterFiles, field: &str| -> Value {
                serde_json::from_str::<Value>(&files.config).expect("JSON")[field].clone()
            };
            for field in ["fan_in_fan_out", "r", "lora_alpha", "peft_type", "use_rslora"] {
                let (found, expected) = (of(&found, field), of(&files, field));
                assert!(found == expected || found.as_f64() == expected.as_f64(), "{name}, {field}: {found}");
            }
            assert_eq!(found.load(&device, &config).expect("an adapter").0.spec, adapter.spec, "{name}");
        }
    }

    async fn a_merged_adapter_equals_the_unmerged_one_and_unmerging_restores_the_base() {
        for &shape in MODEL_SHAPES {
            let device = device(shape).await;
            for name in [
                "llama-all-linear",
                "llama-patterns",
                "llama-layer-1",
                "llama-regex",
                "llama-wide-head-rank-3",
                "gpt2-all-linear",
                "gemma3-all-linear",
                "phi3-fused",
            ] {
                let base = case(name).model(&device).await;
                let sequence = ids(48, 96, 7);
                let before = logits(&base, &sequence, 2, 1.0).await;
                let (adapter, model) = attached(&device, &base, &case(name).files()).await;
                let expected = logits(&model, &sequence, 2, 1.0).await;
                let merged = adapter.merge(&base).await.expect("a merged model");
                let found = logits(&merged, &sequence, 2, 1.0).await;
                close(&format!("{name} {shape:?}"), &found, &expected, 1e-5);
                assert_ne!(found, before, "{name}: merging changes the logits");
                same_bits(name, &logits(&base, &sequence, 2, 1.0).await, &before);
                // Merging into a model that has adapters attached uses its weights and ignores those adapters.
                same_bits(
                    name,
                    &logits(&adapter.merge(&model).await.expect("a model"), &sequence, 2, 1.0).await,
                    &found,
                );
            }
        }
    }

    async fn a_checkpoint_that_was_merged_is_the_model_that_was_merged() {
        let device = device(Shape::Direct).await;
        for name in ["llama-all-linear", "llama-patterns", "llama-layer-1", "gpt2-all-linear", "phi3-fused"] {
            let (case, mut bytes) = (case(name), Vec::new());
            let base = case.model(&device).await;
            let source = Source::memory("model.safetensors", case.model.to_vec());
            let mut write = |part: &[u8]| {
                bytes.extend_from_slice(part);
                Ok(())
            };
            let files = case.files();
            let merge = files.merge(&base.config, &source, 1.0).await.expect("a base");
            merge.write(0, source.bytes, &mut write).await.expect("a checkpoint");
            assert_eq!(bytes.len(), case.model.len());
            let changed = bytes.iter().zip(case.model).filter(|(a, b)| a != b).count();
            assert!(
                changed > 0 && changed < bytes.len() / 2 + bytes.len() / 4,
                "{changed} bytes of {} changed",
                bytes.len()
            );
            let source = Source::memory("merged.safetensors", bytes);
            let loaded = Transformer::load(&device, base.config.clone(), &source, Storage::default(), &mut |_, _| {})
                .await
                .expect("a model");
            let (adapter, _) = attached(&device, &base, &case.files()).await;
            let sequence = ids(48, 96, 8);
            let merged = logits(&adapter.merge(&base).await.expect("a model"), &sequence, 2, 1.0).await;
            same_bits(name, &logits(&loaded, &sequence, 2, 1.0).await, &merged);
        }
    }

    async fn a_swapped_adapter_computes_what_a_fresh_one_does_with_the_existing_plans() {
        for &shape in MODEL_SHAPES {
            let device = device(shape).await;
            let base = case("llama-all-linear").model(&device).await;
            let sites = |rank: usize, alpha: f64| -> Vec<Site> {
                (0..LAYERS)
                    .flat_map(|layer| [Target::Q, Target::O, Target::Down].map(|target| (layer, target, rank, alpha)))
                    .collect()
            };
            let (mut adapter, model) = attached(&device, &base, &files(&sites(8, 16.0), false, 1)).await;
            let sequence = ids(40, 96, 9);
            let all: Vec<u32> = (0..40).collect();
            let draft = Logits::record(&model, 40, 2, 40, None).expect("a plan");
            let plan = draft.finish(&mut Progress::silent()).await.expect("a plan");
            let generator = Generator::new(&model).await.expect("plans");
            let mut mixed = sites(5, 3.0);
            (mixed[1].2, mixed[4].3) = (8, 11.0);
            let others = [
                files(&sites(8, 4.0), false, 2),
                files(&sites(1, 2.0), false, 3),
                files(&sites(3, 9.0), true, 4),
                files(&mixed, true, 5),
            ];
            for (n, files) in others.iter().enumerate() {
                let made = (device.pipeline_count(), device.buffer_count());
                adapter.swap(&device, files).expect("room for it");
                assert_eq!((device.pipeline_count(), device.buffer_count()), made, "no pipeline or buffer is created");
                assert_eq!(adapter.spec, spec(files).expect("a spec"));
                let found = plan.run(&sequence, &all, 0, 1.0).await.expect("logits");
                let next = generator.feed(&sequence[..1], 0, 1.0).await.expect("logits");
                let (_, fresh) = attached(&device, &base, files).await;
                same(shape, &format!("adapter {n}"), &found, &logits(&fresh, &sequence, 2, 1.0).await);
                let fresh = Generator::new(&fresh).await.expect("plans");
                let expected = fresh.feed(&sequence[..1], 0, 1.0).await.expect("logits");
                same(shape, &format!("adapter {n}, decoding"), &next, &expected);
            }
            let before = plan.run(&sequence, &all, 0, 1.0).await.expect("logits");
            let nan = {
                let mut files = files(&sites(2, 2.0), false, 6);
                let last = files.weights.len() - 4;
                files.weights[last..].copy_from_slice(&f32::NAN.to_le_bytes());
                files
            };
            for files in [files(&sites(9, 9.0), false, 7), files(&sites(2, 2.0)[..3], false, 8), nan] {
                let refused = adapter.swap(&device, &files);
                assert!(
                    matches!(refused, Err(Error::AdapterMismatch { .. } | Error::TensorNotFinite { .. })),
                    "{refused:?}"
                );
                same_bits("after a refusal", &plan.run(&sequence, &all, 0, 1.0).await.expect("logits"), &before);
            }
        }
    }

    /// As in PEFT: A is Kaiming uniform with a = sqrt(5), which is uniform in ±1/sqrt(in), and B is zero.
    async fn a_fresh_adapter_is_uniform_in_a_and_zero_in_b() {
        let device = device(Shape::Direct).await;
        for (rank, targets) in [(8, "all-linear"), (5, "q_proj,down_proj")] {
            let spec = AdapterSpec::new(&tiny_config(), rank, 16.0, targets).expect("a spec");
            let adapter = Adapter::new(&device, &tiny_config(), spec).expect("an adapter");
            let flat = adapter.initial(3);
            assert_ne!(adapter.initial(4), flat, "another seed");
            let mut trained = 0;
            let mut units = Vec::new();
            for (module, a, b) in adapter.matrices(&flat) {
                assert!(b.values.iter().all(|x| *x == 0.0), "{module}: B");
                assert_eq!((a.rows, a.values.len()), (rank, rank * a.cols), "{module}: A");
                units.extend(a.values.iter().map(|x| f64::from(*x) * (a.cols as f64).sqrt()));
                trained += a.values.len();
            }
            assert_eq!(flat.iter().filter(|x| **x != 0.0).count(), trained, "the padding of the matrices is zero");
            // Moments and quarters of the uniform distribution on ±1, within five standard deviations.
            let n = units.len() as f64;
            let mean = |f: &dyn Fn(f64) -> f64| units.iter().map(|x| f(*x)).sum::<f64>() / n;
            assert!(units.iter().all(|x| x.abs() <= 1.0 + 1e-6));
            assert!(mean(&|x| x).abs() < 5.0 * (1.0 / 3.0 / n).sqrt(), "mean {}", mean(&|x| x));
            assert!(
                (mean(&|x| x * x) - 1.0 / 3.0).abs() < 5.0 * (4.0 / 45.0 / n).sqrt(),
                "variance {}",
                mean(&|x| x * x)
            );
            for quarter in 0..4 {
                let low = f64::from(quarter) / 2.0 - 1.0;
                let part = mean(&|x| f64::from(u8::from(x >= low && x < low + 0.5)));
                assert!((part - 0.25).abs() < 5.0 * (3.0 / 16.0 / n).sqrt(), "quarter {quarter}: {part}");
            }
        }
    }

    async fn a_run_from_ranks_by_site_keeps_an_adapter_that_computes_what_was_trained() {
        let base = tiny_base(&device(Shape::Direct).await).await;
        let sites =
            [(0, Target::Q, 6, 12.0), (0, Target::Down, 3, 5.0), (1, Target::Q, 1, 2.5), (1, Target::Up, 8, 8.0)];
        let init = files(&sites, true, 12);
        let settings = Settings { rank: 8, eval_every: 4, ..tiny_settings(&base) };
        let (_, outcome) = whole_run(&base, &settings, Some(&init)).await;
        let kept = outcome.kept.expect("an adapter");
        let spec = spec(kept.files.adapter().expect("an adapter")).expect("a spec");
        assert!(spec.is_uniform() && spec.rank() == 8 && kept.rank == 8 && kept.alpha == spec.alpha());
        assert!(
            spec.sites().iter().map(|site| (site.layer, site.target)).eq(sites.iter().map(|site| (site.0, site.1)))
        );
        assert_ne!(
            tensors(kept.files.adapter().expect("an adapter")),
            tensors(&export(&base.model.device, &init)),
            "the adapter was trained"
        );

        // The run measured the adapter with each site's own rank and scale; the files have only one.
        let expected = kept.loss.expect("an evaluation better than the start");
        let data = tiny_data(&base, &settings);
        let mut evaluator = run::evaluator(
            &base.with_adapter(kept.files.adapter().expect("an adapter")).expect("a model"),
            settings.batch,
            settings.seq_len,
        )
        .await
        .expect("a plan");
        let loss = run::evaluate(&mut evaluator, &data.held_out, 1.0, &Control::default()).await;
        let loss = loss.expect("a loss").and_then(|measured| measured.loss).expect("a loss");
        assert!((loss / expected - 1.0).abs() < 1e-6, "{loss} is not {expected}");
    }

    async fn anything_beyond_plain_lora_is_refused_by_name() {
        let files = files(&[(0, Target::Q, 4, 8.0), (1, Target::Up, 4, 8.0)], false, 20);
        assert!(spec(&files).is_ok());
        let features = [
            ("use_dora", json!(true)),
            ("bias", json!("lora_only")),
            ("lora_bias", json!(true)),
            ("layer_replication", json!([[0, 2]])),
            ("trainable_token_indices", json!([3])),
            ("target_parameters", json!(["mlp.up_proj.weight"])),
            ("alora_invocation_tokens", json!([1])),
            ("init_lora_weights", json!("pissa")),
            ("peft_type", json!("IA3")),
        ];
        for (field, value) in features {
            let error = refusal(&edited(&files, field, value));
            assert!(matches!(&error, Error::UnsupportedAdapter { feature } if feature.contains(field)), "{error:?}");
        }
        for harmless in [
            ("init_lora_weights", json!("gaussian")),
            ("bias", json!("none")),
            ("lora_dropout", json!(0.1)),
            ("modules_to_save", json!(null)),
            // PEFT sets it to what the linear is, whatever the file says.
            ("fan_in_fan_out", json!(true)),
        ] {
            assert_eq!(spec(&edited(&files, harmless.0, harmless.1)), spec(&files));
        }
        let q = "base_model.model.model.layers.0.self_attn.q_proj";
        for name in [
            format!("{q}.lora_magnitude_vector"),
            "base_model.model.model.embed_tokens.lora_embedding_A".to_string(),
            "base_model.model.lm_head.lora_A.weight".to_string(),
            format!("{q}.base_layer.bias"),
            format!("{q}.lora_B.bias"),
        ] {
            let weights = write(&[(name.clone(), vec![1, 1], &[0.5])], &[]);
            let error = refusal(&AdapterFiles { weights, ..files.clone() });
            assert!(matches!(&error, Error::UnsupportedAdapter { feature } if feature.contains(&name)), "{error:?}");
        }
    }

    async fn config_and_tensors_that_disagree_name_the_tensor() {
        let files = files(&[(0, Target::Q, 4, 8.0), (1, Target::Up, 4, 8.0)], false, 21);
        let (q, up) = ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.up_proj");
        let names = |edit: (&str, Value), module: &str| {
            let error = refusal(&edited(&files, edit.0, edit.1));
            assert!(matches!(&error, Error::Adapter { reason, .. } if reason.contains(module)), "{error:?}");
        };
        names(("r", json!(8)), q);
        names(("rank_pattern", json!({ "up_proj": 2 })), up);
        names(("target_modules", json!(["q_proj"])), up);
        names(("target_modules", json!(["up_proj", "proj", "attn.q_proj"])), q);
        names(("target_modules", json!(null)), up);
        names(("target_modules", json!("q_proj|up_proj")), q);
        names(("target_modules", json!(r".*\.q_proj")), up);
        names(("exclude_modules", json!([up])), up);
        names(("exclude_modules", json!(".*q_.*")), q);

        // The same linears, given in every way that PEFT supports.
        let every = |targets: &[Target]| -> AdapterFiles {
            let sites: Vec<Site> =
                (0..LAYERS).flat_map(|layer| targets.iter().map(move |target| (layer, *target, 4, 8.0))).collect();
            super::adapters::files(&sites, false, 21)
        };
        let both = every(&[Target::Q, Target::Up]);
        let same = |files: &AdapterFiles, targets: Value| {
            assert_eq!(spec(&edited(files, "target_modules", targets.clone())), spec(files), "{targets}")
        };
        same(&every(&Target::SEPARATE), json!("all-linear"));
        same(&both, json!(["self_attn.q_proj", "up_proj", "router"]));
        same(&both, json!(r"model\.layers\.\d\.(self_attn|mlp)\.(q|up)_proj"));
        let suffixes = edited(&both, "target_modules", json!(["q_proj", "up_proj"]));
        let layers = |layers: Value| edited(&suffixes, "layers_to_transform", layers);
        assert_eq!(spec(&layers(json!([0, 1]))), spec(&both));
        assert_eq!(spec(&layers(json!([]))), spec(&both));
        assert_eq!(spec(&edited(&layers(json!([0, 1])), "layers_pattern", json!(["h", "layers"]))), spec(&both));
        for (files, module) in [
            (layers(json!(1)), q),
            (layers(json!([0])), "model.layers.1."),
            (edited(&layers(json!([0, 1])), "layers_pattern", json!("h")), q),
        ] {
            assert!(matches!(refusal(&files), Error::Adapter { reason, .. } if reason.contains(module)));
        }
        // `layers_to_transform` restricts suffixes, not whole paths.
        assert_eq!(spec(&edited(&files, "layers_to_transform", json!([1]))), spec(&files));

        let mut left = tensors(&files);
        left.remove(&format!("base_model.model.{up}.lora_B.weight"));
        let left: Vec<_> =
            left.iter().map(|(name, (shape, values))| (name.clone(), shape.clone(), values.as_slice())).collect();
        let error = refusal(&AdapterFiles { weights: write(&left, &[]), ..files.clone() });
        assert!(
            matches!(&error, Error::AdapterIncomplete { missing, .. } if missing.contains(&format!("{up}.lora_B"))),
            "{error:?}"
        );
        assert!(matches!(refusal(&AdapterFiles { weights: write(&[], &[]), ..files.clone() }), Error::Adapter { .. }));
    }

    async fn a_config_that_makes_no_sense_is_an_error_soon() {
        let files = files(&[(0, Target::Q, 4, 8.0)], false, 22);
        let fields = [
            ("r", json!(0)),
            ("r", json!(1.5)),
            ("r", json!(5000)),
            ("lora_alpha", json!("8")),
            ("lora_alpha", json!(-8)),
            ("rank_pattern", json!({ "q_proj": 2.5 })),
            ("rank_pattern", json!({ "q_proj": -1 })),
            ("rank_pattern", json!(["q_proj"])),
            ("alpha_pattern", json!({ "q_proj": "x" })),
            ("alpha_pattern", json!({ "(": 1 })),
            ("target_modules", json!("(")),
            ("target_modules", json!(7)),
            ("target_modules", json!([7])),
            ("layers_to_transform", json!([-1])),
            ("layers_to_transform", json!("1")),
            // Backtracking on this one would take as long as the universe has existed.
            ("target_modules", json!(r"(?=((.*)*)*\2z)((.*)*)*q")),
            ("target_modules", json!("a".repeat(5000))),
            ("exclude_modules", json!("(.{1000}){1000}{1000}")),
        ];
        for (field, value) in fields {
            let error = refusal(&edited(&files, field, value.clone()));
            assert!(
                matches!(&error, Error::Adapter { .. }) && error.hint().ends_with('.'),
                "{field} {value}: {error:?}"
            );
        }
        let many: serde_json::Map<_, _> = (0..2000).map(|i| (i.to_string(), json!(4))).collect();
        assert!(matches!(refusal(&edited(&files, "rank_pattern", json!(many))), Error::Adapter { .. }));
        let long = AdapterFiles { config: format!("{}{}", " ".repeat(2 << 20), files.config), ..files.clone() };
        assert!(matches!(refusal(&long), Error::Adapter { .. }), "only its length is wrong");
    }

    async fn numbers_that_are_not_finite_and_shapes_of_another_model_are_refused() {
        let device = device(Shape::Direct).await;
        let sites = [(0, Target::Q, 4, 8.0)];
        for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut files = files(&sites, false, 23);
            let last = files.weights.len() - 4;
            files.weights[last..].copy_from_slice(&poison.to_le_bytes());
            let refused: Result<_> = files.load(&device, &tiny_config());
            assert!(matches!(refused, Err(Error::TensorNotFinite { name }) if name.contains("q_proj.lora_B")));
        }
        let site = |layer: usize, rank: usize, alpha: f64| {
            json!({
                "layer": layer, "target": "Q", "rank": rank, "alpha": alpha
            })
        };
        let good = site(0, 4, 8.0);
        for sites in [
            json!([site(0, 0, 8.0)]),
            json!([site(0, 1 << 20, 8.0)]),
            json!([site(0, 4, -1.0)]),
            json!([good, good]),
            json!([site(1, 4, 1.0), good]),
        ] {
            let spec: AdapterSpec = serde_json::from_value(json!({ "sites": sites })).expect("a spec");
            assert!(
                matches!(Adapter::new(&device, &tiny_config(), spec), Err(Error::AdapterMismatch { .. })),
                "{sites}"
            );
        }
        let config = Config { layers: 1, ..tiny_config() };
        let refused = files(&[(1, Target::Q, 4, 8.0)], false, 24).load(&device, &config);
        assert!(matches!(refused, Err(Error::AdapterMismatch { reason }) if reason.contains("layers.1")));
        let refused = case("llama-odd-rank-5").files().load(&device, &tiny_config());
        let names_the_linear = |reason: &str| reason.contains("q_proj") || reason.contains("self_attn");
        assert!(matches!(refused, Err(Error::AdapterMismatch { reason }) if names_the_linear(&reason)));
    }
}
