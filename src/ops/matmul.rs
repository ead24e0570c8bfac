//! The products: y (+)= s · a Wᵀ, y (+)= s · a W and g += s · aᵀ b. Nothing here records a backward pass; `project` and
//! `cross_entropy` do that.

use super::weight::Slab;
use crate::device::{Constant, Constants, Stored, Tensor};
use crate::plan::Recorder;

/// Whether a product uses a slab of W transposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// a Wᵀ: the columns of y are the rows of W.
    Forward,
    /// a W: the columns of `a` are the rows of W.
    Backward,
}

/// The low-rank terms s · z Bᵀ (forward) or s · u A (backward) that a product adds, as more of the same sum: of one
/// linear, or of several whose weights stand one after the other.
pub struct Extension<'a> {
    /// The rows of each weight.
    pub outs: Vec<usize>,
    pub rank: usize,
    /// z or u of all linears.
    pub narrow: &'a Tensor,
    /// What holds each B, or each A, and where they begin in it, in fours of numbers. For a slab, it is where the rows
    /// of B begin that belong to its own.
    pub factors: &'a Tensor,
    pub begins: Vec<usize>,
    /// The uniforms that hold s.
    pub sites: [&'a Tensor; MOST],
    /// y (forward) or `a` (backward) of the second linear and the third. A forward product writes to none of those that
    /// there are not.
    pub others: [&'a Tensor; MOST - 1],
    /// The last of `others` is what the forward product of one linear adds too: a residual as large as y.
    pub onto: bool,
}

/// How many linears the kernels take at once: q, k and v.
pub(super) const MOST: usize = 3;

impl Extension<'_> {
    fn constants(&self) -> Constants {
        let mut constants = vec![("R", self.rank.into())];
        let ends = self.outs.iter().scan(0, |end, out| {
            *end += out;
            Some(*end)
        });
        if self.outs.len() > 1 {
            constants.push(("LINEARS", self.outs.len().into()));
            constants.extend(["END_0", "END_1"].into_iter().zip(ends.map(Constant::from)));
            constants.extend(["N_1", "N_2"].into_iter().zip(self.outs[1..].iter().map(|out| (*out).into())));
        }
        let begins = ["Q_0", "Q_1", "Q_2"].into_iter().zip(&self.begins).filter(|(_, begin)| **begin > 0);
        constants.extend(begins.map(|(name, begin)| (name, (*begin).into())));
        if self.onto {
            constants.push(("ONTO", true.into()));
        }
        constants
    }
}

/// One product with one slab of a matrix.
pub struct Product<'a> {
    pub form: Form,
    pub a: &'a Tensor,
    pub w: &'a Stored,
    pub y: &'a Tensor,
    /// First column of y (forward) or of `a` (backward) that belongs to the slab.
    pub first: usize,
    /// The uniform that holds s; `None` means 1.
    pub site: Option<&'a Tensor>,
    /// Computes only this chunk of the labelled rows; `None` means all rows of the step.
    pub chunk: Option<&'a Tensor>,
    /// `a` holds the logits of a chunk, which stand for the gradient of the loss by them.
    pub logits: Option<Logits<'a>>,
    /// Adds to y instead of assigning.
    pub accumulate: bool,
    /// Only with several rows, and without `site` and `chunk`.
    pub extension: Option<Extension<'a>>,
}

/// What the gradient by the logits is computed from.
#[derive(Clone, Copy)]
pub struct Logits<'a> {
    /// [labelled, 4] of `cross_entropy_forward`.
    pub stats: &'a Tensor,
    /// The token of the first column.
    pub first: usize,
}

