//! The matrix products of a training step and nothing else, in a browser on the CPU: what a step would take if norms,
//! attention, activations and the loss were free.

use std::rc::Rc;
use std::slice::from_ref;

use tabtune::device::{Choice, Device, DeviceOptions, Pool, Stored, Tensor};
use tabtune::error::Result;
use tabtune::ops::{Matrix, Param, Slab, Weight, project};
use tabtune::plan::{Input, Plan, Progress, Recorder, Step, Var};
use wasm_bindgen::prelude::*;

/// The shape of the model and of the step; attention's matrices are square and have adapters.
#[wasm_bindgen]
#[derive(Clone, Copy)]
pub struct Shape {
    rows: usize,
    layers: usize,
    hidden: usize,
    inner: usize,
    vocabulary: usize,
    rank: usize,
}

#[wasm_bindgen]
impl Shape {
    #[wasm_bindgen(constructor)]
    pub fn new(rows: usize, layers: usize, hidden: usize, inner: usize, vocabulary: usize, rank: usize) -> Shape {
        Shape { rows, layers, hidden, inner, vocabulary, rank }
    }
}

#[wasm_bindgen]
pub struct Products {
    device: Rc<Device>,
    plan: Plan,
    rows: usize,
    /// Floating-point operations of a run.
    #[wasm_bindgen(readonly)]
    pub operations: f64,
}

#[wasm_bindgen]
impl Products {
    pub async fn create(shape: Shape) -> std::result::Result<Products, JsError> {
        Ok(record(shape).await?)
    }

    pub async fn run(&self) -> std::result::Result<(), JsError> {
        let rows = self.rows as u32;
        let step = Step { rows, labelled: rows, strength: 1.0, ..Step::default() };
        self.plan.input.write_step(&self.device, &step);
        self.plan.submit(&self.device, 1);
        Ok(self.device.finished().await?)
    }
}

async fn record(shape: Shape) -> Result<Products> {
    let device = Device::new(DeviceOptions { choice: Choice::Cpu, ..DeviceOptions::default() }).await?;
    let pool = Pool::default();
    let input = Input::new(&device, shape.rows)?;
    let mut rec = Recorder::new(&device, &pool, &input, true);
    let mut products = Recorded { device: &device, rows: shape.rows, rec: &mut rec, operations: 0.0 };
    for _ in 0..shape.layers {
        for _ in 0..4 {
            products.frozen(shape.hidden, shape.hidden)?;
            products.adapter(shape.hidden, shape.rank)?;
        }
        products.frozen(shape.inner, shape.hidden)?;
        products.frozen(shape.inner, shape.hidden)?;
        products.frozen(shape.hidden, shape.inner)?;
    }
    products.frozen(shape.vocabulary, shape.hidden)?;
    let operations = products.operations;
    let plan = rec.finish(&mut Progress::silent()).await?;
    Ok(Products { device, plan, rows: shape.rows, operations })
}

struct Recorded<'a> {
    device: &'a Rc<Device>,
    rows: usize,
    rec: &'a mut Recorder,
    operations: f64,
}

impl Recorded<'_> {
    fn tensor(&self, rows: usize, cols: usize) -> Result<Tensor> {
        let tensor = Tensor::owned(self.device, "numbers", rows, cols)?;
        let numbers: Vec<f32> = (0..rows * cols).map(|i| ((i * 7919) % 1000) as f32 * 1e-4 - 0.05).collect();
        tensor.upload(self.device, &numbers);
        Ok(tensor)
    }

    fn input(&self, cols: usize) -> Result<Var> {
        Ok(Var::new(self.tensor(self.rows, cols)?, true))
    }

    fn param(&self, rows: usize, cols: usize) -> Result<Param> {
        Ok(Param { value: self.tensor(rows, cols)?, grad: self.tensor(rows, cols)? })
    }

    /// The gradient of an output, where the loss would have left it.
    fn given(&self, y: &Var) -> Result<()> {
        if let Some(grad) = &y.grad {
            *grad.borrow_mut() = Some(self.tensor(y.data.rows, y.data.cols)?);
        }
        Ok(())
    }

    /// y = x Wᵀ and dx = dy W
    fn frozen(&mut self, n: usize, k: usize) -> Result<()> {
        let stored = Stored::f32(self.tensor(n, k)?);
        let weight = Weight { rows: n, cols: k, slabs: Rc::new(vec![Slab { first: 0, stored }]) };
        let y = project(self.rec, None, &self.input(k)?, Matrix::Frozen(&weight), None);
        self.operations += 2.0 * 2.0 * (self.rows * n * k) as f64;
        self.given(&y)
    }

    /// y = (x Aᵀ) Bᵀ and the gradients of x, A and B
    fn adapter(&mut self, width: usize, rank: usize) -> Result<()> {
        let (a, b) = (self.param(rank, width)?, self.param(width, rank)?);
        let low = project(self.rec, None, &self.input(width)?, Matrix::Trained(from_ref(&a)), None);
        let y = project(self.rec, None, &low, Matrix::Trained(from_ref(&b)), None);
        self.operations += 6.0 * 2.0 * (self.rows * width * rank) as f64;
        self.given(&y)
    }
}
