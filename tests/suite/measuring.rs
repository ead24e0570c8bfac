//! What measurements rest on: the work of a plan against numbers counted by hand, profiles, the probes, and models of
//! random numbers.

use std::rc::Rc;
use std::slice::from_ref;

use tabtune::device::{Device, DeviceOptions, Format, Pool, Shape, Stored, Tensor, Usage};
use tabtune::model::{Config, Role, Storage, Transformer};
use tabtune::ops::{Attention, Heads, LowRank, Matrix, Param, Slab, Weight, add, attention, low_rank, project};
use tabtune::plan::{Cost, Input, Plan, Progress, Recorder, Step, Var};
use tabtune::random::SplitMix64;

use crate::check::SHAPES;

const ROWS: usize = 6;
const SMALL: &[u8] =
    br#"{ "model_type": "llama", "vocab_size": 96, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 16, "tie_word_embeddings": false }"#;

/// The shapes of `tabtune bench --shape`, and how many numbers such a model has: of the published ones, what the
/// Hugging Face Hub says.
const SHAPES_BY_NAME: [(&[u8], usize); 4] = [
    (include_bytes!("../../src/bin/tabtune/bench/shapes/config-s.json"), 5_795_072),
    (include_bytes!("../../src/bin/tabtune/bench/shapes/smollm2-135m.json"), 134_515_008),
    (include_bytes!("../../src/bin/tabtune/bench/shapes/qwen2.5-0.5b.json"), 494_032_768),
    (include_bytes!("../../src/bin/tabtune/bench/shapes/llama-3.2-1b.json"), 1_235_814_400),
];

async fn timed(shape: Shape) -> Rc<Device> {
    let options = DeviceOptions { shape: Some(shape), timestamps: true, ..DeviceOptions::default() };
    Device::new(options).await.expect("a device")
}

fn recorder(device: &Rc<Device>) -> Recorder {
    Recorder::new(device, &Pool::default(), &Input::new(device, ROWS).expect("an input"), true)
}

fn tensor(device: &Device, rows: usize, cols: usize) -> Tensor {
    Tensor::owned(device, "test", rows, cols).expect("a tensor")
}

fn weight(device: &Device, rows: usize, cols: usize, format: Format) -> Weight {
    let stored = Stored::new(device, "w", rows, cols, format).expect("a weight");
    Weight { rows, cols, slabs: Rc::new(vec![Slab { first: 0, stored }]) }
}

/// Has the backward pass of `y` begin with a gradient of its own.
fn seed(device: &Device, y: &Var) {
    let grad = y.grad.as_ref().expect("a gradient");
    *grad.borrow_mut() = Some(tensor(device, y.data.rows, y.data.cols));
}

/// Kernel, FLOPs and bytes of every dispatch.
async fn counted(rec: Recorder, seq_len: usize) -> Vec<(&'static str, Cost)> {
    let plan = rec.finish(&mut Progress::silent()).await.expect("a plan");
    plan.kernels().iter().map(|key| key.kernel).zip(plan.costs(seq_len)).collect()
}

fn cost(flops: impl Into<Option<f64>>, bytes: impl Into<Option<f64>>) -> Cost {
    Cost { flops: flops.into(), bytes: bytes.into() }
}

/// A plan of two dispatches, and the y that it leaves: y = 2 (x Wᵀ).
async fn twice(device: &Rc<Device>) -> (Plan, Tensor) {
    let input = Input::new(device, ROWS).expect("an input");
    let mut rec = Recorder::new(device, &Pool::default(), &input, false);
    let numbers = |count: usize| (0..count).map(|i| (i * 7 % 13) as f32 - 6.0).collect::<Vec<f32>>();
    let (x, w) = (tensor(device, ROWS, 8), tensor(device, 12, 8));
    x.upload(device, &numbers(ROWS * 8));
    w.upload(device, &numbers(12 * 8));
    let w = Weight { rows: 12, cols: 8, slabs: Rc::new(vec![Slab { first: 0, stored: Stored::f32(w) }]) };
    let product = project(&mut rec, None, &Var::frozen(x), Matrix::Frozen(&w), None);
    let y = add(&mut rec, &product, &product).data;
    let plan = rec.finish(&mut Progress::silent()).await.expect("a plan");
    plan.input.write_step(device, &Step { rows: ROWS as u32, strength: 1.0, ..Step::default() });
    (plan, y)
}

