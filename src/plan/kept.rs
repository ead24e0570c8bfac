//! What the backward pass reads of a value: the tensor that the forward pass has left, or one that is made again.

use std::cell::RefCell;
use std::rc::Rc;

use super::recorder::Recorder;
use crate::device::Tensor;

type Forward = Box<dyn Fn(&mut Recorder, &Tensor)>;

/// What a backward closure owns of a value that it reads.
pub enum Kept {
    Tensor(Tensor),
    Again(Rc<Again>),
}

/// A value that is recorded again by whoever reads it first, and freed with the last who may.
pub struct Again {
    made: RefCell<Option<Tensor>>,
    rows: usize,
    cols: usize,
    forward: Forward,
}

impl Again {
    /// A value like `y`, which `forward` has written.
    pub(super) fn new(y: &Tensor, forward: impl Fn(&mut Recorder, &Tensor) + 'static) -> Rc<Again> {
        Rc::new(Again { made: RefCell::default(), rows: y.rows, cols: y.cols, forward: Box::new(forward) })
    }
}

impl Kept {
    /// The value, in the backward pass.
    pub fn tensor(&self, rec: &mut Recorder) -> Tensor {
        let again = match self {
            Kept::Tensor(tensor) => return tensor.clone(),
            Kept::Again(again) => again,
        };
        let made = again.made.borrow().clone();
        made.unwrap_or_else(|| {
            let tensor = rec.tensor(again.rows, again.cols);
            (again.forward)(rec, &tensor);
            again.made.replace(Some(tensor.clone()));
            tensor
        })
    }
}
