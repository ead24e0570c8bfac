//! Records a plan. The tape exists only while recording: each op pushes a closure that records its backward dispatches
//! and owns exactly the activations that they read. Unwinding the tape runs the closures in reverse; dropping a closure
//! frees its activations.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use super::input::Input;
use super::kept::{Again, Kept};
use super::plan::{Dispatch, Operand, Plan, Progress};
use crate::device::kernel_table::features_of;
use crate::device::tensor::Place;
use crate::device::{Access, Constant, Constants, Device, Extents, KernelKey, Pool, Tensor};
use crate::error::Result;

/// A gradient. It does not exist until the first writer of the backward pass makes it.
pub type Grad = Rc<RefCell<Option<Tensor>>>;

/// A value while a plan is recorded. It has a gradient only if something trainable lies upstream.
#[derive(Clone)]
pub struct Var {
    pub data: Tensor,
    pub grad: Option<Grad>,
    /// How the backward pass of a lean plan makes it again. Whoever changes the value in place takes this away.
    pub(crate) again: Option<Rc<Again>>,
}

impl Var {
    pub fn frozen(data: Tensor) -> Var {
        Var::new(data, false)
    }

    /// A value with a gradient if `trained`.
    pub fn new(data: Tensor, trained: bool) -> Var {
        Var { data, grad: trained.then(Grad::default), again: None }
    }

    /// What a backward closure owns that reads the value.
    pub fn keep(&self) -> Kept {
        match &self.again {
            Some(again) => Kept::Again(again.clone()),
            None => Kept::Tensor(self.data.clone()),
        }
    }
}

type Backward = Box<dyn FnOnce(&mut Recorder)>;

/// Records dispatches and, with a tape, their backward pass.
///
/// ```no_run
/// # use std::{rc::Rc, slice::from_ref};
/// # use tabtune::device::{Device, Pool};
/// # use tabtune::ops::{Matrix, Param, Weight, project};
/// # use tabtune::plan::{Input, Plan, Progress, Recorder, Var};
/// # async fn example(device: &Rc<Device>, weight: &Weight, a: &Param, b: &Param) -> tabtune::error::Result<Plan> {
/// let input = Input::new(device, 64)?;
/// let mut rec = Recorder::new(device, &Pool::default(), &input, true);
/// let x = Var::frozen(rec.tensor(64, weight.cols));
/// // y = x Wᵀ + (x Aᵀ) Bᵀ
/// let y = project(&mut rec, None, &x, Matrix::Frozen(weight), None);
/// let z = project(&mut rec, None, &x, Matrix::Trained(from_ref(a)), None);
/// project(&mut rec, Some(y), &z, Matrix::Trained(from_ref(b)), None);
/// rec.finish(&mut Progress::silent()).await
/// # }
/// ```
pub struct Recorder {
    pub device: Rc<Device>,
    pub pool: Pool,
    pub input: Rc<Input>,
    dispatches: Vec<Dispatch>,
    cuts: Vec<usize>,
    tape: Option<Vec<Backward>>,
    /// Whether the rows of what is recorded are the labelled ones.
    labelled: bool,
    /// Whether the backward pass makes again what is cheap to make, instead of keeping it.
    pub lean: bool,
}

impl Recorder {
    /// Without `train`, nothing is recorded for the backward pass.
    pub fn new(device: &Rc<Device>, pool: &Pool, input: &Rc<Input>, train: bool) -> Recorder {
        let tape = train.then(Vec::new);
        Recorder {
            device: device.clone(),
            pool: pool.clone(),
            input: input.clone(),
            dispatches: Vec::new(),
            cuts: Vec::new(),
            tape,
            labelled: false,
            lean: false,
        }
    }

    pub fn trains(&self) -> bool {
        self.tape.is_some()
    }

    pub fn tensor(&self, rows: usize, cols: usize) -> Tensor {
        self.pool.tensor(rows, cols)
    }

