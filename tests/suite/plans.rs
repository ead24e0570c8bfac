//! Plans as data: how many pipelines and dispatches they need, what a small one looks like, and that replaying
//! allocates nothing.

use std::collections::BTreeSet;
use std::rc::Rc;

use tabtune::adapter::{Adapter, AdapterSpec, ExportCheck};
#[cfg(not(target_arch = "wasm32"))]
use tabtune::device::kernel::MODULES;
use tabtune::device::kernel::{ConstantKind, Module, Override};
#[cfg(not(target_arch = "wasm32"))]
use tabtune::device::kernel_table::MOST_GROUPS;
use tabtune::device::kernel_table::{KERNELS, Kernel, features_of, has_form};
use tabtune::device::tiling::tiles;
use tabtune::device::{
    Access, Constant, Constants, Device, Format, Geometry, KernelKey, Pool, Shape, Tensor, Tiling, Usage,
};
use tabtune::generate::Generator;
use tabtune::model::{Config, Target, Transformer};
use tabtune::ops::{ChunkSize, Chunks, cross_entropy};
use tabtune::plan::{Input, Progress, Recorder};
use tabtune::train::{Evaluator, StepSettings, Trainer, TrainerSettings};

use crate::check::{MODEL_SHAPES, SHAPES, device, pretending};
use crate::golden::CASES;
use crate::laws::{AGAIN, FAMILIES, case};

const EMBEDDED: &[u8] = include_bytes!("../../www/public/base/config.json");
const SMOLLM2: &[u8] = include_bytes!("../../src/bin/tabtune/bench/shapes/smollm2-135m.json");
const ONE_LAYER: &[u8] =
    br#"{ "model_type": "llama", "vocab_size": 24, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1,
    "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 16, "tie_word_embeddings": true }"#;

/// A model whose weights are all zero, because plans depend only on shapes.
fn zeros(device: &Rc<Device>, config: &[u8]) -> Transformer {
    let config = Config::parse(config).expect("a config");
    Transformer::zeros(device, config, &|_| Format::F32).expect("a model")
}

fn adapter(model: &Transformer, rank: usize, targets: &str) -> Adapter {
    Adapter::new(
        &model.device,
        &model.config,
        AdapterSpec::new(&model.config, rank, 2.0 * rank as f64, targets).expect("a spec"),
    )
    .expect("an adapter")
}

/// Records the forward pass of the loss and, with `train`, the backward pass.
fn recorded(model: &Transformer, batch: usize, seq_len: usize, train: bool) -> Recorder {
    let input = Input::new(&model.device, batch * seq_len).expect("an input");
    let mut rec = Recorder::new(&model.device, &model.pool, &input, train);
    let hidden = model.hidden(&mut rec, batch * seq_len, batch * seq_len, None);
    let chunks =
        Chunks::new(&model.device, batch * seq_len, model.config.vocabulary, ChunkSize::Small).expect("chunks");
    let totals = Tensor::owned(&model.device, "totals", 1, 2).expect("totals");
    cross_entropy(&mut rec, &hidden, model.head(), &chunks, &totals, true);
    rec.unwind();
    rec
}

/// Values for the `override` constants that have no default: small shapes that fit every kernel.
fn constants(module: &Module, geometry: &Geometry) -> Constants {
    let of_table = |name: &str| geometry.constants.iter().any(|(known, _)| *known == name);
    let given = module.overrides.iter().filter(|known| known.required && !of_table(known.name));
    let value = |known: &Override| match (known.kind, known.name) {
        (ConstantKind::F32, _) => Constant::from(1e-5),
        (ConstantKind::Bool, _) => Constant::from(true),
        (ConstantKind::U32, "H") => Constant::from(4),
        (ConstantKind::U32, "KV" | "LOOPS") => Constant::from(2),
        (ConstantKind::U32, "D") => Constant::from(8),
        (ConstantKind::U32, _) => Constant::from(16),
    };
    given.map(|known| (known.name, value(known))).collect()
}

