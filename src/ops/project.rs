//! y (+)= s · x Wᵀ: the only op with trained operands, so LoRA needs no backward code of its own.

use std::rc::Rc;

use crate::device::{Device, Shape, Tensor};
use crate::error::Result;
use crate::plan::{Recorder, Var};

/// A frozen matrix [rows, cols], cut into slabs of rows that fit the adapter's largest binding. Each slab says how its
/// numbers are stored.
#[derive(Clone)]
pub struct Weight {
    pub rows: usize,
    pub cols: usize,
    pub slabs: Rc<Vec<Slab>>,
}

impl Weight {
    /// Bytes on the device.
    pub fn bytes(&self) -> u64 {
        self.slabs.iter().map(|slab| slab.tensor.bytes()).sum()
    }

    /// The numbers, row by row.
    pub async fn download(&self, device: &Device) -> Result<Vec<f32>> {
        let mut values = Vec::with_capacity(self.rows * self.cols);
        for slab in self.slabs.iter() {
            values.extend(slab.tensor.download(device).await?);
        }
        Ok(values)
    }
}

/// Rows `first…` of a weight.
pub struct Slab {
    pub first: usize,
    pub tensor: Tensor,
}

/// A trained matrix: a range in the flat buffers of parameters and of their gradients. Columns are padded to a multiple
/// of four with zeros.
#[derive(Clone)]
pub struct Param {
    pub value: Tensor,
    pub grad: Tensor,
}

