//! Parity with PEFT: logits, loss, every adapter gradient and five AdamW steps of `tests/fixtures`, natively and in a
//! browser, in both kernel shapes.

use std::rc::Rc;

use serde::Deserialize;
use tabtune::adapter::AdapterFiles;
use tabtune::device::{Device, Shape};
use tabtune::files::Source;
use tabtune::files::safetensors::{Header, to_f32};
use tabtune::model::{Config, Logits, Storage, Transformer};
use tabtune::plan::Progress;
use tabtune::text::batches::MicroBatch;
use tabtune::text::rows::Row;
use tabtune::train::{StepSettings, Trainer, TrainerSettings};

use crate::check::{SHAPES, close, device};

/// A base model and a PEFT case, as files.
pub struct Case {
    pub name: &'static str,
    pub config: &'static [u8],
    pub model: &'static [u8],
    case: &'static str,
    oracle: &'static [u8],
    adapter_config: &'static str,
    adapter: &'static [u8],
}

macro_rules! cases {
    ($($case:literal on $model:literal),* $(,)?) => {
        &[$(Case {
            name: $case,
            config: include_bytes!(concat!("../fixtures/models/", $model, "/config.json")),
            model: include_bytes!(concat!("../fixtures/models/", $model, "/model.safetensors")),
            case: include_str!(concat!("../fixtures/cases/", $case, "/case.json")),
            oracle: include_bytes!(concat!("../fixtures/cases/", $case, "/oracle.safetensors")),
            adapter_config: include_str!(concat!("../fixtures/cases/", $case, "/adapter_config.json")),
            adapter: include_bytes!(concat!("../fixtures/cases/", $case, "/adapter_model.safetensors")),
        }),*]
    };
}

pub const CASES: &[Case] = cases![
    "llama-default" on "llama",
    "llama-attn" on "llama",
    "llama-all-linear" on "llama",
    "llama-tied-all-linear" on "llama-tied",
    "llama-rank-1" on "llama",
    "llama-wide-head-rank-3" on "llama-wide-head",
    "llama-odd-rank-5" on "llama-odd",
    "llama-alpha-12" on "llama-odd",
    "llama-down-proj" on "llama",
    "llama-patterns" on "llama-odd",
    "llama-layer-1" on "llama",
    "llama-regex" on "llama-tied",
    "llama-biases" on "llama-biases",
    "llama-linear" on "llama-linear",
    "llama-llama3" on "llama-llama3",
    "llama-yarn" on "llama-yarn",
    "mistral" on "mistral",
    "qwen2" on "qwen2",
    "qwen3" on "qwen3",
    "smollm3" on "smollm3",
    "gpt2-default" on "gpt2",
    "gpt2-all-linear" on "gpt2",
    "gpt2-odd-c-proj" on "gpt2-odd",
    "gemma3-default" on "gemma3_text",
    "gemma3-all-linear" on "gemma3_text",
    "gemma3-wide-head" on "gemma3-wide-head",
    "phi3-all-linear" on "phi3",
    "phi3-fused" on "phi3",
    "llama-int8" on "llama",
    "llama-int4" on "llama-tied",
];

#[derive(Deserialize)]
pub struct Facts {
    pub batch: usize,
    pub seq_len: usize,
    /// How the matrices are stored, if not as in the file. PEFT computed with the numbers that this leaves of them.
    #[serde(default)]
    weights: Storage,
    lr: f64,
    weight_decay: f64,
    clip: f64,
    step_losses: Vec<f64>,
    grad_norms: Vec<f64>,
    rows: Vec<FactRow>,
}

#[derive(Deserialize)]
struct FactRow {
    ids: Vec<u32>,
    targets: Vec<bool>,
    tokens: usize,
}

impl Case {
    pub fn facts(&self) -> Facts {
        serde_json::from_str(self.case).expect("case.json")
    }

    pub async fn model(&self, device: &Rc<Device>) -> Transformer {
        let config = Config::parse(self.config).expect("config.json");
        let source = Source::memory("model.safetensors", self.model.to_vec());
        let storage = self.facts().weights;
        Transformer::load(device, config, &source, storage, &mut |_, _| {}).await.expect("a checkpoint")
    }

    pub fn files(&self) -> AdapterFiles {
        AdapterFiles { config: self.adapter_config.to_string(), weights: self.adapter.to_vec() }
    }

    /// A tensor of oracle.safetensors.
    pub fn oracle(&self, name: &str) -> Vec<f32> {
        let length = Header::length(self.oracle[..8].try_into().expect("8 bytes"), self.oracle.len() as u64, "oracle")
            .expect("a header");
        let header =
            Header::parse(&self.oracle[8..8 + length as usize], self.oracle.len() as u64, "oracle").expect("a header");
        let entry = header.get(name).unwrap_or_else(|| panic!("{}: no {name}", self.name));
        let mut values = Vec::new();
        to_f32(entry.dtype, &self.oracle[entry.begin as usize..entry.end as usize], &mut values);
        values
    }
}

impl Facts {
    pub fn rows(&self) -> Vec<Row> {
        self.rows
            .iter()
            .map(|row| Row { ids: row.ids.clone(), labels: row.targets.clone(), tokens: row.tokens })
            .collect()
    }