impl<'a> Product<'a> {
    /// y = a Wᵀ for a slab; its columns of y begin at the slab's first row.
    pub fn forward(a: &'a Tensor, slab: &'a Slab, y: &'a Tensor) -> Product<'a> {
        Product::of(Form::Forward, a, &slab.stored, y, slab.first)
    }

    /// y = a W for a slab; its columns of `a` begin at the slab's first row.
    pub fn backward(a: &'a Tensor, slab: &'a Slab, y: &'a Tensor) -> Product<'a> {
        Product::of(Form::Backward, a, &slab.stored, y, slab.first)
    }

    /// A plain product: no scale, all rows of the step, assigning y.
    pub fn of(form: Form, a: &'a Tensor, w: &'a Stored, y: &'a Tensor, first: usize) -> Product<'a> {
        Product { form, a, w, y, first, site: None, chunk: None, logits: None, accumulate: false, extension: None }
    }

    /// Records the product. A forward product of one row has a kernel of its own.
    pub fn record(self, rec: &mut Recorder) {
        match self.form {
            Form::Forward if self.a.rows == 1 => self.vec(rec),
            Form::Forward | Form::Backward => self.mat(rec),
        }
    }

    fn mat(self, rec: &mut Recorder) {
        let Product { form, a, w, y, first, site, chunk, accumulate, .. } = self;
        let (columns, depth, offset) = match form {
            Form::Forward => (w.rows, stride(a), "Y_OFFSET"),
            Form::Backward => (w.cols, w.rows.next_multiple_of(4), "A_OFFSET"),
        };
        let mut constants = vec![("N", columns.into()), ("K", depth.into()), ("W_ROWS", w.rows.into())];
        constants.extend([("A_STRIDE", stride(a).into()), ("Y_STRIDE", stride(y).into())]);
        constants.extend(self.extension.iter().flat_map(Extension::constants));
        let form: &[&str] = if form == Form::Backward { &["nn"] } else { &[] };
        let features = self.features(form);
        let size = [("rows", a.rows), ("columns", columns), ("depth", depth)];
        let splits = rec.device.splits("matmul", &features, &size);
        // Only training repeats a product often enough to be worth another pipeline. Parts are added up where they are
        // neighbours, which they are not in a slab of y. No part has the residual.
        let onto = self.extension.as_ref().is_some_and(|extension| extension.onto);
        let split = rec.trains() && splits.count > 1 && !onto && stride(y) == columns.next_multiple_of(4);
        let blocks = a.rows.div_ceil(32) * columns.div_ceil(16);
        let extents = [&size[..], &[("splits", if split { splits.count } else { 1 }), ("blocks", blocks)]].concat();
        if split {
            let parts = rec.tensor(splits.count * y.rows, y.cols);
            constants.extend([("SPLIT_DEPTH", splits.each.into()), ("SPLIT_ROWS", y.rows.into())]);
            let whole = Product { y: &parts, site: None, accumulate: false, ..self };
            whole.finish(offset, first, &mut constants);
            rec.dispatch("matmul", &whole.features(form), constants, &extents, &whole.operands());
            return add_parts(rec, &parts, y, site, chunk, accumulate);
        }
        self.finish(offset, first, &mut constants);
        rec.dispatch("matmul", &features, constants, &extents, &self.operands());
    }

    fn vec(self, rec: &mut Recorder) {
        let Product { a, w, first, chunk, .. } = self;
        assert!(chunk.is_none(), "a product of one row takes no chunk, because its only row always exists");
        let mut constants = vec![("N", w.rows.into()), ("K", stride(a).into()), ("W_ROWS", w.rows.into())];
        self.finish("Y_OFFSET", first, &mut constants);
        let features = self.features(&[]);
        rec.dispatch("matmul_vec", &features, constants, &[("columns", w.rows)], &self.operands());
    }

    /// Adds the constants that have defaults.
    fn finish(&self, offset: &'static str, first: usize, constants: &mut Constants) {
        if first > 0 {
            constants.push((offset, first.into()));
        }
        if let Some(Logits { first: token @ 1.., .. }) = self.logits {
            constants.push(("FIRST", token.into()));
        }
        if self.accumulate {
            constants.push(("ACCUMULATE", true.into()));
        }
    }

    fn features(&self, form: &[&'static str]) -> Vec<&'static str> {
        let form = form.iter().copied();
        let bound = self.site.map(|_| "site").into_iter().chain(self.chunk.map(|_| "chunk"));
        let bound = bound.chain(self.logits.map(|_| "dz"));
        form.chain(self.w.format.feature()).chain(bound).chain(self.extension.as_ref().map(|_| "extended")).collect()
    }

    fn operands(&self) -> Vec<&'a Tensor> {
        let before = [self.a].into_iter().chain(self.w.operands());
        let after = self.site.into_iter().chain(self.chunk).chain(self.logits.map(|logits| logits.stats));
        let mut operands: Vec<&Tensor> = before.chain([self.y]).chain(after).collect();
        if let Some(Extension { narrow, factors, sites, others, .. }) = &self.extension {
            operands.extend(others.iter().chain([narrow, factors]).chain(sites));
        }
        operands
    }
}

/// Records y (+)= s · Σ parts, for the [splits, rows, cols] parts of y that the splits of a product left.
fn add_parts(
    rec: &mut Recorder,
    parts: &Tensor,
    y: &Tensor,
    site: Option<&Tensor>,
    chunk: Option<&Tensor>,
    accumulate: bool,
) {
    let features: Vec<&str> = site.map(|_| "site").into_iter().chain(chunk.map(|_| "chunk")).collect();
    let constants = if accumulate { vec![("ACCUMULATE", true.into())] } else { Vec::new() };
    let operands: Vec<&Tensor> = [parts, y].into_iter().chain(site).chain(chunk).collect();
    rec.dispatch("matmul_sum", &features, constants, &[("quads", y.rows * stride(y) / 4)], &operands);
}

/// Records g += s · aᵀ b for g [P, Q], the P columns of `a` from `first` on, and b [rows, Q].
pub fn matmul_tn(rec: &mut Recorder, a: &Tensor, first: usize, b: &Tensor, g: &Tensor, site: Option<&Tensor>) {
    let (p, q) = (g.rows.next_multiple_of(4), stride(b));
    let mut constants = vec![("P", p.into()), ("Q", q.into())];
    if stride(a) > p {
        constants.extend([("A_STRIDE", stride(a).into()), ("A_OFFSET", first.into())]);
    }
    let blocks = p.div_ceil(8) * q.div_ceil(8);
    let mut extents = [("columns", q), ("rows", p), ("splits", 1), ("blocks", blocks)];
    let splits = rec.device.row_splits("matmul_tn", &extents, a.rows);
    if splits.count > 1 && g.rows == p {
        let parts = rec.tensor(splits.count * p, q);
        constants.push(("SPLIT_ROWS", splits.each.into()));
        extents[2].1 = splits.count;
        rec.dispatch("matmul_tn", &[], constants, &extents, &[a, b, &parts]);
        return add_parts(rec, &parts, g, site, None, true);
    }
    let features: &[&str] = if site.is_some() { &["site"] } else { &[] };
    let operands: Vec<&Tensor> = [a, b, g].into_iter().chain(site).collect();
    rec.dispatch("matmul_tn", features, constants, &extents, &operands);
}

/// Floats from one row of a tensor to the next.
fn stride(x: &Tensor) -> usize {
    x.cols.next_multiple_of(4)
}