    /// Appends a dispatch. `features` excludes the kernel's shape. `extents` is the size of the problem, from which the
    /// kernel table derives the group counts and the tile constants. `operands` are in the order of the shader's
    /// bindings; the `Step` uniform of a kernel that has one at binding 0 is added here.
    pub fn dispatch(
        &mut self,
        kernel: &'static str,
        features: &[&'static str],
        mut constants: Constants,
        extents: Extents<'_>,
        operands: &[&Tensor],
    ) {
        let geometry = self.device.geometry(kernel, features, extents);
        let features = features_of(geometry.shape, features);
        constants.extend(geometry.constants.iter().map(|(name, value)| (*name, Constant::U32(*value))));
        let key = KernelKey { kernel, features, constants };
        key.check_constants();
        let bindings = key.module().bindings;
        let mut all = Vec::with_capacity(bindings.len());
        if bindings.first() == Some(&Access::Uniform) {
            let Input { step, step_of_labelled, .. } = &*self.input;
            all.push(operand(if self.labelled { step_of_labelled } else { step }));
        }
        all.extend(operands.iter().map(|tensor| operand(tensor)));
        assert_eq!(all.len(), bindings.len(), "{}: bindings", key.label());
        let groups = geometry.groups(kernel, extents, self.device.max_groups);
        self.dispatches.push(Dispatch { key, groups, extents: extents.to_vec(), operands: all });
    }

    /// Records `body`, of which all rows are labelled ones, packed together. Its backward pass has the same rows.
    pub fn of_labelled<T>(&mut self, body: impl FnOnce(&mut Recorder) -> T) -> T {
        self.of_rows(true, body)
    }

    fn of_rows<T>(&mut self, labelled: bool, body: impl FnOnce(&mut Recorder) -> T) -> T {
        let before = std::mem::replace(&mut self.labelled, labelled);
        let recorded = body(self);
        self.labelled = before;
        recorded
    }

    /// Records `forward`, which writes y at little cost: the backward pass of a lean plan records it again.
    pub fn cheap(&mut self, y: Var, forward: impl Fn(&mut Recorder, &Tensor) + 'static) -> Var {
        forward(self, &y.data);
        self.made_by(y, forward)
    }

    /// Has the backward pass of a lean plan make y again instead of keeping it. What `forward` reads must be kept
    /// anyway, or made again itself: otherwise nothing is gained.
    pub fn made_by(&self, y: Var, forward: impl Fn(&mut Recorder, &Tensor) + 'static) -> Var {
        let again = (self.lean && y.grad.is_some()).then(|| Again::new(&y.data, forward));
        Var { again, ..y }
    }

    /// Where to write a gradient of this shape, and whether it must be added to what is already there.
    pub fn write(&mut self, grad: &Grad, rows: usize, cols: usize) -> (Tensor, bool) {
        let mut grad = grad.borrow_mut();
        match grad.as_ref() {
            Some(tensor) => {
                assert_eq!([tensor.rows, tensor.cols], [rows, cols], "the shape of a gradient must not change");
                assert!(tensor.is_sole_owner(1), "a gradient that is still in use elsewhere would be changed in place");
                (tensor.clone(), true)
            }
            None => {
                let tensor = self.pool.tensor(rows, cols);
                *grad = Some(tensor.clone());
                (tensor, false)
            }
        }
    }

    /// The gradient that later ops have written, or `None` if none of them reached this value.
    pub fn read(&self, grad: &Grad) -> Option<Tensor> {
        grad.borrow().clone()
    }

    /// Puts `backward` on the tape. It runs when the tape is unwound, after everything recorded later.
    pub fn on_backward(&mut self, backward: impl FnOnce(&mut Recorder) + 'static) {
        let labelled = self.labelled;
        if let Some(tape) = self.tape.as_mut() {
            tape.push(Box::new(move |rec| rec.of_rows(labelled, backward)));
        }
    }

    /// Puts `backward` on the tape if `grad` exists. When the tape is unwound, `backward` is called with that gradient,
    /// or not at all if no later op has written one.
    pub fn on_backward_of(&mut self, grad: &Option<Grad>, backward: impl FnOnce(&mut Recorder, Tensor) + 'static) {
        if let Some(grad) = grad.clone() {
            self.on_backward(move |rec| {
                let written = rec.read(&grad);
                drop(grad);
                if let Some(grad) = written {
                    backward(rec, grad);
                }
            });
        }
    }

    /// Records `body`, of which the tape keeps only the input: when the tape is unwound, `body` is recorded again, and
    /// its own backward pass right after it (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost").
    pub fn checkpoint(&mut self, x: Var, body: impl Fn(&mut Recorder, Var) -> Var + 'static) -> Var {
        if !self.trains() {
            return body(self, x);
        }
        let tape = self.tape.replace(Vec::new());
        let y = body(self, x.clone());
        // Replacing the body's own tape frees its activations.
        self.tape = tape;
        self.on_backward_of(&y.grad, move |rec, dy| {
            let tape = rec.tape.replace(Vec::new());
            match body(rec, x).grad {
                Some(grad) => grad.replace(Some(dy)),
                None => unreachable!("what is recorded again has a gradient, as it had the first time"),
            };
            rec.mark();
            rec.unwind();
            rec.tape = tape;
        });
        y
    }

    /// Allows a submission to end here, in the forward pass and at the same place in the backward pass.
    pub fn cut(&mut self) {
        self.mark();
        self.on_backward(|rec| rec.mark());
    }

    fn mark(&mut self) {
        if !self.dispatches.is_empty() && self.cuts.last() != Some(&self.dispatches.len()) {
            self.cuts.push(self.dispatches.len());
        }
    }

    /// Records the backward pass. `finish` does this too; call it earlier to learn which kernels a plan needs.
    pub fn unwind(&mut self) {
        while let Some(backward) = self.tape.as_mut().and_then(Vec::pop) {
            backward(self);
        }
    }

    pub fn kernels(&self) -> BTreeSet<KernelKey> {
        self.dispatches.iter().map(|dispatch| dispatch.key.clone()).collect()
    }

    pub(super) fn dispatches(&self) -> &[Dispatch] {
        &self.dispatches
    }

    pub fn dispatch_count(&self) -> usize {
        self.dispatches.len()
    }

    /// Unwinds the tape, makes buffers, bind groups and pipelines, and warms the pipelines up. Errors:
    /// `GpuLimit`, `GpuRefused` and `DeviceLost`.
    pub async fn finish(mut self, progress: &mut Progress<'_>) -> Result<Plan> {
        self.unwind();
        self.cuts.retain(|&cut| cut < self.dispatches.len());
        Plan::make(&self.device, &self.pool, &self.dispatches, self.cuts, self.input, progress).await
    }
}

fn operand(tensor: &Tensor) -> Operand {
    match &tensor.place {
        Place::Pooled(slot) => Operand::Slot { id: slot.id(), offset: tensor.offset, bytes: tensor.bytes() },
        Place::Owned(buffer) => Operand::Fixed { buffer: buffer.clone(), offset: tensor.offset, bytes: tensor.bytes() },
    }
}
