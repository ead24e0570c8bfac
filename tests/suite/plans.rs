//! Plans as data: how many pipelines and dispatches they take, what a small one looks like, and that replaying one
//! makes nothing.

use std::collections::BTreeSet;
use std::rc::Rc;

use tabtune::adapter::{Adapter, AdapterSpec, ExportCheck};
use tabtune::device::kernel::{MODULES, Module};
use tabtune::device::{Access, Constants, Device, KernelKey, Pool, Shape, Tensor, Usage};
use tabtune::files::Source;
use tabtune::files::safetensors::write;
use tabtune::generate::Generator;
use tabtune::model::{Config, Storage, Target, Transformer};
use tabtune::ops::{Chunks, cross_entropy, gather_rows};
use tabtune::plan::{Input, Progress, Recorder};
use tabtune::train::{Evaluator, StepSettings, Trainer};

use crate::check::{MODEL_SHAPES, SHAPES, device};
use crate::golden::CASES;

const EMBEDDED: &[u8] = include_bytes!("../../www/public/base/config.json");
const ONE_LAYER: &[u8] =
    br#"{ "model_type": "llama", "vocab_size": 24, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1,
    "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 16, "tie_word_embeddings": true }"#;

/// A model whose weights are all zero: plans depend on shapes alone.
async fn zeros(device: &Rc<Device>, config: &[u8]) -> Transformer {
    let config = Config::parse(config).expect("a config");
    let mut shapes = vec![
        ("model.embed_tokens.weight".to_string(), vec![config.vocabulary, config.hidden]),
        ("model.norm.weight".to_string(), vec![config.hidden]),
    ];
    for layer in 0..config.layers {
        for norm in ["input_layernorm", "post_attention_layernorm"] {
            shapes.push((format!("model.layers.{layer}.{norm}.weight"), vec![config.hidden]));
        }
        for target in Target::ALL {
            let (rows, cols) = target.shape(&config);
            shapes.push((format!("{}.weight", tabtune::model::llama::module(layer, target)), vec![rows, cols]));
        }
    }
    let zeros = vec![0.0; shapes.iter().map(|(_, shape)| shape.iter().product()).max().unwrap_or(0)];
    let tensors: Vec<_> =
        shapes.into_iter().map(|(name, shape)| (name, shape.clone(), &zeros[..shape.iter().product()])).collect();
    Transformer::load(device, config, &Source::memory("zeros", write(&tensors, &[])), Storage::F32, &mut |_, _| {})
        .await
        .expect("a model")
}

fn adapter(model: &Transformer, rank: usize, targets: &str) -> Adapter {
    Adapter::new(
        &model.device,
        &model.config,
        AdapterSpec::new(&model.config, rank, 2.0 * rank as f64, targets).expect("a spec"),
    )
    .expect("an adapter")
}

/// Forward and, with a tape, backward of the loss.
fn recorded(model: &Transformer, batch: usize, seq_len: usize, train: bool) -> Recorder {
    let input = Input::new(&model.device, batch * seq_len).expect("an input");
    let mut rec = Recorder::new(&model.device, &model.pool, &input, train);
    let hidden = model.hidden(&mut rec, batch * seq_len, batch, None);
    let labelled = gather_rows(&mut rec, &hidden);
    let chunks = Chunks::new(&model.device, batch * seq_len, model.config.vocabulary).expect("chunks");
    let totals = Tensor::owned(&model.device, "totals", 1, 2).expect("totals");
    cross_entropy(&mut rec, &labelled, model.head(), &chunks, &totals, true);
    rec.unwind();
    rec
}

