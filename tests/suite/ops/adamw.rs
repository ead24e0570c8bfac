//! `update`: norm, clip, AdamW, and the flag that stops all updates.

use std::rc::Rc;

use tabtune::device::{Device, Pool, Segments, Tensor};
use tabtune::ops::{UpdateBuffers, adamw};
use tabtune::plan::{Input, Plan, Progress, Recorder, Step};
use tabtune::random::SplitMix64;

use crate::check::{SHAPES, close64, device};
use crate::reference::*;

/// Exact in f32, as a step holds it. The decay is strong enough that omitting it would be noticed.
const LEARNING_RATE: f64 = 0.015625;
const WEIGHT_DECAY: f64 = 2.0;

/// The update of `n` parameters on the device, and the same in f64.
struct Optimizer {
    device: Rc<Device>,
    plan: Plan,
    buffers: UpdateBuffers,
    p: Vec<f64>,
    m: Vec<f64>,
    v: Vec<f64>,
    random: SplitMix64,
    step: i32,
}

impl Optimizer {
    /// With the numbers in segments of these lengths.
    async fn new(device: &Rc<Device>, lengths: &[usize]) -> Optimizer {
        let n = lengths.iter().sum();
        let segments = |label: &str| Segments::new(device, label, lengths).expect("segments");
        let tensor = |label: &str, n| Tensor::owned(device, label, 1, n).expect("a tensor");
        let buffers = UpdateBuffers {
            p: segments("p"),
            g: segments("g"),
            m: segments("m"),
            v: segments("v"),
            totals: tensor("totals", 2),
            state: tensor("state", 2),
            result: tensor("result", 4),
        };
        let input = Input::new(device, 1).expect("an input");
        let mut rec = Recorder::new(device, &Pool::default(), &input, false);
        adamw(&mut rec, &buffers);
        let plan = rec.finish(&mut Progress { done: 0, total: 0, report: &mut |_, _| {} }).await.expect("a plan");
        let mut optimizer = Optimizer {
            device: device.clone(),
            plan,
            buffers,
            p: vec![],
            m: vec![0.0; n],
            v: vec![0.0; n],
            random: SplitMix64(n as u64),
            step: 0,
        };
        optimizer.p = optimizer.noise(n);
        let p: Vec<f32> = optimizer.p.iter().map(|&x| x as f32).collect();
        optimizer.buffers.p.upload(device, &p);
        optimizer
    }

    fn noise(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| f64::from((2.0 * self.random.unit() - 1.0) as f32)).collect()
    }

    /// Runs one step on the device with this gradient and these totals. Returns {Σ loss, labels, norm, flags}.
    async fn submit(&mut self, g: &[f32], totals: [f32; 2], clip: f64) -> Vec<f32> {
        self.step += 1;
        self.buffers.g.upload(&self.device, g);
        self.buffers.totals.upload(&self.device, &totals);
        let step = Step {
            rows: 1,
            step: self.step as u32,
            learning_rate: LEARNING_RATE as f32,
            weight_decay: WEIGHT_DECAY as f32,
            clip: clip as f32,
            bias_1: (1.0 - 0.9f64.powi(self.step)) as f32,
            bias_2: (1.0 - 0.999f64.powi(self.step)).sqrt() as f32,
            ..Step::default()
        };
        self.plan.input.write_step(&self.device, &step);
        self.plan.submit(&self.device, 1);
        self.buffers.result.download(&self.device).await.expect("a result")
    }

    /// Checks that p, m and v equal the reference, and that the gradient and totals are zero for the next micro-batch.
    async fn check(&self, what: &str) {
        let b = &self.buffers;
        let what = format!("{what}, step {} of {} numbers, {:?}", self.step, self.p.len(), self.device.shape);
        for (name, tensor, expected) in [("p", &b.p, &self.p), ("m", &b.m, &self.m), ("v", &b.v, &self.v)] {
            // f32 holds 0.999 to within 2e-8, so 1 - 0.999 to within 2e-5, relative to itself: v errs by that much.
            let tolerance = if name == "v" { 5e-5 } else { 1e-5 };
            close64(
                &format!("{name}: {what}"),
                &tensor.download(&self.device).await.expect("a state"),
                expected,
                tolerance,
            );
        }
        let [g, totals] = [b.g.download(&self.device).await, b.totals.download(&self.device).await]
            .map(|found| found.expect("a state"));
        assert!(g.iter().chain(&totals).all(|&x| x == 0.0), "{what}: gradient and totals are zero again");
    }
}

