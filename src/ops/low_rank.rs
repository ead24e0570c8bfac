//! Linears with a LoRA pair each that read the same activation: y = x Wᵀ + s (x Aᵀ) Bᵀ (Hu et al. 2021). In the plain
//! form, each is three calls of `project`. Cards have a second form, in which the low-rank term is more of the sum that
//! the product with W computes, and what has R columns takes one dispatch for all linears.

use std::slice::from_ref;

use super::add::{add, pass_on};
use super::matmul::{Extension, Product};
use super::project::project;
use super::weight::{Matrix, Param, Weight};
use crate::device::{Constant, Constants, Geometry, Tensor};
use crate::plan::{Grad, Recorder, Var};

/// A frozen weight [out, in], its A [R, in] and B [out, R], and the uniform that holds s.
#[derive(Clone)]
pub struct LowRank {
    pub weight: Weight,
    pub a: Param,
    pub b: Param,
    pub site: Tensor,
}

/// How many linears the kernels take at once: q, k and v.
const MOST: usize = 3;

/// So many rows of a multiple of four columns end at a multiple of 256 bytes.
const ROWS: usize = 16;

/// Records the y of each linear; all of them read x.
pub fn low_rank(rec: &mut Recorder, x: &Var, linears: &[LowRank]) -> Vec<Var> {
    if let Some(stack) = Stack::of(rec, x, linears) {
        return stack.record(rec, x, None);
    }
    let alone = |linear| match Stack::of(rec, x, from_ref(linear)) {
        Some(stack) => stack.record(rec, x, None),
        None => vec![plain(rec, x, linear)],
    };
    linears.iter().flat_map(alone).collect()
}

/// Records r + y for the y of a linear, where r is a residual.
pub fn low_rank_onto(rec: &mut Recorder, r: &Var, x: &Var, linear: &LowRank) -> Var {
    match Stack::of(rec, x, from_ref(linear)) {
        Some(stack) => stack.record(rec, x, Some(r)).swap_remove(0),
        None => {
            let y = plain(rec, x, linear);
            add(rec, r, &y)
        }
    }
}

fn plain(rec: &mut Recorder, x: &Var, LowRank { weight, a, b, site }: &LowRank) -> Var {
    let y = project(rec, None, x, Matrix::Frozen(weight), None);
    let z = project(rec, None, x, Matrix::Trained(from_ref(a)), None);
    project(rec, Some(y), &z, Matrix::Trained(from_ref(b)), Some(site))
}

/// Linears of one rank whose A and B are ranges of one buffer.
struct Stack {
    linears: Vec<LowRank>,
    rank: usize,
    /// From the first A on, all of A and B, and their gradients.
    values: Tensor,
    grads: Tensor,
}

impl Stack {
    /// `None` if they do not fit together, or if the device or one row wants the plain form.
    fn of(rec: &Recorder, x: &Var, linears: &[LowRank]) -> Option<Stack> {
        if x.data.rows == 1 || !Geometry::exists("low_rank_forward", rec.device.shape) {
            return None;
        }
        let rank = linears.first().filter(|_| linears.len() <= MOST)?.a.value.rows;
        let fits = |LowRank { weight, a, .. }: &LowRank| {
            a.value.rows == rank && [rank, weight.rows, weight.cols].iter().all(|size| size.is_multiple_of(4))
        };
        let spanning = |part: fn(&Param) -> &Tensor| {
            Tensor::spanning(&linears.iter().flat_map(|linear| [part(&linear.a), part(&linear.b)]).collect::<Vec<_>>())
        };
        let (values, grads) = (spanning(|param| &param.value)?, spanning(|param| &param.grad)?);
        linears.iter().all(fits).then(|| Stack { linears: linears.to_vec(), rank, values, grads })
    }

    /// Each y is added to `onto`, if there is one.
    fn record(self, rec: &mut Recorder, x: &Var, onto: Option<&Var>) -> Vec<Var> {
        let rows = x.data.rows;
        let z = self.narrow(rec, rows);
        self.record_forward(rec, &x.data, &z);
        let mut ys = Vec::with_capacity(self.linears.len());
        for (i, linear) in self.linears.iter().enumerate() {
            let (y, z) = (rec.tensor(rows, linear.weight.rows), self.part(&z, i, rows));
            for slab in linear.weight.slabs.iter() {
                let onto = onto.map(|r| &r.data);
                let extension = Some(Extension { onto, ..extension(linear, &z, &linear.b) });
                Product { extension, ..Product::forward(&x.data, slab, &y) }.record(rec);
            }
            ys.push(Var::new(y, rec.trains()));
        }
        let grads: Vec<Grad> = ys.iter().filter_map(|y| y.grad.clone()).collect();
        let (x, dx) = (x.keep(), x.grad.clone());
        let dr = onto.and_then(|r| r.grad.clone());
        rec.on_backward(move |rec| {
            let written: Vec<Tensor> = grads.iter().filter_map(|grad| rec.read(grad)).collect();
            drop(grads);
            if written.is_empty() {
                return;
            }
            assert_eq!(
                written.len(),
                self.linears.len(),
                "later ops wrote the gradients of some linears and not of all"
            );
            if let Some(dr) = dr {
                written.iter().for_each(|dy| pass_on(rec, dy, &dr));
            }
            let u = self.narrow(rec, rows);
            self.record_backward(rec, &written, &u);
            if let Some(dx) = dx {
                self.record_dx(rec, &written, &u, &dx);
            }
            let x = x.tensor(rec);
            self.record_gradients(rec, [&x, &u, &z], &written);
        });
        ys
    }

