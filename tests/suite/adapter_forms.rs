//! Adapters in the forms in which people have them: other names, MLX's files, tensors that are missing or too many, and
//! every accepted setting through an export and back.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tabtune::adapter::{Adapter, AdapterFiles, AdapterSpec, NotedBase, Origin};
use tabtune::device::Shape;
use tabtune::error::Error;
use tabtune::files::safetensors::write;
use tabtune::model::{Config, Target};
use tabtune::run::Settings;

use crate::adapters::{Site, edited, files, tensors, tiny_config};
use crate::check::{device, origin};
use crate::laws::{case, ids, logits, same_bits};

const PREFIX: &str = "base_model.model.";
/// A linear of a block: no two of its dimensions are alike.
const DOWN: &str = "model.layers.1.mlp.down_proj";

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn weights(tensors: &Tensors) -> Vec<u8> {
    let list: Vec<_> =
        tensors.iter().map(|(name, (shape, values))| (name.clone(), shape.clone(), values.as_slice())).collect();
    write(&list, &[])
}

fn every(targets: &[Target], rank: usize, alpha: f64) -> AdapterFiles {
    let sites: Vec<Site> =
        (0..2).flat_map(|layer| targets.iter().map(move |target| (layer, *target, rank, alpha))).collect();
    files(&sites, false, 30)
}

fn renamed(files: &AdapterFiles, rename: impl Fn(&str) -> String) -> AdapterFiles {
    let tensors = tensors(files).into_iter().map(|(name, tensor)| (rename(&name), tensor)).collect();
    AdapterFiles { weights: weights(&tensors), ..files.clone() }
}

fn with(files: &AdapterFiles, name: &str, shape: &[usize]) -> AdapterFiles {
    let mut tensors = tensors(files);
    tensors.insert(name.to_string(), (shape.to_vec(), vec![0.25; shape.iter().product()]));
    AdapterFiles { weights: weights(&tensors), ..files.clone() }
}

fn spec(files: &AdapterFiles) -> Result<AdapterSpec, Error> {
    files.spec(&tiny_config())
}

/// MLX's files of an adapter of one rank and scale: transposed, with their own names.
fn mlx(files: &AdapterFiles, scale: f64, parameters: Value, num_layers: i64) -> AdapterFiles {
    let mut rank = 0;
    let transposed = |(name, (shape, values)): (String, (Vec<usize>, Vec<f32>))| {
        let [rows, cols] = shape[..] else { panic!("{name} is no matrix") };
        rank = if name.contains("lora_A") { rows } else { cols };
        let name = name.replace(PREFIX, "").replace(".lora_A.weight", ".lora_a").replace(".lora_B.weight", ".lora_b");
        let values = (0..cols).flat_map(|col| (0..rows).map(move |row| (row, col))).map(|(r, c)| values[r * cols + c]);
        (name, (vec![cols, rows], values.collect()))
    };
    let tensors: Tensors = tensors(files).into_iter().map(transposed).collect();
    let mut config = json!({
        "fine_tune_type": "lora",
        "num_layers": num_layers,
        "model": "mlx-community/tiny",
        "lora_parameters": { "rank": rank, "scale": scale, "dropout": 0.0 },
    });
    for (name, value) in parameters.as_object().expect("parameters") {
        config["lora_parameters"][name] = value.clone();
    }
    AdapterFiles { config: config.to_string(), weights: weights(&tensors) }
}