crate::device_tests! {
    /// x [6, 8] and W [12, 8]: 2 · 6 · 8 · 12 operations, and each of 48, 96 and 72 numbers once.
    async fn the_work_of_frozen_products_is_counted() {
        for shape in SHAPES {
            let device = Device::dry(shape);
            for (format, weight_bytes) in [(Format::F32, 384.0), (Format::F16, 192.0)] {
                let mut rec = recorder(&device);
                let x = Var::new(tensor(&device, ROWS, 8), true);
                let w = weight(&device, 12, 8, format);
                let y = project(&mut rec, None, &x, Matrix::Frozen(&w), None);
                let y = project(&mut rec, Some(y), &x, Matrix::Frozen(&w), None);
                seed(&device, &y);
                let others = 4.0 * (48.0 + 72.0);
                let expected = [
                    cost(1152.0, others + weight_bytes),
                    // What is added to is read, too: 72 numbers of y, then 48 of dx.
                    cost(1152.0, others + weight_bytes + 4.0 * 72.0),
                    cost(1152.0, others + weight_bytes),
                    cost(1152.0, others + weight_bytes + 4.0 * 48.0),
                ];
                let expected: Vec<_> = expected.into_iter().map(|cost| ("matmul", cost)).collect();
                assert_eq!(counted(rec, ROWS).await, expected, "{shape:?} {format:?}");
            }
        }
    }

    /// g [4, 8] += dyᵀ x with dy [6, 4] and x [6, 8]; a product of one row.
    async fn the_work_of_other_products_is_counted() {
        for shape in SHAPES {
            let device = Device::dry(shape);
            let mut rec = recorder(&device);
            let x = Var::frozen(tensor(&device, ROWS, 8));
            let a = Param { value: tensor(&device, 4, 8), grad: tensor(&device, 4, 8) };
            let z = project(&mut rec, None, &x, Matrix::Trained(from_ref(&a)), None);
            seed(&device, &z);
            let one = Var::frozen(tensor(&device, 1, 8));
            project(&mut rec, None, &one, Matrix::Frozen(&weight(&device, 12, 8, Format::F32)), None);
            let expected = [
                ("matmul", cost(384.0, 4.0 * (48.0 + 32.0 + 24.0))),
                ("matmul_vec", cost(192.0, 4.0 * (8.0 + 96.0 + 12.0))),
                ("matmul_tn", cost(384.0, 4.0 * (24.0 + 48.0 + 2.0 * 32.0))),
            ];
            assert_eq!(counted(rec, ROWS).await, expected, "{shape:?}");
        }
    }

    /// x [6, 8], W [12, 8], A [4, 8] and B [12, 4]: z = x Aᵀ, y = x Wᵀ + z Bᵀ, u = dy B, dx = dy W + u A, and the
    /// gradients uᵀ x and dyᵀ z. z and u take up 16 rows. A and its gradient take up 256 bytes.
    async fn the_work_of_joined_low_rank_terms_is_counted() {
        let device = Device::dry(Shape::Tiled);
        let mut rec = recorder(&device);
        let x = Var::new(tensor(&device, ROWS, 8), true);
        let [values, grads] = ["p", "g"].map(|label| device.buffer(label, 448, Usage::Storage).expect("a buffer"));
        let param = |offset, rows, cols| Param {
            value: Tensor::in_buffer(values.clone(), offset, rows, cols),
            grad: Tensor::in_buffer(grads.clone(), offset, rows, cols),
        };
        let site = Tensor::in_buffer(device.buffer("site", 256, Usage::Uniform).expect("a buffer"), 0, 1, 4);
        let weight = weight(&device, 12, 8, Format::F32);
        let linear = LowRank { weight, a: param(0, 4, 8), b: param(256, 12, 4), site };
        let y = low_rank(&mut rec, &x, &[linear]).swap_remove(0);
        seed(&device, &y);
        let (a, b, w, narrow, slice) = (32.0, 48.0, 96.0, 64.0, 24.0);
        let expected = [
            ("low_rank_forward", cost(2.0 * 6.0 * 8.0 * 4.0, 4.0 * (48.0 + a + narrow))),
            ("matmul", cost(2.0 * 6.0 * 12.0 * (8.0 + 4.0), 4.0 * (48.0 + w + 72.0 + slice + b))),
            ("low_rank_backward", cost(2.0 * 6.0 * 4.0 * 12.0, 4.0 * (72.0 + b + narrow))),
            ("matmul", cost(2.0 * 6.0 * 8.0 * (12.0 + 4.0), 4.0 * (72.0 + w + 48.0 + slice + a))),
            ("low_rank_gradients", cost(2.0 * 6.0 * (a + b), 4.0 * (48.0 + 2.0 * narrow + 72.0 + 2.0 * 112.0))),
        ];
        assert_eq!(counted(rec, ROWS).await, expected);
    }

    /// x [6, 64] and two linears of rank 4 whose weights [8, 64] and [4, 64] stand one after the other: one product
    /// forward, and one backward that assigns dx. z and u take up 16 rows for each linear.
    async fn the_work_of_stacked_products_is_counted() {
        let device = Device::dry(Shape::Tiled);
        let mut rec = recorder(&device);
        let x = Var::new(tensor(&device, ROWS, 64), true);
        let [values, grads] = ["p", "g"].map(|label| device.buffer(label, 1 << 12, Usage::Storage).expect("a buffer"));
        let param = |offset, rows, cols| Param {
            value: Tensor::in_buffer(values.clone(), offset, rows, cols),
            grad: Tensor::in_buffer(grads.clone(), offset, rows, cols),
        };
        let site = Tensor::in_buffer(device.buffer("site", 256, Usage::Uniform).expect("a buffer"), 0, 1, 4);
        let weights = Stored::stack(&device, "w", &[8, 4], 64, Format::F32).expect("matrices").expect("a stack");
        let linears: Vec<LowRank> = (0..)
            .zip(weights)
            .map(|(i, stored)| {
                let (a, b) = (param(2048 * i, 4, 64), param(2048 * i + 1024, stored.rows, 4));
                let weight = Weight { rows: stored.rows, cols: 64, slabs: Rc::new(vec![Slab { first: 0, stored }]) };
                LowRank { weight, a, b, site: site.clone() }
            })
            .collect();
        for y in low_rank(&mut rec, &x, &linears) {
            seed(&device, &y);
        }
        let (x, y, w, narrow, a, b) = (384.0, 72.0, 768.0, 128.0, 512.0, 48.0);
        let expected = [
            ("matmul", cost(2.0 * 6.0 * 12.0 * (64.0 + 4.0), 4.0 * (x + w + y + narrow + b))),
            ("matmul", cost(2.0 * 6.0 * 64.0 * (12.0 + 8.0), 4.0 * (y + w + x + narrow + a))),
        ];
        let mut found = counted(rec, ROWS).await;
        found.retain(|(kernel, _)| *kernel == "matmul");
        assert_eq!(found, expected);
    }

    /// Two sequences of three queries see 1 + 2 + 3 keys each, or 1 + 2 + 2 through a window of two: for each of two
    /// heads of four numbers, two products forward, three for the queries and four for the keys and values.
    async fn the_work_of_attention_is_counted() {
        for shape in SHAPES {
            let device = Device::dry(shape);
            for (window, pairs) in [(None, 12.0), (Some(2), 10.0)] {
                let mut rec = recorder(&device);
                let heads = Heads { query: 2, key: 1, size: 4 };
                let [q, k, v] = [8, 4, 4].map(|cols| Var::new(tensor(&device, ROWS, cols), true));
                let how = Attention { heads, window, scale: None, cache: None };
                let o = attention(&mut rec, &q, &k, &v, how);
                seed(&device, &o);
                let flops: f64 = counted(rec, 3).await.iter().filter_map(|(_, cost)| cost.flops).sum();
                assert_eq!(flops, (2.0 + 3.0 + 4.0) * 2.0 * 4.0 * 2.0 * pairs, "{shape:?} {window:?}");
            }
        }
    }

    /// Adding is no product; what nobody has counted has no numbers.
    async fn work_that_is_not_known_is_not_invented() {
        let device = Device::dry(Shape::Tiled);
        let mut rec = recorder(&device);
        let x = Var::frozen(tensor(&device, ROWS, 8));
        add(&mut rec, &x, &x);
        let [partials, totals, state, result] = [1, 2, 2, 4].map(|cols| tensor(&device, 1, cols));
        let operands = [&partials, &totals, &state, &result];
        rec.dispatch("adamw_clip", &[], vec![("PARTIALS", 1.into())], &[], &operands);
        let expected = [("add", cost(None, 3.0 * 4.0 * 48.0)), ("adamw_clip", cost(None, None))];
        assert_eq!(counted(rec, ROWS).await, expected);
    }

    async fn a_profile_computes_what_a_submission_does_and_times_every_dispatch() {
        for shape in SHAPES {
            let device = timed(shape).await;
            let (plan, y) = twice(&device).await;
            plan.submit(&device, 1);
            let expected = y.download(&device).await.expect("y");
            assert!(expected.iter().any(|y| *y != 0.0));
            y.upload(&device, &vec![f32::NAN; expected.len()]);
            let dispatches = plan.profile(&device, ROWS).await.expect("a profile");
            assert_eq!(y.download(&device).await.expect("y"), expected, "{shape:?}");
            let kernels: Vec<_> = dispatches.iter().map(|dispatch| dispatch.key.kernel).collect();
            assert_eq!(kernels, ["matmul", "add"], "{shape:?}");
            let spans: Vec<_> = dispatches.iter().flat_map(|it| [it.span.begin, it.span.end]).collect();
            assert!(spans.is_sorted(), "{shape:?}: {spans:?}");
            // A browser rounds what it tells of time.
            assert!(cfg!(target_arch = "wasm32") || spans[3] > spans[0], "{shape:?}: {spans:?}");
        }
    }

    async fn timing_how_long_it_takes_to_encode_submits_nothing() {
        for shape in SHAPES {
            let device = timed(shape).await;
            let (plan, y) = twice(&device).await;
            y.upload(&device, &[5.0; ROWS * 12]);
            let ms = plan.time_to_encode(&device);
            assert_eq!(ms.is_some(), shape != Shape::Cpu, "{shape:?}");
            assert!(ms.is_none_or(|ms| ms >= 0.0), "{shape:?}: {ms:?}");
            assert_eq!(y.download(&device).await.expect("y"), [5.0; ROWS * 12], "{shape:?}");
        }
    }

    async fn the_memory_probe_copies_every_number() {
        for shape in SHAPES {
            let device = timed(shape).await;
            // One past what a work group copies, and more than one thread's share.
            for quads in [513, 5000] {
                let mut rec = recorder(&device);
                let [x, y] = [(); 2].map(|()| tensor(&device, 1, quads * 4));
                let numbers: Vec<f32> = (0..quads * 4).map(|i| i as f32 + 0.5).collect();
                x.upload(&device, &numbers);
                rec.dispatch("copy_probe", &[], vec![("QUADS", quads.into())], &[("quads", quads)], &[&x, &y]);
                let plan = rec.finish(&mut Progress::silent()).await.expect("a plan");
                plan.submit(&device, 1);
                assert_eq!(y.download(&device).await.expect("y"), numbers, "{shape:?} {quads}");
                assert_eq!(plan.costs(1), [cost(None, 32.0 * quads as f64)]);
            }
        }
    }

    async fn published_shapes_have_the_published_sizes() {
        for (config, parameters) in SHAPES_BY_NAME {
            assert_eq!(Config::parse(config).expect("a config").parameters(), parameters);
        }
    }

    async fn a_random_model_has_matrices_of_the_usual_deviation() {
        let device = timed(Shape::Cpu).await;
        let config = Config::parse(SMALL).expect("a config");
        for (storage, format) in [(Storage::F32, Format::F32), (Storage::Int8, Format::Int8)] {
            let mut random = SplitMix64(3);
            let model =
                Transformer::random(&device, config.clone(), storage, &mut || random.unit()).await.expect("a model");
            assert_eq!(model.format(Role::Head), format);
            let head = model.head().download(&device).await.expect("numbers");
            let variance = head.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / head.len() as f64;
            // Of 6,144 uniform numbers, four deviations of the estimate are 5 % of 0.02².
            assert!((variance / 4e-4 - 1.0).abs() < 0.05, "{variance}");
            assert!(head.iter().all(|x| x.abs() <= 0.0347), "at most 0.02 · √3");
        }
    }
}