    /// zᵢ = x Aᵢᵀ.
    fn record_forward(&self, rec: &mut Recorder, x: &Tensor, z: &Tensor) {
        let mut constants = self.sizes();
        constants.push(("K", x.cols.into()));
        let a = self.linears.iter().map(|linear| (linear.a.value.offset - self.values.offset) / 16);
        constants.extend(numbered(["", "A_1", "A_2"], a.map(|quads| quads as usize)).skip(1));
        rec.dispatch("low_rank_forward", &[], constants, &self.blocks(x.rows), &[x, &self.values, z]);
    }

    /// uᵢ = dyᵢ Bᵢ.
    fn record_backward(&self, rec: &mut Recorder, dys: &[Tensor], u: &Tensor) {
        let mut constants = self.sizes();
        constants.extend(self.outs());
        let b = self.linears.iter().map(|linear| (linear.b.value.offset - self.values.offset) / 16);
        constants.extend(numbered(["B_0", "B_1", "B_2"], b.map(|quads| quads as usize)));
        let [dy_0, dy_1, dy_2] = filled(dys);
        rec.dispatch(
            "low_rank_backward",
            &[],
            constants,
            &self.blocks(dy_0.rows),
            &[dy_0, dy_1, dy_2, &self.values, u],
        );
    }

    /// dx (+)= Σ dyᵢ Wᵢ + sᵢ uᵢ Aᵢ. One slab of each weight brings the low-rank term.
    fn record_dx(&self, rec: &mut Recorder, dys: &[Tensor], u: &Tensor, dx: &Grad) {
        for (i, (linear, dy)) in self.linears.iter().zip(dys).enumerate() {
            let (dx, mut accumulate) = rec.write(dx, dy.rows, linear.weight.cols);
            let u = self.part(u, i, dy.rows);
            let mut extension = Some(extension(linear, &u, &linear.a));
            for slab in linear.weight.slabs.iter() {
                let extension = extension.take();
                Product { accumulate, extension, ..Product::backward(dy, slab, &dx) }.record(rec);
                accumulate = true;
            }
        }
    }

    /// dAᵢ += sᵢ uᵢᵀ x and dBᵢ += sᵢ dyᵢᵀ zᵢ.
    fn record_gradients(&self, rec: &mut Recorder, [x, u, z]: [&Tensor; 3], dys: &[Tensor]) {
        let mut constants = self.sizes();
        constants.push(("K", x.cols.into()));
        constants.extend(self.outs());
        let begins = |grad: &Tensor| ((grad.offset - self.grads.offset) / 4) as usize;
        let a = self.linears.iter().map(|linear| begins(&linear.a.grad));
        constants.extend(numbered(["", "A_1", "A_2"], a).skip(1));
        constants.extend(numbered(["B_0", "B_1", "B_2"], self.linears.iter().map(|linear| begins(&linear.b.grad))));
        let (bands, quads) = (|columns: usize| columns.div_ceil(8), |columns: usize| columns / 4);
        let of_b: usize = dys.iter().map(|dy| bands(dy.cols) * quads(self.rank)).sum();
        let cells = bands(x.cols) * quads(self.columns()) + of_b;
        let [dy_0, dy_1, dy_2] = filled(dys);
        let sites: Vec<&Tensor> = self.linears.iter().map(|linear| &linear.site).collect();
        let mut operands = vec![x, u, z, dy_0, dy_1, dy_2, &self.grads];
        operands.extend(filled(&sites).map(|site| *site));
        rec.dispatch("low_rank_gradients", &[], constants, &[("cells", cells)], &operands);
    }

    fn columns(&self) -> usize {
        self.linears.len() * self.rank
    }

    fn sizes(&self) -> Constants {
        vec![("R", self.rank.into()), ("COLUMNS", self.columns().into())]
    }

    fn outs(&self) -> Constants {
        numbered(["N_0", "N_1", "N_2"], self.linears.iter().map(|linear| linear.weight.rows)).collect()
    }

    /// The blocks of 4 x 4 numbers of z or u.
    fn blocks(&self, rows: usize) -> [(&'static str, usize); 1] {
        [("blocks", rows.div_ceil(4) * self.columns() / 4)]
    }

    /// Room for z or u: [rows, R] for each linear, and as many rows more as let the next begin where it can be bound.
    fn narrow(&self, rec: &mut Recorder, rows: usize) -> Tensor {
        rec.tensor(self.linears.len() * rows.next_multiple_of(ROWS), self.rank)
    }

    /// The z or u of one linear.
    fn part(&self, narrow: &Tensor, i: usize, rows: usize) -> Tensor {
        narrow.slice(i * rows.next_multiple_of(ROWS), rows)
    }
}

/// The low-rank term of a linear: its z and B, or its u and A.
fn extension<'a>(linear: &'a LowRank, narrow: &'a Tensor, factor: &'a Param) -> Extension<'a> {
    Extension { narrow, factor: &factor.value, site: &linear.site, onto: None }
}

/// Constants for as many linears as there are.
fn numbered(
    names: [&'static str; MOST],
    values: impl Iterator<Item = usize>,
) -> impl Iterator<Item = (&'static str, Constant)> {
    names.into_iter().zip(values.map(Constant::from))
}

/// What the kernels bind: the first one again in place of those that there are not.
fn filled<T>(parts: &[T]) -> [&T; MOST] {
    std::array::from_fn(|i| parts.get(i).unwrap_or(&parts[0]))
}