    pub fn micro(&self) -> MicroBatch {
        let rows = self.rows();
        MicroBatch::assemble(&rows.iter().collect::<Vec<_>>(), self.batch, self.seq_len)
    }

    fn settings(&self) -> StepSettings {
        StepSettings { learning_rate: self.lr, weight_decay: self.weight_decay, clip: self.clip, dropout: 0.0, seed: 0 }
    }
}

async fn logits_equal_peft(case: &Case, device: &Rc<Device>) {
    let (shape, facts) = (device.shape, case.facts());
    let model = case.model(device).await;
    let (adapter, flat) = case.files().load(device, &model.config).expect("an adapter");
    adapter.write(device, &flat);
    let rows = facts.batch * facts.seq_len;
    let draft = Logits::record(&adapter.attach(&model), rows, facts.batch, rows, None).expect("a plan");
    let logits = draft.finish(&mut Progress::silent()).await.expect("a plan");
    let micro = facts.micro();
    let all: Vec<u32> = (0..rows as u32).collect();
    let found = logits.run(&micro.tokens, &all, 0, 1.0).await.expect("logits");
    let expected = case.oracle("logits");
    let worst = found.iter().zip(&expected).map(|(f, e)| (f - e).abs()).fold(0.0, f32::max);
    assert!(worst <= 1e-3, "{} {shape:?}: logits differ by {worst}", case.name);
    println!("{} {shape:?}: logits {worst:.1e}", case.name);
}

async fn steps_equal_peft(case: &Case, device: &Rc<Device>) {
    let (shape, facts) = (device.shape, case.facts());
    let model = case.model(device).await;
    let (adapter, flat) = case.files().load(device, &model.config).expect("an adapter");
    adapter.write(device, &flat);
    let draft =
        Trainer::record(&adapter.attach(&model), &adapter.params(), TrainerSettings::new(facts.batch, facts.seq_len))
            .expect("plans");
    let mut trainer = draft.finish(&mut Progress::silent()).await.expect("plans");

    // Read the gradient after one micro-batch, because the update of a step clears it.
    let gradient = trainer.gradient(&facts.micro()).await.expect("a gradient");
    let mut worst = [0.0f64; 4];
    let mut note = |what: usize, error: f64| worst[what] = worst[what].max(error);
    for (module, a, b) in adapter.matrices(&gradient) {
        for (which, found) in [("A", a), ("B", b)] {
            let name = format!("grad.base_model.model.{module}.lora_{which}.weight");
            let what = format!("{} {shape:?} {name}", case.name);
            note(0, close(&what, &found.values, &case.oracle(&name), 1e-4));
        }
    }
    for step in 0..facts.step_losses.len() {
        let ticket = trainer.submit(&[facts.micro()], facts.settings(), 1).expect("a step");
        let result = trainer.result(ticket).await.expect("a result");
        let relative = |found: f64, expected: f64| (found - expected).abs() / expected.abs();
        let tolerance = if step == 0 { 1e-5 } else { 1e-4 };
        assert!(result.finite, "{} step {step}", case.name);
        let loss = relative(result.loss, facts.step_losses[step]);
        assert!(
            loss <= tolerance,
            "{} {shape:?} step {step}: loss {} is not {}",
            case.name,
            result.loss,
            facts.step_losses[step]
        );
        let norm = relative(result.grad_norm, facts.grad_norms[step]);
        assert!(
            norm <= 1e-3,
            "{} {shape:?} step {step}: norm {} is not {}",
            case.name,
            result.grad_norm,
            facts.grad_norms[step]
        );
        note(1, loss);
        note(2, norm);
    }
    let trained = adapter.read(device).await.expect("parameters");
    for (module, a, b) in adapter.matrices(&trained) {
        for (which, found) in [("A", a), ("B", b)] {
            let name = format!("trained.base_model.model.{module}.lora_{which}.weight");
            let what = format!("{} {shape:?} {name}", case.name);
            note(3, close(&what, &found.values, &case.oracle(&name), 1e-3));
        }
    }
    let [gradient, loss, norm, trained] = worst;
    println!(
        "{} {shape:?}: gradient {gradient:.1e}, losses {loss:.1e}, norms {norm:.1e}, trained {trained:.1e}",
        case.name
    );
}

/// A browser's software device needs seconds to compile a kernel that uses work-group memory, so there that shape runs
/// only one case; the tests of the ops run every variant.
fn cases(shape: Shape) -> impl Iterator<Item = &'static Case> {
    let few = cfg!(target_arch = "wasm32") && shape == Shape::Tiled;
    CASES.iter().filter(move |case| !few || case.name == "llama-tied-all-linear")
}

crate::device_tests! {
    async fn logits_with_an_adapter_equal_peft() {
        for shape in SHAPES {
            let device = device(shape).await;
            for case in cases(shape) {
                logits_equal_peft(case, &device).await;
            }
        }
    }

    async fn gradients_and_five_steps_equal_peft() {
        for shape in SHAPES {
            let device = device(shape).await;
            for case in cases(shape) {
                steps_equal_peft(case, &device).await;
            }
        }
    }
}
