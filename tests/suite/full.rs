//! Full fine-tuning: matrices that are cut into segments learn the same.

use std::collections::BTreeMap;
use std::rc::Rc;

use tabtune::adapter::Full;
use tabtune::device::{Device, DeviceOptions, Shape};
use tabtune::model::{Config, Storage};
use tabtune::run::{Event, Files, Method, Outcome, Settings};

use crate::check::{MODEL_SHAPES, close};
use crate::golden::Case;
use crate::laws::case;
use crate::runs::tensors;
use crate::tiny::{base_of, tiny_settings, whole_run};

/// A case of every family, and models whose sizes are odd.
const FAMILIES: [&str; 10] = [
    "llama-biases",
    "llama-odd-rank-5",
    "mistral",
    "qwen2",
    "qwen3",
    "smollm3",
    "gpt2-default",
    "gpt2-odd-c-proj",
    "gemma3-default",
    "phi3-fused",
];

/// The bytes of sixteen rows of the widest matrix of a model, the least that a binding must hold.
fn sixteen_rows(case: &Case) -> u64 {
    let config = Config::parse(case.config).expect("a config");
    let widest = config.family.targets().map(|target| target.shape(&config).1).max().expect("linears");
    16 * 4 * widest as u64
}

async fn device_with(shape: Shape, max_binding: Option<u64>) -> Rc<Device> {
    let options = DeviceOptions { shape: Some(shape), max_binding, ..DeviceOptions::default() };
    Device::new(options).await.expect("a device")
}

/// The losses and norms of a run with the method full, what it leaves, and how many slabs the most cut matrix has.
async fn run(case: &Case, device: &Rc<Device>) -> (Vec<f32>, BTreeMap<String, Vec<f32>>, usize) {
    let base = base_of(device, case.config, case.model, Storage::F32).await;
    let settings = Settings { method: Method::Full, lr: 1e-3, ..tiny_settings(&base) };
    let (events, outcome) = whole_run(&base, &settings, None).await;
    let trained = Full::new(&base.model).expect("room").attach(&base.model);
    let linears = trained.blocks.iter().flat_map(|block| block.linears.values());
    let slabs = linears.map(|linear| linear.trained.as_ref().expect("a trained matrix").len()).max();
    (numbers(&events), checkpoint(outcome), slabs.expect("linears"))
}

fn numbers(events: &[Event]) -> Vec<f32> {
    let numbers = |event: &Event| match *event {
        Event::Step { loss, grad_norm, .. } => vec![loss as f32, grad_norm as f32],
        Event::Eval { loss: Some(loss), .. } => vec![loss as f32],
        _ => vec![],
    };
    events.iter().flat_map(numbers).collect()
}

fn checkpoint(outcome: Outcome) -> BTreeMap<String, Vec<f32>> {
    match outcome.kept.expect("a checkpoint").files {
        Files::Checkpoint(bytes) => tensors(&bytes),
        Files::Adapter(_) => panic!("full fine-tuning leaves a checkpoint"),
    }
}

crate::device_tests! {
    /// On a device whose bindings hold no whole matrix, too.
    async fn segments_change_nothing_about_a_run_in_every_family() {
        for (i, name) in FAMILIES.into_iter().enumerate() {
            let (case, shape) = (case(name), MODEL_SHAPES[i % MODEL_SHAPES.len()]);
            let (usual, whole, one) = run(case, &device_with(shape, None).await).await;
            let (cut, again, several) = run(case, &device_with(shape, Some(sixteen_rows(case))).await).await;
            assert!(one == 1 && several > 1, "{name}: {several} slabs");
            // The head is cut, too, so its sums are taken in another order, which AdamW makes more of.
            close(&format!("{name} {shape:?}: losses and norms"), &cut, &usual, 1e-5);
            assert!(whole.keys().eq(again.keys()));
            for (tensor, values) in &whole {
                close(&format!("{name} {shape:?}: `{tensor}`"), &again[tensor], values, 1e-3);
            }
        }
    }
}
