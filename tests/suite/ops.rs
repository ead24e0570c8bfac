//! Every op of `src/ops`, forward and backward, against the f64 references, in every kernel shape and with edge shapes.

mod adamw;
mod add;
mod attention;
mod bias;
mod cross_entropy;
mod dropout;
mod embed;
mod gather_rows;
mod gelu;
mod layer_norm;
mod learned_positions;
mod low_rank;
mod project;
mod rms_norm;
mod rope;
mod split;
mod swiglu;

use std::rc::Rc;

use tabtune::device::{Device, Format, Pool, Stored, Tensor};
use tabtune::ops::{Slab, Weight};
use tabtune::plan::{Grad, Input, Lists, Progress, Recorder, Step, Var};
use tabtune::random::SplitMix64;

use crate::check::close64;

/// (rows that the plan has room for, rows of the step): one, a prime, one past a tile, and fewer than there is room
/// for.
const ROWS: [(usize, usize); 4] = [(1, 1), (7, 7), (65, 65), (70, 67)];

/// How frozen weights are stored.
const FORMATS: [Format; 4] = [Format::F32, Format::F16, Format::Int8, Format::Int4];

/// A test bed for one plan: random operands, a recorder, and the results that the plan should leave.
///
/// Rows past `Step.rows` hold NaN in every operand, because nothing may depend on them. Memory that a plan must only
/// write holds NaN before the plan runs. Memory that a plan adds to is filled before warming up, which must leave it
/// unchanged.
struct Bed {
    name: String,
    device: Rc<Device>,
    rec: Recorder,
    step: Step,
    /// Tokens, labels, labelled rows and their inverse, as `Input::write` expects them.
    lists: [Vec<u32>; 4],
    /// The row at which the sequence of each row begins.
    starts: Vec<u32>,
    /// Relative to the largest expected magnitude. f32 sums of a hundred products err by a few 2^-24, so usually by
    /// less than 1e-6.
    tolerance: f64,
    /// How `weight` stores its matrices.
    format: Format,
    random: SplitMix64,
    room: usize,
    expected: Vec<Expected>,
}

struct Expected {
    what: &'static str,
    found: Found,
    values: Vec<f64>,
    /// The plan must write it without reading it.
    fresh: bool,
}

/// Where a result is found. Gradients have no tensor before the tape is unwound.
enum Found {
    Data(Tensor),
    Grad(Grad),
}

impl Bed {
    /// A bed for a plan of one sequence with `room` rows, of which the step has `rows`.
    fn new(device: &Rc<Device>, name: &str, (room, rows): (usize, usize)) -> Bed {
        let input = Input::new(device, room).expect("an input");
        let step = Step { rows: rows as u32, step: 1, inv_labels: 1.0, strength: 1.0, ..Step::default() };
        Bed {
            name: format!("{name}, {rows} rows of {room}, {:?}", device.shape),
            device: device.clone(),
            rec: Recorder::new(device, &Pool::default(), &input, true),
            step,
            lists: Default::default(),
            starts: Vec::new(),
            tolerance: 1e-5,
            format: Format::F32,
            random: SplitMix64(rows as u64),
            room,
            expected: Vec::new(),
        }
    }

    fn rows(&self) -> usize {
        self.step.rows as usize
    }

    /// Has the rows be sequences of these lengths.
    fn cut(&mut self, lengths: &[usize]) {
        assert_eq!(lengths.iter().sum::<usize>(), self.rows(), "{}: the lengths of sequences", self.name);
        for length in lengths {
            let start = self.starts.len();
            self.starts.resize(start + length, start as u32);
        }
    }

    /// The place of each row in its sequence.
    fn places(&self) -> Vec<usize> {
        self.starts.iter().enumerate().map(|(row, start)| row - *start as usize).collect()
    }

