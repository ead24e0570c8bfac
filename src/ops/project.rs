//! y (+)= s · x Wᵀ: the only op with trained operands, so LoRA needs no backward code of its own.

use super::matmul::{Product, matmul_tn};
use super::weight::{Matrix, Weight, with_first};
use crate::device::Tensor;
use crate::plan::{Recorder, Var};

/// Records y = s · x Wᵀ, or y += s · x Wᵀ onto `onto`, with x [rows, K], W [N, K]. `site` holds s (`None` means 1).
///
/// Backward: dx (+)= s · dy W, and dW += s · dyᵀ x if W is trained.
pub fn project(rec: &mut Recorder, onto: Option<Var>, x: &Var, w: Matrix<'_>, site: Option<&Tensor>) -> Var {
    let slabs = w.slabs();
    let trained = match w {
        Matrix::Trained(slabs) => Some((slabs.to_vec(), x.keep())),
        Matrix::Frozen(_) => None,
    };
    let accumulate = onto.is_some();
    let is_trained = trained.is_some() || x.grad.is_some() || onto.as_ref().is_some_and(|y| y.grad.is_some());
    let has_grad = rec.trains() && is_trained;
    let y = match onto {
        Some(Var { data, grad: Some(grad), .. }) => Var { grad: Some(grad), ..Var::frozen(data) },
        Some(Var { data, grad: None, .. }) => Var::new(data, has_grad),
        None => Var::new(rec.tensor(x.data.rows, w.rows()), has_grad),
    };
    for slab in slabs.iter() {
        Product { accumulate, site, ..Product::forward(&x.data, slab, &y.data) }.record(rec);
    }
    if trained.is_none() && x.grad.is_none() {
        return y;
    }
    let (site, dx) = (site.cloned(), x.grad.clone());
    let (rows, n_in) = (x.data.rows, x.data.cols);
    rec.on_backward_of(&y.grad, move |rec, dy| {
        if let Some((slabs, x)) = trained {
            let x = x.tensor(rec);
            for (first, param) in with_first(&slabs) {
                matmul_tn(rec, &dy, first, &x, &param.grad, site.as_ref());
            }
        }
        if let Some(dx) = dx {
            let (dx, mut accumulate) = rec.write(&dx, rows, n_in);
            for slab in slabs.iter() {
                Product { accumulate, site: site.as_ref(), ..Product::backward(&dy, slab, &dx) }.record(rec);
                accumulate = true;
            }
        }
    });
    y
}

/// Records y = x Wᵀ into an existing tensor, without a backward pass: for logits that the host reads. `chunk` says how
/// many rows y has room for, which may be fewer than the plan has; a y of one row needs no chunk.
pub fn project_into(rec: &mut Recorder, x: &Tensor, weight: &Weight, y: &Tensor, chunk: Option<&Tensor>) {
    let chunk = chunk.filter(|_| x.rows > 1);
    for slab in weight.slabs.iter() {
        Product { chunk, ..Product::forward(x, slab, y) }.record(rec);
    }
}
