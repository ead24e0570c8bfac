//! One layer: x = x + attention(norm(x)), x = x + mlp(norm(x)).

use std::collections::BTreeMap;

use super::config::Config;
use super::linear::{Linear, Target};
use super::tensors::Norm;
use crate::device::Tensor;
use crate::ops::{Attention, Cache, RopeTables, add, attention, rms_norm, rope, swiglu};
use crate::plan::{Recorder, Var};

#[derive(Clone, Default)]
pub struct Block {
    pub norms: BTreeMap<Norm, Tensor>,
    pub linears: BTreeMap<Target, Linear>,
}

/// What a layer knows of the positions of tokens.
#[derive(Clone)]
pub struct Positions {
    /// A token sees this many tokens, itself included; `None`: all before it.
    pub window: Option<usize>,
    pub rope: Option<RopeTables>,
}

impl Block {
    pub fn record(
        &self,
        rec: &mut Recorder,
        config: &Config,
        positions: &Positions,
        x: Var,
        batch: usize,
        cache: Option<&Cache>,
    ) -> Var {
        let norm = |rec: &mut Recorder, norm: Norm, x: &Var| rms_norm(rec, x, &self.norms[&norm], config.norm_eps);
        let linear = |rec: &mut Recorder, target: Target, x: &Var| self.linears[&target].record(rec, x);

        let h = norm(rec, Norm::Attention, &x);
        let mut q = linear(rec, Target::Q, &h);
        let mut k = linear(rec, Target::K, &h);
        let v = linear(rec, Target::V, &h);
        drop(h);
        if config.head_norms {
            q = norm(rec, Norm::Query, &q);
            k = norm(rec, Norm::Key, &k);
        }
        if let Some(tables) = &positions.rope {
            (q, k) = rope(rec, q, k, config.heads, tables);
        }
        let how = Attention { heads: config.heads, window: positions.window, batch, cache };
        let o = attention(rec, &q, &k, &v, how);
        drop((q, k, v));
        let o = linear(rec, Target::O, &o);
        let x = add(rec, &x, &o);
        drop(o);

        let h = norm(rec, Norm::Mlp, &x);
        let gate = linear(rec, Target::Gate, &h);
        let up = linear(rec, Target::Up, &h);
        drop(h);
        let h = swiglu(rec, &gate, &up);
        drop((gate, up));
        let down = linear(rec, Target::Down, &h);
        add(rec, &x, &down)
    }
}