    /// Numbers in [-1, 1) that f32 holds exactly.
    fn noise(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| f64::from((2.0 * self.random.unit() - 1.0) as f32)).collect()
    }

    /// A whole number below `n`.
    fn below(&mut self, n: usize) -> usize {
        (self.random.next_u64() % n as u64) as usize
    }

    fn filled(&self, rows: usize, cols: usize, values: &[f64]) -> Tensor {
        let tensor = Tensor::owned(&self.device, "operand", rows, cols).expect("a tensor");
        let mut all: Vec<f32> = values.iter().map(|&x| x as f32).collect();
        all.resize(rows * cols, f32::NAN);
        tensor.upload(&self.device, &all);
        tensor
    }

    /// A random matrix of exactly this size.
    fn matrix(&mut self, rows: usize, cols: usize) -> (Tensor, Vec<f64>) {
        let values = self.noise(rows * cols);
        (self.filled(rows, cols, &values), values)
    }

    /// A random frozen weight in slabs of at most `most` rows.
    fn weight(&mut self, rows: usize, cols: usize, most: usize) -> (Weight, Vec<f64>) {
        let mut all = Vec::new();
        let mut slabs = Vec::new();
        for first in (0..rows).step_by(most) {
            let rows = most.min(rows - first);
            let noise = self.noise(rows * cols);
            let values = self.storable(noise);
            let stored = Stored::new(&self.device, "weight", rows, cols, self.format).expect("a matrix");
            stored.upload(&self.device, 0, &values.iter().map(|&x| x as f32).collect::<Vec<f32>>());
            slabs.push(Slab { first, stored });
            all.extend(values);
        }
        (Weight { rows, cols, slabs: Rc::new(slabs) }, all)
    }

    /// Random frozen weights of so many rows each that stand one after the other.
    fn stacked(&mut self, rows: &[usize], cols: usize) -> Vec<(Weight, Vec<f64>)> {
        let stack = Stored::stack(&self.device, "weights", rows, cols, self.format).expect("matrices");
        let fill = |stored: Stored| {
            let noise = self.noise(stored.rows * cols);
            let values = self.storable(noise);
            stored.upload(&self.device, 0, &values.iter().map(|&x| x as f32).collect::<Vec<f32>>());
            (Weight { rows: stored.rows, cols, slabs: Rc::new(vec![Slab { first: 0, stored }]) }, values)
        };
        stack.expect("rows of whole bindings").into_iter().map(fill).collect()
    }

    /// Numbers near these that the format of weights holds. In a group with a scale, the first has the largest
    /// magnitude that there is, so that it tells the scale; some scales are subnormal.
    fn storable(&self, values: Vec<f64>) -> Vec<f64> {
        let half = |x: f64| half::f16::from_f64(x).to_f64();
        let grouped = |first: f64, most: f64| {
            let group = |(i, group): (usize, &[f64])| {
                let scale = half(if i % 5 == 4 { group[0] / 50_000.0 } else { group[0] / most });
                let number = |(i, x): (usize, &f64)| if i == 0 { first } else { (x * most).round() };
                group.iter().enumerate().map(|number_at| scale * number(number_at)).collect::<Vec<f64>>()
            };
            values.chunks(32).enumerate().flat_map(group).collect()
        };
        match self.format {
            Format::F32 => values,
            Format::F16 => values.into_iter().map(half).collect(),
            Format::Int8 => grouped(127.0, 127.0),
            Format::Int4 => grouped(-8.0, 7.0),
        }
    }

    /// A width of at least `cols` that the format of weights can hold.
    fn width(&self, cols: usize) -> usize {
        cols.next_multiple_of(self.format.group())
    }

    /// A random activation with something trainable upstream.
    fn var(&mut self, cols: usize) -> (Var, Vec<f64>) {
        let values = self.noise(self.rows() * cols);
        (self.var_of(cols, &values), values)
    }

    fn var_of(&self, cols: usize, values: &[f64]) -> Var {
        Var::new(self.filled(self.room, cols, values), true)
    }

    /// Gives `y` a random upstream gradient. Call it between recording the op and `check`.
    fn seed(&mut self, y: &Var) -> (Tensor, Vec<f64>) {
        let values = self.noise(self.rows() * y.data.cols);
        let dy = self.filled(self.room, y.data.cols, &values);
        *y.grad.as_ref().expect("an op downstream of something trained has a gradient").borrow_mut() = Some(dy.clone());
        (dy, values)
    }

    /// Expects the plan to assign `values` to the first rows of `tensor`.
    fn writes(&mut self, what: &'static str, tensor: &Tensor, values: Vec<f64>) {
        self.expected.push(Expected { what, found: Found::Data(tensor.clone()), values, fresh: true });
    }

    /// Expects the plan to make the gradient of `x` and to assign `values` to it.
    fn writes_grad(&mut self, what: &'static str, x: &Var, values: Vec<f64>) {
        let grad = x.grad.clone().expect("a gradient");
        self.expected.push(Expected { what, found: Found::Grad(grad), values, fresh: true });
    }

    /// Expects the gradient of `x` to be one that already exists.
    fn keeps_grad(&mut self, what: &'static str, x: &Var, values: Vec<f64>) {
        let grad = x.grad.clone().expect("a gradient");
        self.expected.push(Expected { what, found: Found::Grad(grad), values, fresh: false });
    }

    /// Expects the plan to change the contents of `tensor` into `values`.
    fn changes(&mut self, what: &'static str, tensor: &Tensor, values: Vec<f64>) {
        self.expected.push(Expected { what, found: Found::Data(tensor.clone()), values, fresh: false });
    }

    /// Runs the plan once and compares its results.
    async fn check(self) {
        let Bed { name, device, rec, step, lists, starts, tolerance, expected, .. } = self;
        let plan = rec.finish(&mut Progress::silent()).await.expect("a plan");
        let found: Vec<(Tensor, Expected)> = expected.into_iter().map(|e| (e.found.tensor(&name, e.what), e)).collect();
        for (tensor, _) in found.iter().filter(|(_, e)| e.fresh) {
            tensor.upload(&device, &vec![f32::NAN; tensor.rows * tensor.cols.next_multiple_of(4)]);
        }
        let [tokens, labels, rows, slot_of_row] = &lists;
        plan.input.write(&device, &step, &Lists { tokens, labels, rows, starts: &starts, slot_of_row });
        plan.submit(&device, 1);
        for (tensor, Expected { what, values, .. }) in found {
            let all = tensor.download(&device).await.expect("a result");
            close64(&format!("{what} of {name}"), &all[..values.len()], &values, tolerance);
        }
    }
}

impl Found {
    fn tensor(&self, name: &str, what: &str) -> Tensor {
        match self {
            Found::Data(tensor) => tensor.clone(),
            Found::Grad(grad) => grad.borrow().clone().unwrap_or_else(|| panic!("{name}: nothing wrote {what}")),
        }
    }
}

fn sum(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

fn times(s: f64, a: &[f64]) -> Vec<f64> {
    a.iter().map(|a| s * a).collect()
}