/// Records one dispatch of a kernel on scratch memory, compiles it and runs it with `Step.rows = 0`. The problem is as
/// large as the tile of this row of the kernel table and larger than those of the rows before it, so that the recorder
/// chooses that row; of the tiles of a product, it is told to.
async fn compile(device: &Rc<Device>, kernel: &Kernel, features: Vec<&'static str>, geometry: &'static Geometry) {
    let tile = tiles(kernel.name).position(|tile| tile.constants == geometry.constants);
    let device = &match tile {
        Some(_) => pretending(Tiling { tile, splits: None }).await,
        None => device.clone(),
    };
    let input = Input::new(device, 16).expect("an input");
    let mut rec = Recorder::new(device, &Pool::default(), &input, false);
    let key = KernelKey { kernel: kernel.name, features, constants: Vec::new() };
    let module = key.module();
    // Binding 0 is the `Step` uniform, if the kernel has one.
    let own = usize::from(module.bindings.first() == Some(&Access::Uniform));
    let scratch = |access: &Access| match access {
        Access::Uniform => Tensor::in_buffer(device.buffer("uniform", 256, Usage::Uniform).expect("a buffer"), 0, 1, 4),
        Access::Read | Access::ReadWrite => Tensor::owned(device, "scratch", 64, 64).expect("a tensor"),
    };
    let operands: Vec<Tensor> = module.bindings[own..].iter().map(scratch).collect();
    let mut extents: Vec<(&str, usize)> = geometry.grid.iter().map(|(name, tile)| (*name, *tile as usize)).collect();
    let before = kernel.geometry.iter().take_while(|row| row.constants != geometry.constants);
    let before = before.filter(|row| row.shape == geometry.shape).filter_map(|row| row.grid.first());
    if let (Some((_, first)), Some((_, most))) = (extents.first_mut(), before.last()) {
        *first = (*first).max(*most as usize + 1);
    }
    extents.push(("depth", 16));
    let constants = constants(module, geometry);
    let own_features: Vec<_> = key.features.iter().copied().filter(|f| *f != geometry.shape).collect();
    rec.dispatch(kernel.name, &own_features, constants, &extents, &operands.iter().collect::<Vec<_>>());
    let recorded = rec.kernels().into_iter().next().expect("a kernel");
    for (name, value) in geometry.constants {
        assert!(recorded.constants.contains(&(*name, Constant::U32(*value))), "{}: {name}", recorded.label());
    }
    if let Err(error) = rec.finish(&mut Progress::silent()).await {
        panic!("{}: {error}", recorded.label());
    }
}

