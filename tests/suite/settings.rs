//! The settings of a run: the ranges and defaults that their documentation promises.

use serde_json::{Value, json};
use tabtune::model::Config;
use tabtune::run::{Limits, Method, Settings};

use crate::golden::CASES;

const EMBEDDED: &[u8] = include_bytes!("../../www/public/base/config.json");

fn embedded() -> (Config, Settings) {
    let config = Config::parse(EMBEDDED).expect("a config");
    let settings = Settings::defaults(&config, true);
    (config, settings)
}

#[test]
fn defaults_can_be_used_with_every_model() {
    for json in CASES.iter().map(|case| case.config).chain([EMBEDDED]) {
        let config = Config::parse(json).expect("a config");
        for software in [false, true] {
            let settings = Settings::defaults(&config, software);
            let spec = settings.check(&config).unwrap_or_else(|error| panic!("software: {software}: {error}"));
            assert_eq!((spec.rank(), spec.alpha()), (settings.rank, settings.alpha));
            assert!(settings.seq_len <= config.context);
        }
    }
}

#[test]
fn every_setting_is_refused_outside_its_range_and_accepted_at_its_ends() {
    type Set = fn(&mut Settings, f64);
    let (config, settings) = embedded();
    let context = config.context as f64;
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    let cases: [(&str, Set, &[f64], &[f64]); 12] = [
        ("lr", |s, x| s.lr = x, &[0.0, -1e-3, 1.001, nan, inf], &[1e-12, 1.0]),
        ("warmup", |s, x| s.warmup = x, &[-0.01, 1.0, nan, inf], &[0.0, 0.999]),
        ("holdout", |s, x| s.holdout = x, &[-0.01, 1.0, nan, inf], &[0.0, 0.999]),
        ("weight-decay", |s, x| s.weight_decay = x, &[-0.01, 1.0, nan, inf], &[0.0, 0.999]),
        ("clip", |s, x| s.clip = x, &[-0.01, nan, inf], &[0.0, 1e6]),
        ("dropout", |s, x| s.dropout = x, &[-0.01, 1.0, nan, inf], &[0.0, 0.999]),
        ("seq-len", |s, x| s.seq_len = x as usize, &[0.0, context + 1.0], &[1.0, context]),
        ("batch", |s, x| s.batch = x as usize, &[0.0, 1025.0], &[1.0, 1024.0]),
        ("accumulate", |s, x| s.accumulate = x as usize, &[0.0, 1025.0], &[1.0, 1024.0]),
        ("steps", |s, x| s.steps = x as u32, &[0.0, 1_000_001.0], &[1.0, 1_000_000.0]),
        ("rank", |s, x| s.rank = x as usize, &[0.0, 1e6], &[1.0]),
        ("alpha", |s, x| s.alpha = x, &[0.0, -1.0, nan, inf], &[1e-3, 1e3]),
    ];
    for (name, set, refused, used) in cases {
        let with = |x: f64| {
            let mut settings = settings.clone();
            set(&mut settings, x);
            settings.check(&config)
        };
        for &x in refused {
            let error = with(x).expect_err(name);
            assert!(
                error.code() == "setting" && error.to_string().contains(&format!("`{name}`")),
                "{name} = {x}: {error}"
            );
        }
        for &x in used {
            assert!(with(x).is_ok(), "{name} = {x}: {:?}", with(x));
        }
    }
}

/// Who asks beforehand hears what a run is refused for. Natively, a seed and a count of tokens may be larger.
#[test]
fn the_limits_are_those_of_the_check() {
    let (config, settings) = embedded();
    let limits = json!(Limits::of(&config));
    let with = |name: &str, value: Value| {
        let mut all = json!(settings);
        all[name] = value;
        serde_json::from_value(all).is_ok_and(|settings: Settings| settings.check(&config).is_ok())
    };
    let number = |x: f64| if x.fract() == 0.0 && x >= 0.0 { json!(x as u64) } else { json!(x) };
    let Some(limits) = limits.as_object() else { panic!("{limits}") };
    for (name, limit) in limits.iter().filter(|(name, _)| *name != "ranks") {
        let bound = |which: &str| limit.get(which).and_then(Value::as_f64);
        let mut cases = Vec::new();
        cases.extend(bound("from").map(|x| [(x, true), (if x == 0.0 { -1.0 } else { x / 2.0 }, false)]));
        cases.extend(bound("above").map(|x| [(x, false), (x + 1e-9, true)]));
        cases.extend(bound("to").map(|x| [(x, true), (x * 2.0, ["seed", "maxTokens"].contains(&name.as_str()))]));
        cases.extend(bound("below").map(|x| [(x, false), (x - 1e-6, true)]));
        if limit["whole"] == json!(true) {
            cases.push([(1.0, true), (1.5, false)]);
        }
        assert!(cases.len() > usize::from(name != "clip"), "{name}: {limit}");
        for (x, used) in cases.concat() {
            assert_eq!(with(name, number(x)), used, "{name} = {x}");
        }
    }
    let Some(ranks) = limits["ranks"].as_object() else { panic!("{limits:?}") };
    assert!(["all-linear", "attention", "q_proj"].iter().all(|name| ranks.contains_key(*name)), "{ranks:?}");
    for (targets, most) in ranks {
        let with = |rank: usize| Settings { rank, targets: targets.clone(), ..settings.clone() }.check(&config);
        let most = most.as_u64().expect("a rank") as usize;
        assert!(with(most).is_ok() && with(most + 1).is_err(), "{targets}: {most}");
    }
}

#[test]
fn a_large_model_learns_at_a_lower_rate_by_default() {
    let (config, _) = embedded();
    let large = Config { layers: 1000, ..config.clone() };
    assert!(config.parameters() < 10_000_000 && large.parameters() > 10_000_000);
    for software in [false, true] {
        let (small, large) = (Settings::defaults(&config, software), Settings::defaults(&large, software));
        assert!(large.lr < small.lr && large.seq_len >= small.seq_len);
    }
}

#[test]
fn dropout_belongs_to_lora() {
    let (config, settings) = embedded();
    let with = |method, dropout| Settings { method, dropout, ..settings.clone() }.check(&config);
    for (method, dropout) in [(Method::Lora, 0.1), (Method::Lora, 0.0), (Method::Full, 0.0)] {
        assert!(with(method, dropout).is_ok(), "{method:?} {dropout}");
    }
    assert!(with(Method::Full, 0.1).expect_err("full").to_string().contains("dropout"));
}

/// The default is 150 steps or three epochs, whichever is more, but at most 2,000 steps.
#[test]
fn default_steps_see_every_row_three_times_within_bounds() {
    let (_, settings) = embedded();
    for (batch, accumulate) in [(1, 1), (4, 1), (8, 3)] {
        let settings = Settings { batch, accumulate, ..settings.clone() };
        for rows in [0, 1, 17, 150, 199, 201, 1000, 4097, 1_000_000] {
            let steps = settings.default_steps(rows);
            assert!((150..=2000).contains(&steps));
            let an_epoch = rows as f64 / (batch * accumulate) as f64;
            let epochs = f64::from(steps) / an_epoch;
            assert!(steps == 2000 || epochs >= 3.0, "{rows} rows: {epochs} epochs");
            assert!(steps == 150 || f64::from(steps) < 3.0 * (an_epoch + 1.0), "{rows} rows: {epochs} epochs");
        }
    }
}