/// Three steps with gradients of norm about sqrt(n / 3).
async fn steps(device: &Rc<Device>, lengths: &[usize], clip: f64) {
    let mut optimizer = Optimizer::new(device, lengths).await;
    let n = optimizer.p.len();
    for _ in 0..3 {
        let g = optimizer.noise(n);
        let totals = [2.5, 3.0];
        let found = optimizer.submit(&g.iter().map(|&x| x as f32).collect::<Vec<_>>(), totals, clip).await;
        let norm = global_norm(&[&g]);
        close64("result", &found, &[2.5, 3.0, norm, 0.0], 1e-6);
        let factor = if clip > 0.0 { clip_coefficient(norm, clip) } else { 1.0 };
        let clipped: Vec<f64> = g.iter().map(|g| g * factor).collect();
        let o = AdamW { lr: LEARNING_RATE, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: WEIGHT_DECAY };
        let Optimizer { p, m, v, step, .. } = &mut optimizer;
        adamw_step(p, &clipped, m, v, *step, &o);
        optimizer.check(&format!("clip {clip}")).await;
    }
}

/// After a gradient or loss that is not finite, finite ones change nothing any more, and the host learns of it each
/// time.
async fn stays_broken(device: &Rc<Device>, n: usize, what: &str, bad: Option<(usize, f32)>, loss: f32) {
    let mut optimizer = Optimizer::new(device, &[n]).await;
    let mut g = vec![0.25; n];
    if let Some((index, value)) = bad {
        g[index] = value;
    }
    assert_eq!(optimizer.submit(&g, [loss, 1.0], 1.0).await[3], 1.0, "{what}: the flag");
    optimizer.check(what).await;
    for _ in 0..2 {
        let found = optimizer.submit(&vec![0.25; n], [2.5, 1.0], 1.0).await;
        assert_eq!((found[0], found[3]), (2.5, 1.0), "{what}: the flag stays, the loss is reported");
        optimizer.check(what).await;
    }
}

crate::device_tests! {
    /// 4,160 numbers are one work group of quads more than the 1,024 invocations of the norm. A clip of 0 means none,
    /// and one of 1,000 has no effect. The norm is that of all segments.
    async fn update_equals_its_reference() {
        for shape in SHAPES {
            let device = device(shape).await;
            for lengths in [&[4][..], &[68], &[4160], &[68, 4160, 4]] {
                for clip in [0.0, 0.5, 1000.0] {
                    steps(&device, lengths, clip).await;
                }
            }
        }
    }

    async fn update_stops_for_good_when_something_is_not_finite() {
        for shape in SHAPES {
            let device = device(shape).await;
            for n in [68, 4160] {
                stays_broken(&device, n, "NaN in g", Some((n - 1, f32::NAN)), 2.5).await;
                stays_broken(&device, n, "infinity in g", Some((0, f32::INFINITY)), 2.5).await;
                stays_broken(&device, n, "minus infinity in g", Some((n / 2, f32::NEG_INFINITY)), 2.5).await;
                stays_broken(&device, n, "a norm larger than any f32", Some((1, 1e30)), 2.5).await;
                stays_broken(&device, n, "a loss that is NaN", None, f32::NAN).await;
                stays_broken(&device, n, "a loss that is infinite", None, f32::INFINITY).await;
            }
        }
    }
}