/// The operand W of `project`. A frozen one has no gradient, by type.
#[derive(Clone, Copy)]
pub enum Matrix<'a> {
    Frozen(&'a Weight),
    Trained(&'a Param),
}

/// Records y = s · x Wᵀ, or y += s · x Wᵀ onto `onto`, with x [rows, K], W [N, K]. `site` holds s as data (`None`: 1).
///
/// Backward: dx (+)= s · dy W, and dW += s · dyᵀ x if W is trained.
pub fn project(rec: &mut Recorder, onto: Option<Var>, x: &Var, w: Matrix<'_>, site: Option<&Tensor>) -> Var {
    let trained = matches!(w, Matrix::Trained(_));
    let (slabs, cols) = match w {
        Matrix::Frozen(weight) => (weight.slabs.clone(), weight.rows),
        Matrix::Trained(param) => (Rc::new(vec![Slab { first: 0, tensor: param.value.clone() }]), param.value.rows),
    };
    let accumulate = onto.is_some();
    let has_grad = rec.trains() && (trained || x.grad.is_some() || onto.as_ref().is_some_and(|y| y.grad.is_some()));
    let y = match onto {
        Some(Var { data, grad: Some(grad) }) => Var { data, grad: Some(grad) },
        Some(Var { data, grad: None }) => Var::new(data, has_grad),
        None => Var::new(rec.tensor(x.data.rows, cols), has_grad),
    };
    for slab in slabs.iter() {
        let place = Place { n: slab.tensor.rows, offset: slab.first, stride: y.data.cols, accumulate };
        forward(rec, &x.data, &slab.tensor, &y.data, place, site, None);
    }
    let Some(dy) = y.grad.clone().filter(|_| trained || x.grad.is_some()) else { return y };
    let site = site.cloned();
    let param = match w {
        Matrix::Trained(param) => Some((param.clone(), x.data.clone())),
        Matrix::Frozen(_) => None,
    };
    let dx = x.grad.clone();
    let (rows, n_in) = (x.data.rows, x.data.cols);
    rec.on_backward(move |rec| {
        let Some(dy) = rec.read(&dy) else { return };
        if let Some((param, x)) = param {
            accumulate_outer(rec, &dy, &x, &param.grad, site.as_ref());
        }
        if let Some(dx) = dx {
            let (dx, mut accumulate) = rec.write(&dx, rows, n_in);
            for slab in slabs.iter() {
                project_slab(rec, &dy, &slab.tensor, slab.first, &dx, accumulate, site.as_ref(), None);
                accumulate = true;
            }
        }
    });
    y
}

/// Records y = x Wᵀ into a tensor that exists already, with no way back: logits that the host reads. `chunk` says how
/// many rows y has room for, which may be fewer than the plan's.
pub fn project_into(rec: &mut Recorder, x: &Tensor, weight: &Weight, y: &Tensor, chunk: Option<&Tensor>) {
    for slab in weight.slabs.iter() {
        let place = Place { n: slab.tensor.rows, offset: slab.first, stride: y.cols, accumulate: false };
        forward(rec, x, &slab.tensor, y, place, None, chunk);
    }
}

struct Place {
    n: usize,
    offset: usize,
    stride: usize,
    accumulate: bool,
}

fn forward(
    rec: &mut Recorder,
    x: &Tensor,
    w: &Tensor,
    y: &Tensor,
    place: Place,
    site: Option<&Tensor>,
    chunk: Option<&Tensor>,
) {
    if x.rows == 1 {
        return matmul_vec(rec, x, w, y, place, site);
    }
    let mut constants =
        vec![("N", place.n as u32), ("K", x.cols.next_multiple_of(4) as u32), ("W_ROWS", w.rows as u32)];
    constants.extend([
        ("A_STRIDE", x.cols.next_multiple_of(4) as u32),
        ("Y_STRIDE", place.stride.next_multiple_of(4) as u32),
    ]);
    if place.offset > 0 {
        constants.push(("Y_OFFSET", place.offset as u32));
    }
    dispatch_matmul(rec, &[], constants, x.rows, place.n, place.accumulate, [x, w, y], site, chunk);
}

fn matmul_vec(rec: &mut Recorder, x: &Tensor, w: &Tensor, y: &Tensor, place: Place, site: Option<&Tensor>) {
    let mut constants =
        vec![("N", place.n as u32), ("K", x.cols.next_multiple_of(4) as u32), ("W_ROWS", w.rows as u32)];
    if place.offset > 0 {
        constants.push(("Y_OFFSET", place.offset as u32));
    }
    if place.accumulate {
        constants.push(("ACCUMULATE", 1));
    }
    let quads = place.n.div_ceil(4);
    let groups = match rec.device.shape {
        Shape::Tiled => [quads.div_ceil(4), 1, 1],
        Shape::Direct => [quads.div_ceil(8), 1, 1],
    };
    let features: Vec<&str> = w.format.feature().into_iter().chain(site.map(|_| "site")).collect();
    let features = rec.shaped(&features);
    let operands: Vec<&Tensor> = [x, w, y].into_iter().chain(site).collect();
    rec.dispatch("matmul_vec", &features, constants, groups, &operands);
}

/// Records y (+)= s · a[:, first…] W, contracting columns of `a` with the rows of W that the slab `w` holds: the way
/// back through a matrix.
#[expect(clippy::too_many_arguments, reason = "one dispatch with its operands; a struct would only rename them")]
pub(super) fn project_slab(
    rec: &mut Recorder,
    a: &Tensor,
    w: &Tensor,
    first: usize,
    y: &Tensor,
    accumulate: bool,
    site: Option<&Tensor>,
    chunk: Option<&Tensor>,
) {
    let mut constants = vec![("N", w.cols as u32), ("K", w.rows.next_multiple_of(4) as u32), ("W_ROWS", w.rows as u32)];
    constants
        .extend([("A_STRIDE", a.cols.next_multiple_of(4) as u32), ("Y_STRIDE", y.cols.next_multiple_of(4) as u32)]);
    if first > 0 {
        constants.push(("A_OFFSET", first as u32));
    }
    dispatch_matmul(rec, &["nn"], constants, a.rows, w.cols, accumulate, [a, w, y], site, chunk);
}

/// Records logits = x Wᵀ for one slab and one chunk of labelled rows.
pub(super) fn project_chunk(rec: &mut Recorder, x: &Tensor, w: &Tensor, y: &Tensor, chunk: &Tensor) {
    forward(rec, x, w, y, Place { n: w.rows, offset: 0, stride: y.cols, accumulate: false }, None, Some(chunk));
}

#[expect(clippy::too_many_arguments, reason = "one dispatch with its operands; a struct would only rename them")]
fn dispatch_matmul(
    rec: &mut Recorder,
    form: &[&'static str],
    mut constants: Vec<(&'static str, u32)>,
    rows: usize,
    cols: usize,
    accumulate: bool,
    operands: [&Tensor; 3],
    site: Option<&Tensor>,
    chunk: Option<&Tensor>,
) {
    if accumulate {
        constants.push(("ACCUMULATE", 1));
    }
    let groups = match rec.device.shape {
        Shape::Tiled => [cols.div_ceil(64), rows.div_ceil(64), 1],
        Shape::Direct => [rows.div_ceil(64), cols.div_ceil(16), 1],
    };
    let mut features = form.to_vec();
    features.extend(operands[1].format.feature());
    features.extend(site.map(|_| "site"));
    features.extend(chunk.map(|_| "chunk"));
    let features = rec.shaped(&features);
    let operands: Vec<&Tensor> = operands.into_iter().chain(site).chain(chunk).collect();
    rec.dispatch("matmul", &features, constants, groups, &operands);
}

/// Records g += s · aᵀ b, [P, Q] from a [rows, P] and b [rows, Q].
fn accumulate_outer(rec: &mut Recorder, a: &Tensor, b: &Tensor, g: &Tensor, site: Option<&Tensor>) {
    let (p, q) = (a.cols.next_multiple_of(4), b.cols.next_multiple_of(4));
    let mut constants = vec![("P", p as u32), ("Q", q as u32)];
    let groups = match rec.device.shape {
        Shape::Tiled => {
            let across = (q / 4).next_power_of_two().min(16);
            constants.push(("ACROSS", across as u32));
            [(q / 4).div_ceil(across), p.div_ceil(8 * 16 / across), 1]
        }
        Shape::Direct => [p.div_ceil(64), q.div_ceil(8), 1],
    };
    let features = rec.shaped(if site.is_some() { &["site"] } else { &[] });
    let operands: Vec<&Tensor> = [a, b, g].into_iter().chain(site).collect();
    rec.dispatch("matmul_tn", &features, constants, groups, &operands);
}