/// The message of the panic when a dispatch of `rms_norm_forward` is recorded with these constants.
#[cfg(not(target_arch = "wasm32"))]
fn refusal(device: &Rc<Device>, constants: &[(&'static str, Constant)]) -> String {
    let input = Input::new(device, 16).expect("an input");
    let mut rec = Recorder::new(device, &Pool::default(), &input, false);
    let x = rec.tensor(16, 16);
    let record = || rec.dispatch("rms_norm_forward", &[], constants.to_vec(), &[("rows", 16)], &[&x, &x, &x, &x]);
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(record)).expect_err("it is refused");
    panic.downcast_ref::<String>().cloned().unwrap_or_default()
}

#[cfg(not(target_arch = "wasm32"))]
#[test]
fn recording_refuses_unknown_and_missing_constants() {
    let device = Device::dry(Shape::Direct);
    let (c, eps) = (("C", Constant::from(16)), ("EPS", Constant::from(1e-5)));
    for (constants, words) in [
        (&[c, eps, ("D", Constant::from(8))][..], "rms_norm_forward-direct has no constant D"),
        (&[c], "rms_norm_forward-direct: the constant EPS is missing"),
        (&[c, ("EPS", Constant::from(1))], "rms_norm_forward-direct: the type of EPS"),
        (&[c, eps, c], "rms_norm_forward-direct: C is given twice"),
        (&[c, eps, ("GROUP", Constant::from(8))], "GROUP is given twice"),
    ] {
        let refused = refusal(&device, constants);
        assert!(refused.contains(words), "{refused}");
    }
}

/// A constant that is not found would silently keep its default.
#[cfg(not(target_arch = "wasm32"))]
#[test]
fn every_constant_stands_in_the_text_of_its_module() {
    for module in MODULES {
        let value = |known: &Override| match known.kind {
            ConstantKind::U32 => (Constant::from(12_345), "u32 = 12345"),
            ConstantKind::F32 => (Constant::from(1e-5), "f32 = 1e-5"),
            ConstantKind::Bool => (Constant::from(true), "bool = true"),
        };
        let constants = module.overrides.iter().map(|known| (known.name, value(known).0)).collect();
        let key = KernelKey { kernel: module.kernel, features: module.features.to_vec(), constants };
        let (label, wgsl) = (key.label(), key.wgsl());
        for known in module.overrides {
            let declared = format!("const {}: {};", known.name, value(known).1);
            assert!(wgsl.lines().any(|line| line == declared), "{label}: {declared}");
        }
        assert!(!wgsl.contains("override"), "{label}");
    }
}

#[cfg(not(target_arch = "wasm32"))]
#[test]
fn work_groups_cover_a_problem_and_no_more() {
    let extents = |rows, columns| [("rows", rows), ("columns", columns), ("depth", 64), ("splits", 1)];
    let groups = |kernel, shape, extents: &[(&'static str, usize)]| {
        let geometry = Geometry::of(kernel, &[], shape, extents, Tiling::default());
        (geometry.constants.to_vec(), geometry.groups(kernel, extents, MOST_GROUPS))
    };
    let of = |kernel, shape, rows, columns| groups(kernel, shape, &extents(rows, columns)).1;
    assert_eq!(of("matmul", Shape::Tiled, 1, 1), [1, 1, 1]);
    assert_eq!(of("matmul", Shape::Tiled, 65, 65), [3, 3, 1]);
    assert_eq!(groups("matmul", Shape::Direct, &[("blocks", 15)]).1, [2, 1, 1]);
    // Tall work groups cover a matrix with few columns, wide ones a matrix with many.
    for (columns, across, expected) in [(4, 1, [1, 2, 1]), (8, 2, [1, 3, 1]), (12, 4, [1, 5, 1]), (68, 16, [2, 17, 1])]
    {
        let (constants, found) = groups("matmul_tn", Shape::Tiled, &extents(132, columns));
        assert!(constants.contains(&("ACROSS", across)), "{columns} columns: {constants:?}");
        assert_eq!(found, expected, "{columns} columns");
    }
    // One dimension holds 65,535 work groups; the rest spill into the next dimension.
    let quads = |n| groups("adamw", Shape::Direct, &[("quads", n)]).1;
    assert_eq!(quads(64 * 65_535), [65_535, 1, 1]);
    assert_eq!(quads(64 * 65_535 + 1), [65_535, 2, 1]);
}

/// As attention_tile.wesl says, an invocation has 4 x 4 products and, of the sums, 8 x 4 (4 x 4 of two). What it says
/// of its work-group memory must fit in what every card has.
#[cfg(not(target_arch = "wasm32"))]
#[test]
fn tiles_of_attention_fit_their_work_groups() {
    for (kernel, owned, sums) in [
        ("attention_forward", "queries", 32),
        ("attention_backward_q", "queries", 32),
        ("attention_backward_kv", "rows", 16),
    ] {
        for (size, width) in [(4, 32), (32, 32), (36, 64), (64, 64), (128, 128), (132, 256), (256, 256)] {
            let extents = [("head size", size), (owned, 1), ("key heads", 1)];
            let geometry = Geometry::of(kernel, &[], Shape::Tiled, &extents, Tiling::default());
            let of = |name: &str| geometry.constants.iter().find(|(known, _)| *known == name).expect("a constant").1;
            let (group, own, passing) = (of("GROUP"), of("OWN"), of("PASSING"));
            let (depth, slice) = (of("DEPTH"), of("SLICE"));
            assert_eq!((of("WIDTH"), own * passing, own * width), (width, 16 * group, sums * group), "{kernel} {size}");
            assert!(depth % 4 == 0 && own % 4 == 0 && passing % slice == 0 && own <= group, "{kernel} {size}");
            // Of the lines of `stage` in quads: the numbers of a product, and the passing heads of a sum beside notes.
            let heads = (own + passing) / 4;
            let line = heads.max(width / 4 + of("NOTES"));
            let lines = depth.div_ceil(line / heads).max(slice).max(own / 4);
            let shrinks = if kernel == "attention_forward" { own } else { 0 };
            assert_eq!(of("NOTES"), if owned == "queries" { passing / 4 } else { 0 }, "{kernel} {size}");
            assert!(owned != "queries" || group <= line * lines, "{kernel} {size}");
            assert!(4 * (4 * line * lines + own * passing + shrinks) <= 16 << 10, "{kernel} {size}");
        }
    }
}

/// Counts for the embedded base at a kernel shape's default batch: pipelines for training, pipelines in total, then the
/// dispatches of the plans micro, update, evaluate, prefill and decode.
async fn counts(shape: Shape, batch: usize, seq_len: usize) -> [usize; 7] {
    let base = zeros(&Device::dry(shape), EMBEDDED);
    let adapter = adapter(&base, 8, "all-linear");
    let model = adapter.attach(&base);
    let training = Trainer::record(&model, &adapter.params(), TrainerSettings::new(batch, seq_len)).expect("plans");
    let [micro, update] = training.recorders();
    let evaluation = Evaluator::record(&model, batch, seq_len).expect("a plan");
    let [evaluation] = evaluation.recorders();
    let generation = Generator::record(&model, 1).expect("plans");
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
    async fn the_embedded_base_needs_the_expected_pipelines_and_dispatches() {
        for (shape, batch, seq_len, expected) in [
            (Shape::Tiled, 8, 128, [43, 57, 198, 3, 90, 94, 178]),
            (Shape::Direct, 4, 64, [47, 58, 421, 3, 176, 178, 178]),
        ] {
            let found = counts(shape, batch, seq_len).await;
            // Five more to train than with a key-value head for each head: the shapes of k and v are their own.
            assert!(found[0] <= 50 && found[1] <= 60, "{shape:?}: {found:?}");
            assert_eq!(found, expected, "{shape:?}");
        }
    }

    async fn the_listing_of_a_plan_of_one_layer_is_unchanged() {
        for (shape, rank, targets, name, expected) in [
            (Shape::Direct, 2, "q_proj", "plan_direct.txt", include_str!("../fixtures/plan_direct.txt")),
            (Shape::Tiled, 4, "all-linear", "plan_tiled.txt", include_str!("../fixtures/plan_tiled.txt")),
        ] {
            let base = zeros(&Device::dry(shape), ONE_LAYER);
            let adapter = adapter(&base, rank, targets);
            let draft =
                Trainer::record(&adapter.attach(&base), &adapter.params(), TrainerSettings::new(1, 8)).expect("plans");
            let trainer = draft.finish(&mut Progress::silent()).await.expect("plans");
            let found = format!("micro\n{}\nupdate\n{}", trainer.micro_plan(), trainer.update_plan());
            assert!(found == expected, "tests/fixtures/{name} should read\n{found}");
        }
    }

    async fn without_an_adapter_nothing_is_recorded_for_backward() {
        for &shape in MODEL_SHAPES {
            let base = CASES[0].model(&Device::dry(shape)).await;
            let forward = recorded(&base, 2, 24, false).dispatch_count();
            assert_eq!(recorded(&base, 2, 24, true).dispatch_count(), forward);
            let model = adapter(&base, 4, "all-linear").attach(&base);
            let forward = recorded(&model, 2, 24, false).dispatch_count();
            assert!(recorded(&model, 2, 24, true).dispatch_count() > 2 * forward);
        }
    }

    async fn a_block_keeps_less_for_its_backward_pass_if_it_is_asked_to() {
        let (batch, seq_len) = (2, 24);
        let config: serde_json::Value = serde_json::from_slice(EMBEDDED).expect("a config");
        // The bytes of activations and the dispatches of so many layers.
        let plan = |shape: Shape, layers: usize, (lean, checkpointing): (bool, bool)| {
            let mut config = config.clone();
            config["num_hidden_layers"] = layers.into();
            let base = zeros(&Device::dry(shape), config.to_string().as_bytes());
            let adapter = adapter(&base, 8, "all-linear");
            let settings = TrainerSettings { lean, checkpointing, ..TrainerSettings::new(batch, seq_len) };
            let draft = Trainer::record(&adapter.attach(&base), &adapter.params(), settings).expect("plans");
            [base.pool.bytes() as usize, draft.recorders()[0].dispatch_count()]
        };
        for &shape in MODEL_SHAPES {
            let a_layer = |again| {
                let ([two, few], [five, more]) = (plan(shape, 2, again), plan(shape, 5, again));
                [(five - two) / 3, (more - few) / 3]
            };
            let [usual, lean, checkpointed, both] = AGAIN.map(a_layer);
            if shape == Shape::Tiled {
                assert!(usual[1] <= 32, "{} dispatches a layer", usual[1]);
            }
            let Config { hidden, intermediate, .. } = Config::parse(EMBEDDED).expect("a config");
            let bytes = |numbers: usize| batch * seq_len * numbers * 4;
            // Two norms and silu(gate) · up are made again, once each although several linears read them.
            assert_eq!(lean, [usual[0] - bytes(2 * hidden + intermediate), usual[1] + 3], "{shape:?}");
            // Only the input of the block is kept.
            assert_eq!([checkpointed[0], both[0]], [bytes(hidden); 2], "{shape:?}");
            assert_eq!(both[1], checkpointed[1] + 3, "{shape:?}");
            // What is recorded again is a forward pass: less than a third of forward and backward.
            let ratio = checkpointed[1] as f64 / usual[1] as f64;
            assert!((1.2..1.5).contains(&ratio), "{shape:?}: {ratio} of the dispatches");
        }
    }

    /// A large card has 132 multiprocessors, each of which wants two work groups.
    async fn products_of_a_large_step_have_enough_work_groups() {
        let base = zeros(&Device::dry(Shape::Tiled), SMOLLM2);
        let adapter = adapter(&base, 8, "all-linear");
        let settings = TrainerSettings::new(4, 512);
        let draft = Trainer::record(&adapter.attach(&base), &adapter.params(), settings).expect("plans");
        let trainer = draft.finish(&mut Progress::silent()).await.expect("plans");
        let plan = trainer.micro_plan();
        let mut products = 0;
        for ((key, cost), groups) in plan.kernels().into_iter().zip(plan.costs(512)).zip(plan.groups()) {
            // Those of attention's keys have long loops; more groups would read every query and gradient more often.
            let least = if key.kernel == "attention_backward_kv" { 192 } else { 264 };
            if cost.flops.is_some_and(|flops| flops > 10e6) {
                products += 1;
                assert!(groups >= least, "{groups} groups of {} {:?}", key.label(), key.constants);
            }
        }
        assert!(products > 30 * 20, "{products} products");
    }

    /// Between the gather of the labelled rows and its way back, only the loss reads the `Step` of all rows.
    async fn after_the_last_attention_only_labelled_rows_are_computed() {
        let (batch, seq_len) = (2, 24);
        for (&shape, name) in MODEL_SHAPES.iter().flat_map(|shape| FAMILIES.map(|name| (shape, name))) {
            let base = case(name).model(&Device::dry(shape)).await;
            let adapter = adapter(&base, 4, "all-linear");
            let model = adapter.attach(&base);
            for (dropout, lean) in [(false, false), (false, true), (true, false), (true, true)] {
                let mut labelled = Vec::new();
                for checkpointing in [false, true] {
                    let settings = TrainerSettings { batch, seq_len, dropout, lean, checkpointing };
                    let draft = Trainer::record(&model, &adapter.params(), settings).expect("plans");
                    let trainer = draft.finish(&mut Progress::silent()).await.expect("plans");
                    let listing = trainer.micro_plan().to_string();
                    let of_labelled = |line: &&str| line.contains("(·+256 ");
                    labelled.push(listing.lines().filter(of_labelled).count());
                    if checkpointing {
                        continue;
                    }
                    let begins = |kernel: &str| listing.lines().position(|line| line.starts_with(kernel));
                    let gather = begins("gather_rows_forward").expect("the way there");
                    let back = begins("gather_rows_backward").expect("the way back");
                    for (i, line) in listing.lines().enumerate() {
                        let is_loss = line.starts_with("cross_entropy") || line.contains("-chunk");
                        let expected = (gather + 1..back).contains(&i) && !is_loss;
                        assert_eq!(of_labelled(&line), expected, "{name} {shape:?}, line {i} of\n{listing}");
                    }
                }
                assert!(labelled[0] > 12, "{name} {shape:?}: {labelled:?}");
                assert!(labelled[1] > labelled[0], "the last MLP is recorded again, {name} {shape:?}: {labelled:?}");
            }
        }
    }

    async fn nothing_is_recorded_below_the_first_adapter() {
        // (adapted linears of layer 0, of layer 1) → backward dispatches of (attention, norms).
        let cases: [(&[Target], &[Target], [usize; 2]); 4] = [
            (&[], &[Target::Down], [0, 1]),
            (&[], &Target::SEPARATE, [1, 2]),
            (&[Target::Down], &[Target::Down], [1, 3]),
            (&[Target::Q], &[Target::Q], [2, 4]),
        ];
        for &shape in MODEL_SHAPES {
            let base = CASES[0].model(&Device::dry(shape)).await;
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
                let draft = Trainer::record(&model, &adapter.params(), TrainerSettings::new(2, 24)).expect("plans");
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
            let draft = Trainer::record(&model, &adapter.params(), TrainerSettings::new(facts.batch, facts.seq_len))
                .expect("plans");
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
            for kernel in KERNELS {
                let rows = kernel.geometry.iter().filter(|row| ["", shape.feature()].contains(&row.shape));
                for row in rows {
                    // One tile is compiled with all features, the others differ from it in numbers only.
                    let other_tile = tiles(kernel.name).skip(1).any(|tile| tile.constants == row.constants);
                    let is_new = |set: &&&[_]| has_form(row.shape, set) && (!other_tile || set.is_empty());
                    // Sets that this shape does not tell apart are one module.
                    let sets = kernel.features.iter().filter(is_new).map(|set| features_of(row.shape, set));
                    let mut sets: Vec<_> = sets.collect();
                    sets.dedup();
                    for features in sets {
                        compile(&device, kernel, features, row).await;
                    }
                }
            }
        }
    }
}
