//! Linears with a LoRA pair each that read the same activation: y = x Wᵀ + s (x Aᵀ) Bᵀ (Hu et al. 2021). In the plain
//! form, each is three calls of `project`. Cards have a second form, in which the low-rank term is more of the sum that
//! the product with W computes, and what has R columns takes one dispatch for all linears. If their weights stand one
//! after the other, the products with W take one dispatch for all linears, too.

use std::slice::from_ref;

use super::add::{add, pass_on};
use super::matmul::{Extension, Form, MOST, Product};
use super::project::project;
use super::weight::{Matrix, Param, Weight};
use crate::device::{Constant, Constants, Geometry, Stored, Tensor};
use crate::plan::{Grad, Recorder, Var};

/// A frozen weight [out, in], its A [R, in] and B [out, R], and the uniform that holds s.
#[derive(Clone)]
pub struct LowRank {
    pub weight: Weight,
    pub a: Param,
    pub b: Param,
    pub site: Tensor,
}

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
    /// All W, if there are several and one product can take them.
    weight: Option<Stored>,
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
        let weight = joined(linears);
        linears.iter().all(fits).then(|| Stack { linears: linears.to_vec(), rank, values, grads, weight })
    }

    /// Each y is added to `onto`, if there is one.
    fn record(self, rec: &mut Recorder, x: &Var, onto: Option<&Var>) -> Vec<Var> {
        let rows = x.data.rows;
        let z = self.narrow(rec, rows);
        self.record_forward(rec, &x.data, &z);
        let ys: Vec<Tensor> = self.linears.iter().map(|linear| rec.tensor(rows, linear.weight.rows)).collect();
        self.record_ys(rec, &x.data, &z, &ys, onto.map(|r| &r.data));
        let ys: Vec<Var> = ys.into_iter().map(|y| Var::new(y, rec.trains())).collect();
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
        constants.extend(numbered(["", "A_1", "A_2"], self.quads(|linear| &linear.a)).skip(1));
        rec.dispatch("low_rank_forward", &[], constants, &self.blocks(x.rows), &[x, &self.values, z]);
    }

    /// uᵢ = dyᵢ Bᵢ.
    fn record_backward(&self, rec: &mut Recorder, dys: &[Tensor], u: &Tensor) {
        let mut constants = self.sizes();
        constants.extend(self.outs());
        constants.extend(numbered(["B_0", "B_1", "B_2"], self.quads(|linear| &linear.b)));
        let [dy_0, dy_1, dy_2] = filled(dys);
        rec.dispatch(
            "low_rank_backward",
            &[],
            constants,
            &self.blocks(dy_0.rows),
            &[dy_0, dy_1, dy_2, &self.values, u],
        );
    }

    /// yᵢ = x Wᵢᵀ + sᵢ zᵢ Bᵢᵀ, and a residual besides, if there is one.
    fn record_ys(&self, rec: &mut Recorder, x: &Tensor, z: &Tensor, ys: &[Tensor], onto: Option<&Tensor>) {
        let nothing = [rec.tensor(1, 4), rec.tensor(1, 4)];
        if let Some(weight) = &self.weight {
            let others = [&ys[1], ys.get(2).unwrap_or(&nothing[1])];
            let extension = Some(self.extension(z, self.quads(|linear| &linear.b), others));
            return Product { extension, ..Product::of(Form::Forward, x, weight, &ys[0], 0) }.record(rec);
        }
        let others = [&nothing[0], onto.unwrap_or(&nothing[1])];
        for (i, (linear, y)) in self.linears.iter().zip(ys).enumerate() {
            let z = self.part(z, i, x.rows);
            for slab in linear.weight.slabs.iter() {
                let begin = slab.first * self.rank / 4;
                let extension = Extension { onto: onto.is_some(), ..alone(linear, &z, &linear.b, begin, others) };
                Product { extension: Some(extension), ..Product::forward(x, slab, y) }.record(rec);
            }
        }
    }

    /// dx (+)= Σ dyᵢ Wᵢ + sᵢ uᵢ Aᵢ. Without one product for all, one slab of each weight brings the low-rank term.
    fn record_dx(&self, rec: &mut Recorder, dys: &[Tensor], u: &Tensor, dx: &Grad) {
        let [first, second, third] = filled(dys);
        if let Some(weight) = &self.weight {
            let (dx, accumulate) = rec.write(dx, first.rows, weight.cols);
            let extension = Some(self.extension(u, self.quads(|linear| &linear.a), [second, third]));
            let product = Product::of(Form::Backward, first, weight, &dx, 0);
            return Product { accumulate, extension, ..product }.record(rec);
        }
        for (i, (linear, dy)) in self.linears.iter().zip(dys).enumerate() {
            let (dx, mut accumulate) = rec.write(dx, dy.rows, linear.weight.cols);
            let u = self.part(u, i, dy.rows);
            let mut extension = Some(alone(linear, &u, &linear.a, 0, [dy; 2]));
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
        let mut operands = vec![x, u, z, dy_0, dy_1, dy_2, &self.grads];
        operands.extend(self.sites());
        rec.dispatch("low_rank_gradients", &[], constants, &[("cells", cells)], &operands);
    }

    /// The low-rank terms of all linears: their z and where each B begins, or their u and where each A does.
    fn extension<'a>(
        &'a self,
        narrow: &'a Tensor,
        begins: Vec<usize>,
        others: [&'a Tensor; MOST - 1],
    ) -> Extension<'a> {
        let outs = self.linears.iter().map(|linear| linear.weight.rows).collect();
        let (rank, factors, sites) = (self.rank, &self.values, self.sites());
        Extension { outs, rank, narrow, factors, begins, sites, others, onto: false }
    }

    /// Where each A or B begins in all of them, in fours of numbers.
    fn quads(&self, part: fn(&LowRank) -> &Param) -> Vec<usize> {
        let offsets = self.linears.iter().map(|linear| part(linear).value.offset);
        offsets.map(|offset| ((offset - self.values.offset) / 16) as usize).collect()
    }

    fn sites(&self) -> [&Tensor; MOST] {
        filled(&self.linears).map(|linear| &linear.site)
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

/// The low-rank term of one linear: its z and B, of which the slab's rows begin there, or its u and A.
fn alone<'a>(
    linear: &'a LowRank,
    narrow: &'a Tensor,
    factor: &'a Param,
    begin: usize,
    others: [&'a Tensor; MOST - 1],
) -> Extension<'a> {
    let (outs, rank, sites) = (vec![linear.weight.rows], linear.a.value.rows, [&linear.site; MOST]);
    Extension { outs, rank, narrow, factors: &factor.value, begins: vec![begin], sites, others, onto: false }
}

/// All W of several linears, if one product can take them.
fn joined(linears: &[LowRank]) -> Option<Stored> {
    let [_, _, ..] = linears else { return None };
    let whole = |linear: &LowRank| match linear.weight.slabs.as_slice() {
        [slab] => Some(slab.stored.clone()),
        _ => None,
    };
    Stored::joined(&linears.iter().map(whole).collect::<Option<Vec<_>>>()?)
}

/// Constants for as many linears as there are.
fn numbered(
    names: [&'static str; MOST],
    values: impl IntoIterator<Item = usize>,
) -> impl Iterator<Item = (&'static str, Constant)> {
    names.into_iter().zip(values.into_iter().map(Constant::from))
}

/// What the kernels bind: the first one again in place of those that there are not.
fn filled<T>(parts: &[T]) -> [&T; MOST] {
    std::array::from_fn(|i| parts.get(i).unwrap_or(&parts[0]))
}