crate::device_tests! {
    async fn a_linear_has_many_names_and_unusual_ones_give_a_warning() {
        let plain = every(&[Target::Q, Target::Down], 3, 6.0);
        let path = |name: &str| name.replacen(PREFIX, "", 1);
        let usual: [&dyn Fn(&str) -> String; 2] =
            [&|name| name.to_string(), &|name| name.replace(".weight", ".default.weight")];
        let unusual: [&dyn Fn(&str) -> String; 8] = [
            &|name| format!("{PREFIX}{name}"),
            &|name| name.replacen("model.model.layers", "model.layers", 1),
            &|name| path(name),
            &|name| path(name).replacen("model.", "", 1),
            &|name| format!("module.{name}"),
            &|name| format!("_orig_mod.{name}"),
            &|name| format!("{PREFIX}_orig_mod.{}", path(name)),
            &|name| format!("{PREFIX}module.{}", path(name)).replace(".weight", ".default.weight"),
        ];
        let config = tiny_config();
        for (renames, is_usual) in [(&usual[..], true), (&unusual[..], false)] {
            for rename in renames {
                let files = renamed(&plain, rename);
                let names = tensors(&files);
                let name = names.keys().next().expect("a tensor");
                assert_eq!(spec(&files), spec(&plain), "{name}");
                let warnings = files.warnings(&config).expect("warnings");
                assert_eq!(warnings.is_empty(), is_usual, "{name}: {warnings:?}");
                assert!(warnings.iter().all(|warning| warning.message.contains(name)), "{name}: {warnings:?}");
                let saved = files.in_peft_form(&config, "base").expect("PEFT's files");
                assert_eq!(saved == files, is_usual, "{name}");
                assert_eq!(spec(&saved), spec(&plain), "{name}");
                assert!(saved.warnings(&config).expect("warnings").is_empty(), "{name}");
                if !is_usual {
                    assert_eq!(tensors(&saved), tensors(&plain), "{name}");
                }
            }
        }
        let device = device(Shape::Direct).await;
        let (loaded, _) = renamed(&plain, path).load(&device, &config).expect("an adapter");
        assert_eq!(loaded.warnings.len(), 1);
    }

    async fn two_names_of_one_linear_are_both_named() {
        let plain = every(&[Target::Down], 3, 6.0);
        let first = format!("{PREFIX}{DOWN}.lora_A.weight");
        for second in [
            format!("{DOWN}.lora_A.weight"),
            format!("{PREFIX}{DOWN}.lora_A.default.weight"),
            format!("module.{first}"),
            format!("{PREFIX}{first}"),
            format!("{PREFIX}{}.lora_A.weight", DOWN.replacen("model.", "", 1)),
        ] {
            let error = spec(&with(&plain, &second, &[3, 80])).expect_err(&second);
            assert!(matches!(error, Error::TensorNames { .. }), "{error}");
            assert!(error.to_string().contains(&format!("`{first}`")), "{error}");
            assert!(error.to_string().contains(&format!("`{second}`")), "{error}");
        }
    }

    async fn names_of_no_lora_say_what_is_expected() {
        let plain = every(&[Target::Q], 3, 6.0);
        for name in [
            "lora_unet_down_blocks_0_attn1_to_q.lora_down.weight",
            "base_model.model.model.layers.0.self_attn.q_proj.lora_A.other.weight",
            "model.layers.0.self_attn.q_proj.lora_a",
            "base_model.model.model.layers.0.self_attn.q_proj.lora_C.weight",
            "encoder.weight",
        ] {
            let error = spec(&with(&plain, name, &[1, 1])).expect_err(name);
            assert!(matches!(error, Error::Adapter { .. }), "{error}");
            assert!(error.to_string().contains(name), "{error}");
            assert!(error.to_string().contains("base_model.model.model.layers.0.self_attn.q_proj.lora_A"), "{error}");
        }
    }

    async fn a_file_that_lacks_what_its_config_names_is_refused() {
        let all = every(&Target::SEPARATE, 3, 6.0);
        let without = |files: &AdapterFiles, part: &str| {
            let tensors: Tensors = tensors(files).into_iter().filter(|(name, _)| !name.contains(part)).collect();
            AdapterFiles { weights: weights(&tensors), ..files.clone() }
        };
        let suffixes = |files: &AdapterFiles, names: Value| edited(files, "target_modules", names);
        let attention = every(&[Target::Q, Target::V], 3, 6.0);
        for (files, names) in [
            (suffixes(&without(&all, "down_proj"), json!("all-linear")), vec!["layers.0.mlp.down_proj", "layers.1"]),
            (suffixes(&without(&all, "layers.1."), json!("all-linear")), vec!["layers.1.self_attn.q_proj", "10 more"]),
            (suffixes(&attention, json!(["q_proj", "k_proj", "v_proj"])), vec!["layers.0.self_attn.k_proj.lora_A"]),
            (suffixes(&attention, json!(r".*\.(q|v|o)_proj")), vec!["layers.1.self_attn.o_proj.lora_B"]),
            (without(&attention, "layers.1.self_attn.v_proj.lora_A"), vec!["layers.1.self_attn.v_proj.lora_A"]),
            (
                edited(
                    &suffixes(&without(&all, "layers.0."), json!(["up_proj"])),
                    "layers_to_transform",
                    json!([0, 1]),
                ),
                vec!["does not adapt"],
            ),
            (
                edited(
                    &suffixes(&without(&attention, "layers.0."), json!(["q_proj", "v_proj"])),
                    "layers_to_transform",
                    json!([0, 1]),
                ),
                vec!["layers.0.self_attn.q_proj"],
            ),
        ] {
            let error = spec(&files).expect_err(&files.config);
            let code = if names == ["does not adapt"] { "adapter" } else { "adapter_incomplete" };
            assert_eq!(error.code(), code, "{error}");
            assert!(names.iter().all(|name| error.to_string().contains(name)), "{names:?}: {error}");
        }
        // What the model lacks altogether, what is excluded and what is in no layer is not missing.
        for files in [
            suffixes(&attention, json!(["q_proj", "v_proj", "router", "c_attn"])),
            edited(&suffixes(&attention, json!("all-linear")), "exclude_modules", json!(".*(k|o|gate|up|down)_proj")),
            edited(
                &suffixes(&without(&attention, "layers.0."), json!(["q_proj", "v_proj"])),
                "layers_to_transform",
                json!([1]),
            ),
            suffixes(&without(&attention, "layers.0."), json!(r".*\.1\..*\.(q|v)_proj")),
            suffixes(&attention, Value::Null),
        ] {
            assert!(spec(&files).is_ok(), "{}: {:?}", files.config, spec(&files));
        }
        // Another width says more about the reason than what is missing.
        let wide = Config { hidden: 64, layers: 4, ..tiny_config() };
        assert!(matches!(attention.spec(&wide), Err(Error::AdapterMismatch { .. })));
    }

    async fn an_adapter_that_replaces_tables_says_so_and_what_to_do() {
        let plain = every(&[Target::Q], 3, 6.0);
        for (name, rows, words) in [
            ("base_model.model.model.embed_tokens.weight", 96, vec!["the embedding"]),
            ("base_model.model.lm_head.weight", 98, vec!["the head", "98 tokens", "has 96"]),
            ("base_model.model.model.embed_tokens.modules_to_save.weight", 128, vec!["the embedding", "128"]),
            ("base_model.model.model.embed_tokens.base_layer.weight", 96, vec!["the embedding"]),
            ("base_model.model.lm_head.modules_to_save.default.weight", 96, vec!["the head"]),
            ("model.embed_tokens.weight", 90, vec!["the embedding", "90 tokens"]),
        ] {
            let error = spec(&with(&plain, name, &[rows, 32])).expect_err(name);
            assert!(matches!(error, Error::AdapterReplaces { .. }), "{name}: {error}");
            assert!(error.to_string().contains(name) && error.hint().contains("merge_and_unload"), "{error}");
            assert!(words.iter().all(|word| error.to_string().contains(word)), "{words:?}: {error}");
            assert_eq!(error.to_string().contains("vocabulary"), rows != 96, "{error}");
        }
        let saved = edited(&plain, "modules_to_save", json!(["score"]));
        let error = spec(&saved).expect_err("modules_to_save");
        assert!(matches!(&error, Error::AdapterReplaces { what } if what.contains("[\"score\"]")), "{error}");
    }

    async fn an_adapter_of_mlx_computes_what_the_same_one_of_peft_does() {
        let device = device(Shape::Direct).await;
        let base = case("llama-all-linear").model(&device).await;
        let sequence = ids(24, 96, 4);
        let computed = async |files: &AdapterFiles| {
            let (adapter, flat) = files.load(&device, &base.config).expect("an adapter");
            adapter.write(&device, &flat);
            logits(&adapter.attach(&base), &sequence, 2, 1.0).await
        };
        let (q, down) = ("self_attn.q_proj", "mlp.down_proj");
        let last: Vec<Site> = vec![(1, Target::Q, 4, 10.0), (1, Target::Down, 4, 10.0)];
        let whole = [format!("model.layers.0.{q}"), format!("model.layers.1.{down}")];
        let apart: Vec<Site> = vec![(0, Target::Q, 2, 1.0), (1, Target::Down, 2, 1.0)];
        for (peft, scale, parameters, layers) in [
            (every(&[Target::Q, Target::Down], 3, 6.0), 2.0, json!({ "keys": [q, down] }), 2),
            (every(&[Target::Q, Target::Down], 3, 6.0), 2.0, json!({ "keys": [down, q], "alpha": 99 }), -1),
            (every(&[Target::Q, Target::Down], 3, 60.0), 20.0, json!({ "keys": [q, down] }), 16),
            (every(&Target::SEPARATE, 5, 2.5), 0.5, json!({}), 2),
            (every(&Target::SEPARATE, 1, 1.0), 1.0, json!({ "keys": null }), 0),
            (files(&last, false, 31), 2.5, json!({ "keys": [q, down] }), 1),
            (files(&apart, false, 32), 0.5, json!({ "keys": whole }), 1),
        ] {
            let form = mlx(&peft, scale, parameters, layers);
            let config = &form.config;
            assert_eq!(spec(&form).expect(config), spec(&peft).expect("a spec"), "{config}");
            same_bits(config, &computed(&form).await, &computed(&peft).await);
            let saved = form.in_peft_form(&base.config, "base").expect("PEFT's files");
            assert_eq!(tensors(&saved), tensors(&peft), "{config}");
            assert_eq!((spec(&saved), form.warnings(&base.config)), (spec(&peft), Ok(Vec::new())), "{config}");
        }
    }

    async fn an_adapter_of_another_base_says_so() {
        let plain = every(&[Target::Q], 3, 6.0);
        let named = |base: Value| {
            let mut config: Value = serde_json::from_str(&plain.config).expect("JSON");
            config["base_model_name_or_path"] = base;
            AdapterFiles { config: config.to_string(), ..plain.clone() }
        };
        for (noted, base, is_other) in [
            (json!("base"), "base", false),
            (json!("meta-llama/Llama-3-8B"), "base", true),
            (json!("meta-llama/Llama-3-8B"), "/models/llama-3-8b/", false),
            (json!("C:\\models\\base"), "./base", false),
            (json!(null), "base", false),
            (json!(""), "base", false),
            (json!(7), "base", false),
            (json!("base-instruct"), "base", true),
        ] {
            let found = named(noted.clone()).other_base(base, "ab").expect("an adapter");
            assert_eq!(found.is_some(), is_other, "{noted} {base}: {found:?}");
        }
        // A hash is certain where there is one: names do not matter then.
        let device = device(Shape::Direct).await;
        let (adapter, flat) = plain.load(&device, &case("llama-all-linear").model(&device).await.config).expect("it");
        let mut noted = Origin { base_sha256: Some("ab".to_string()), ..origin("base") };
        let hashed = AdapterFiles::new(&adapter, &flat, &noted);
        assert_eq!(hashed.other_base("renamed", "ab"), Ok(None));
        let name = "base".to_string();
        let renamed = NotedBase { name, same_name: false, same_weights: Some(true) };
        assert_eq!(hashed.noted_base("renamed", "ab"), Ok(renamed));
        let warning = hashed.other_base("base", "cd").expect("an adapter").expect("a warning");
        assert!(warning.code == "other_base" && warning.message.contains("with other weights"), "{warning:?}");
        noted.is_chat = true;
        assert_eq!(AdapterFiles::new(&adapter, &flat, &noted).origin(), Ok(noted));
    }

    async fn what_an_mlx_config_gets_wrong_is_named() {
        let plain = mlx(&every(&[Target::Q], 3, 6.0), 2.0, json!({ "keys": ["self_attn.q_proj"] }), 2);
        let edit = |path: &str, value: Value| {
            let mut config: Value = serde_json::from_str(&plain.config).expect("JSON");
            *config.pointer_mut(path).expect(path) = value;
            AdapterFiles { config: config.to_string(), ..plain.clone() }
        };
        assert!(spec(&plain).is_ok());
        for (path, value, code, word) in [
            ("/fine_tune_type", json!("dora"), "unsupported_adapter", "dora"),
            ("/fine_tune_type", json!("full"), "unsupported_adapter", "full"),
            ("/lora_parameters/scale", Value::Null, "adapter", "scale"),
            ("/lora_parameters/scale", json!(0), "adapter", "scale"),
            ("/lora_parameters/rank", json!(4), "adapter", "rank 3"),
            ("/lora_parameters/rank", json!("8"), "adapter", "\"8\""),
            ("/lora_parameters/keys", json!("q_proj"), "adapter", "keys"),
            ("/lora_parameters/keys", json!(["self_attn.k_proj"]), "adapter", "does not adapt"),
            (
                "/lora_parameters/keys",
                json!(["self_attn.q_proj", "self_attn.v_proj"]),
                "adapter_incomplete",
                "model.layers.0.self_attn.v_proj.lora_a",
            ),
            ("/num_layers", json!(1), "adapter", "model.layers.0.self_attn.q_proj.lora_a"),
            ("/num_layers", json!("all"), "adapter", "num_layers"),
        ] {
            let error = spec(&edit(path, value)).expect_err(path);
            assert_eq!(error.code(), code, "{path}: {error}");
            assert!(error.to_string().contains(word), "{path}: {error}");
        }
        let python = plain.config.replace("\"scale\":2.0", "\"scale\":NaN");
        let error = spec(&AdapterFiles { config: python, ..plain.clone() }).expect_err("NaN").to_string();
        assert!(error.contains("scale") && error.contains("found NaN"), "{error}");
    }

    async fn a_config_may_hold_what_python_writes_where_nobody_reads_it() {
        let plain = every(&[Target::Q], 3, 6.0);
        for (from, to) in [
            ("{", "{\"lora_dropout\": NaN,"),
            ("{", "{\"loftq_config\": {\"x\": [Infinity, -Infinity]},"),
            ("{", "\u{feff}{"),
            ("{", "{\"eva_config\": NaN, \"note\": \"\\\" NaN\","),
            ("{", "\u{feff}{\"runtime\": -Infinity,"),
        ] {
            let config = plain.config.replacen(from, to, 1);
            assert_eq!(spec(&AdapterFiles { config, ..plain.clone() }), spec(&plain), "{to}");
        }
        for (from, to, words) in [
            ("\"lora_alpha\":6.0", "\"lora_alpha\":NaN", ["lora_alpha", "found NaN"]),
            ("\"r\":3", "\"r\":Infinity", ["`r`", "whole number"]),
            ("\"alpha_pattern\":{}", "\"alpha_pattern\":{\"q_proj\":NaN}", ["NaN, expected f64", "column"]),
            ("\"use_rslora\":false", "\"use_dora\":NaN", ["use_dora", "= NaN"]),
            ("{", "{\"x\": NaN,,", ["line 1 column 11", "adapter_config.json"]),
        ] {
            assert!(plain.config.contains(from), "{from} is not in {}", plain.config);
            let config = plain.config.replacen(from, to, 1);
            let error = spec(&AdapterFiles { config, ..plain.clone() }).expect_err(to).to_string();
            assert!(words.iter().all(|word| error.contains(word) || word.contains("json")), "{error}");
        }
    }

    async fn scales_that_no_file_can_hold_are_refused_before_a_run() {
        // Each is within the range, but one alpha for the larger rank would not be; and rsLoRA's is not.
        let sites: Vec<Site> = vec![(0, Target::Q, 1, 1e18), (1, Target::Q, 8, 1.0)];
        let rslora = edited(&every(&[Target::Q], 8, 1e18), "use_rslora", json!(true));
        for refused in [files(&sites, false, 33), rslora] {
            let error = spec(&refused).expect_err("an alpha beyond the range");
            assert!(matches!(&error, Error::Adapter { reason, .. } if reason.contains("1e18")), "{error}");
        }
    }

    async fn what_the_settings_accept_is_written_and_read_back_as_it_was() {
        let device = device(Shape::Direct).await;
        let config = tiny_config();
        let alphas = [1e-30, 1e-9, 0.1, 1.0 / 3.0, 12.5, 16.0, 1e6 + 0.5, 123_456_789_012_345.0, 1e18];
        let targets = ["all-linear", "attention", "q_proj", "up_proj, down_proj", "o_proj,o_proj", "v_proj,gate_proj"];
        let names = ["base", "", "..", "a \"quoted\" \\ name\n", "模型 🦀", "\u{0}\u{7f}\u{feff}", &"x".repeat(4096)];
        for (at, alpha) in alphas.into_iter().enumerate() {
            for (rank, targets) in [1, 3, 8, 16].into_iter().zip(targets.iter().cycle().skip(at)) {
                let settings =
                    Settings { rank, alpha, targets: targets.to_string(), ..Settings::defaults(&config, true) };
                let spec = settings.check(&config).unwrap_or_else(|error| panic!("{targets} {rank} {alpha}: {error}"));
                let adapter = Adapter::new(&device, &config, spec.clone()).expect("an adapter");
                let flat = adapter.initial(at as u64);
                let files = AdapterFiles::new(&adapter, &flat, &origin(names[at % names.len()]));
                let (read, again) = files.load(&device, &config).expect("the files are read");
                assert_eq!(read.spec, spec, "{targets}, rank {rank}, alpha {alpha}");
                assert!(again == flat && read.warnings.is_empty(), "{targets}, rank {rank}, alpha {alpha}");
                let json: Value = serde_json::from_str(&files.config).expect("JSON");
                assert_eq!(json["lora_alpha"].as_f64(), Some(alpha));
                assert_eq!(json["lora_alpha"].is_u64(), alpha.fract() == 0.0, "whole numbers are written as ones");
                assert_eq!(json["base_model_name_or_path"], names[at % names.len()]);
            }
        }
        for alpha in [3e19, 1.1e18, 9e-31, f64::MIN_POSITIVE, 5e-324, 0.0, -1.0, f64::NAN, f64::INFINITY] {
            let settings = Settings { alpha, ..Settings::defaults(&config, true) };
            let error = settings.check(&config).expect_err("no alpha");
            assert!(error.code() == "setting" && error.to_string().contains("alpha"), "{alpha}: {error}");
        }
        for dropout in [1.0, 0.999_999_99, -0.1, f64::NAN] {
            let settings = Settings { dropout, ..Settings::defaults(&config, true) };
            assert_eq!(settings.check(&config).expect_err("no dropout").code(), "setting", "{dropout}");
        }
    }
}