/// Values for the `override` constants of a module that have no default: small shapes that fit every kernel.
fn constants(module: &Module) -> Constants {
    let value = |name: &str| match name {
        "H" => 4,
        "KV" | "LOOPS" => 2,
        "D" => 8,
        "EPS" => 1e-5f32.to_bits(),
        _ => 16,
    };
    let known = [
        "N", "K", "A_STRIDE", "W_ROWS", "Y_STRIDE", "P", "Q", "C", "COUNT", "F", "V", "QUADS", "H", "KV", "D", "LOOPS",
        "EPS",
    ];
    let declared = module
        .wgsl
        .split("override ")
        .skip(1)
        .filter_map(|rest| rest.split(';').next())
        .filter(|text| !text.contains('='));
    let named = declared.map(|text| text.split(':').next().unwrap_or_default().trim());
    named
        .map(|name| {
            (
                *known.iter().find(|k| **k == name).unwrap_or_else(|| panic!("{}: no value for {name}", module.kernel)),
                value(name),
            )
        })
        .collect()
}

/// One dispatch of a module on scratch memory, recorded, compiled and run on the device with `Step.rows = 0`.
async fn compile(device: &Rc<Device>, module: &'static Module) {
    let input = Input::new(device, 16).expect("an input");
    let mut rec = Recorder::new(device, &Pool::default(), &input, false);
    // Binding 0 is the step's, unless the kernel does without.
    let own = usize::from(module.bindings.first() == Some(&Access::Uniform));
    let scratch = |access: &Access| match access {
        Access::Uniform => Tensor::in_buffer(device.buffer("uniform", 256, Usage::Uniform).expect("a buffer"), 0, 1, 4),
        Access::Read | Access::ReadWrite => Tensor::owned(device, "scratch", 64, 64).expect("a tensor"),
    };
    let operands: Vec<Tensor> = module.bindings[own..].iter().map(scratch).collect();
    rec.dispatch(module.kernel, module.features, constants(module), [1, 1, 1], &operands.iter().collect::<Vec<_>>());
    if let Err(error) = rec.finish(&mut Progress::silent()).await {
        panic!("{} {:?}: {error}", module.kernel, module.features);
    }
}

/// Of the embedded base at a shape's default batch: pipelines to train, pipelines in all, then the dispatches of the
/// plans micro, update, evaluate, prefill and decode.
async fn counts(shape: Shape, batch: usize, seq_len: usize) -> [usize; 7] {
    let base = zeros(&device(shape).await, EMBEDDED).await;
    let adapter = adapter(&base, 8, "all-linear");
    let model = adapter.attach(&base);
    let training = Trainer::record(&model, &adapter.params(), batch, seq_len, false).expect("plans");
    let [micro, update] = training.recorders();
    let evaluation = Evaluator::record(&model, batch, seq_len).expect("a plan");
    let [evaluation] = evaluation.recorders();
    let generation = Generator::record(&model).expect("plans");
    let [prefill, decode] = generation.recorders();
    let export = ExportCheck::record(&base, &adapter, &[0; 32]).expect("plans");
    let distinct =
        |recorders: &[&Recorder]| recorders.iter().flat_map(|rec| rec.kernels()).collect::<BTreeSet<KernelKey>>().len();
    let to_train = [micro, update, evaluation];
    [
        distinct(&to_train),
        distinct(&[&to_train[..], &generation.recorders(), &export.recorders()].concat()),
        micro.dispatch_count(),
        update.dispatch_count(),
        evaluation.dispatch_count(),
        prefill.dispatch_count(),
        decode.dispatch_count(),
    ]
}

