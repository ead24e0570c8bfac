//! Records a plan. The tape exists only while recording: each op pushes a closure that records its backward dispatches,
//! and owns exactly the activations these read. Unwinding the tape runs the closures in reverse; dropping one gives its
//! activations' memory back.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use super::input::Input;
use super::plan::{Dispatch, Operand, Plan, Progress};
use crate::device::tensor::Place;
use crate::device::{Access, Constants, Device, KernelKey, Pool, Tensor};
use crate::error::Result;

/// A gradient that does not exist until backward's first writer makes it.
pub type Grad = Rc<RefCell<Option<Tensor>>>;

/// A value while a plan is recorded. It has a gradient only if something trainable lies upstream.
#[derive(Clone)]
pub struct Var {
    pub data: Tensor,
    pub grad: Option<Grad>,
}

impl Var {
    pub fn frozen(data: Tensor) -> Var {
        Var { data, grad: None }
    }

    /// A value with a gradient if `trained`.
    pub fn new(data: Tensor, trained: bool) -> Var {
        Var { data, grad: trained.then(Grad::default) }
    }
}

type Backward = Box<dyn FnOnce(&mut Recorder)>;

pub struct Recorder {
    pub device: Rc<Device>,
    pub pool: Pool,
    pub input: Rc<Input>,
    dispatches: Vec<Dispatch>,
    cuts: Vec<usize>,
    tape: Option<Vec<Backward>>,
}

impl Recorder {
    /// With `train` off nothing is recorded for backward.
    pub fn new(device: &Rc<Device>, pool: &Pool, input: &Rc<Input>, train: bool) -> Recorder {
        let tape = train.then(Vec::new);
        Recorder {
            device: device.clone(),
            pool: pool.clone(),
            input: input.clone(),
            dispatches: Vec::new(),
            cuts: Vec::new(),
            tape,
        }
    }

    pub fn trains(&self) -> bool {
        self.tape.is_some()
    }

    pub fn tensor(&self, rows: usize, cols: usize) -> Tensor {
        self.pool.tensor(rows, cols)
    }

    /// Appends a dispatch. `operands` follow the shader's bindings; a kernel whose binding 0 is the `Step` uniform gets
    /// it by itself.
    pub fn dispatch(
        &mut self,
        kernel: &'static str,
        features: &[&'static str],
        constants: Constants,
        groups: [usize; 3],
        operands: &[&Tensor],
    ) {
        let key = KernelKey { kernel, features: features.to_vec(), constants };
        let bindings = key.module().bindings;
        let mut all = Vec::with_capacity(bindings.len());
        if bindings.first() == Some(&Access::Uniform) {
            all.push(Operand::Fixed { buffer: self.input.buffer.clone(), offset: 0, bytes: 256 });
        }
        all.extend(operands.iter().map(|tensor| operand(tensor)));
        assert_eq!(all.len(), bindings.len(), "{kernel} {features:?}: bindings");
        self.dispatches.push(Dispatch { key, groups: groups.map(|n| n as u32), operands: all });
    }

    /// The features of the adapter's kernel shape, with `more`.
    pub fn shaped(&self, more: &[&'static str]) -> Vec<&'static str> {
        [&[self.device.shape.feature()], more].concat()
    }

    /// Where to write a gradient of this shape, and whether something is already there to add to.
    pub fn write(&mut self, grad: &Grad, rows: usize, cols: usize) -> (Tensor, bool) {
        let mut grad = grad.borrow_mut();
        match grad.as_ref() {
            Some(tensor) => {
                assert!(tensor.is_sole_owner(1), "a gradient that is still read elsewhere would be changed in place");
                (tensor.clone(), true)
            }
            None => {
                let tensor = self.pool.tensor(rows, cols);
                *grad = Some(tensor.clone());
                (tensor, false)
            }
        }
    }

    /// The gradient that later ops have written; `None` if none of them reached this value.
    pub fn read(&self, grad: &Grad) -> Option<Tensor> {
        grad.borrow().clone()
    }

    /// Puts `backward` on the tape. It runs when the tape is unwound, after everything recorded later.
    pub fn on_backward(&mut self, backward: impl FnOnce(&mut Recorder) + 'static) {
        if let Some(tape) = self.tape.as_mut() {
            tape.push(Box::new(backward));
        }
    }

    /// A submission may end here, forward and, on the way back, backward.
    pub fn cut(&mut self) {
        self.mark();
        self.on_backward(|rec| rec.mark());
    }

    fn mark(&mut self) {
        if !self.dispatches.is_empty() && self.cuts.last() != Some(&self.dispatches.len()) {
            self.cuts.push(self.dispatches.len());
        }
    }

    /// Records the backward pass. `finish` does it too; call it before to know the kernels that a plan needs.
    pub fn unwind(&mut self) {
        while let Some(backward) = self.tape.as_mut().and_then(Vec::pop) {
            backward(self);
        }
    }

    pub fn kernels(&self) -> BTreeSet<KernelKey> {
        self.dispatches.iter().map(|dispatch| dispatch.key.clone()).collect()
    }

    pub fn dispatch_count(&self) -> usize {
        self.dispatches.len()
    }

    /// Unwinds the tape, makes buffers, bind groups and pipelines, and warms the pipelines up. Errors: whatever the
    /// adapter refuses.
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