crate::device_tests! {
    async fn the_embedded_base_takes_so_many_pipelines_and_dispatches() {
        for (shape, batch, seq_len, expected) in [
            (Shape::Tiled, 8, 128, [42, 51, 360, 3, 152, 149, 149]),
            (Shape::Direct, 4, 64, [42, 51, 352, 3, 148, 149, 149]),
        ] {
            let found = counts(shape, batch, seq_len).await;
            assert!(found[0] <= 45 && found[1] <= 60, "{shape:?}: {found:?}");
            assert_eq!(found, expected, "{shape:?}");
        }
    }

    async fn a_plan_of_one_layer_reads_as_it_did() {
        let base = zeros(&device(Shape::Direct).await, ONE_LAYER).await;
        let adapter = adapter(&base, 2, "q_proj");
        let draft = Trainer::record(&adapter.attach(&base), &adapter.params(), 1, 8, false).expect("plans");
        let trainer = draft.finish(&mut Progress::silent()).await.expect("plans");
        let found = format!("micro\n{}\nupdate\n{}", trainer.micro_plan(), trainer.update_plan());
        assert!(found == include_str!("../fixtures/plan.txt"), "tests/fixtures/plan.txt should read\n{found}");
    }

    async fn without_an_adapter_nothing_is_recorded_for_backward() {
        for &shape in MODEL_SHAPES {
            let base = CASES[0].model(&device(shape).await).await;
            let forward = recorded(&base, 2, 24, false).dispatch_count();
            assert_eq!(recorded(&base, 2, 24, true).dispatch_count(), forward);
            let model = adapter(&base, 4, "all-linear").attach(&base);
            assert!(recorded(&model, 2, 24, true).dispatch_count() > 2 * forward);
        }
    }

    async fn nothing_is_recorded_below_the_first_adapter() {
        // (adapted linears of layer 0, of layer 1) → backward dispatches of (attention, the norms).
        let cases: [(&[Target], &[Target], [usize; 2]); 4] = [
            (&[], &[Target::Down], [0, 1]),
            (&[], &Target::ALL, [1, 2]),
            (&[Target::Down], &[Target::Down], [1, 3]),
            (&[Target::Q], &[Target::Q], [2, 4]),
        ];
        for &shape in MODEL_SHAPES {
            let base = CASES[0].model(&device(shape).await).await;
            let adapter = adapter(&base, 4, "all-linear");
            for (layer_0, layer_1, expected) in cases {
                let mut model = adapter.attach(&base);
                for (block, kept) in model.blocks.iter_mut().zip([layer_0, layer_1]) {
                    block
                        .linears
                        .iter_mut()
                        .filter(|(target, _)| !kept.contains(target))
                        .for_each(|(_, linear)| linear.lora = None);
                }
                let draft = Trainer::record(&model, &adapter.params(), 2, 24, false).expect("plans");
                let trainer = draft.finish(&mut Progress::silent()).await.expect("plans");
                let count =
                    |kernel: &str| trainer.micro_plan().kernels().iter().filter(|key| key.kernel == kernel).count();
                assert_eq!(
                    [count("attention_backward_q"), count("rms_norm_backward")],
                    expected,
                    "{layer_0:?} {layer_1:?}"
                );
            }
        }
    }

    async fn a_step_and_an_evaluation_make_no_buffer_and_no_pipeline() {
        for &shape in MODEL_SHAPES {
            let (device, facts) = (device(shape).await, CASES[0].facts());
            let base = CASES[0].model(&device).await;
            let adapter = adapter(&base, 4, "all-linear");
            let model = adapter.attach(&base);
            adapter.write(&device, &adapter.initial(1));
            let draft = Trainer::record(&model, &adapter.params(), facts.batch, facts.seq_len, false).expect("plans");
            let mut trainer = draft.finish(&mut Progress::silent()).await.expect("plans");
            let evaluation = Evaluator::record(&model, facts.batch, facts.seq_len).expect("a plan");
            let mut evaluator = evaluation.finish(&mut Progress::silent()).await.expect("a plan");
            let made = || (device.buffer_count(), device.bytes(), device.peak_bytes(), device.pipeline_count());
            let before = made();
            let settings = StepSettings { learning_rate: 1e-3, weight_decay: 0.0, clip: 1.0, dropout: 0.0, seed: 0 };
            for step in 1..=5 {
                let ticket = trainer.submit(&[facts.micro(), facts.micro()], settings, 2).expect("a step");
                trainer.result(ticket).await.expect("a result");
                let ticket = evaluator.submit(&facts.micro(), 1.0, 1).expect("an evaluation");
                evaluator.result(ticket).await.expect("a loss");
                assert_eq!(made(), before, "{shape:?}: step {step}");
            }
        }
    }

    async fn every_module_of_the_kernel_table_compiles_and_runs() {
        for shape in SHAPES {
            let device = device(shape).await;
            let other = SHAPES.into_iter().find(|s| *s != shape).map_or("", Shape::feature);
            for module in MODULES.iter().filter(|module| !module.features.contains(&other)) {
                compile(&device, module).await;
            }
        }
    }
}
