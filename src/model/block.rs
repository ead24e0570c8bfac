//! One layer: x = x + attention(norm(x)), x = x + mlp(norm(x)).

use std::collections::BTreeMap;

use super::config::{Activation, Config};
use super::linear::{Linear, Target};
use super::norm::NormWeights;
use super::tensors::Norm;
use crate::ops::{Attention, Cache, RopeTables, add, attention, geglu, gelu, rope, split, swiglu};
use crate::plan::{Recorder, Var};

#[derive(Clone, Default)]
pub struct Block {
    pub norms: BTreeMap<Norm, NormWeights>,
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
    /// x + attention(norm(x)).
    pub fn attention(
        &self,
        rec: &mut Recorder,
        config: &Config,
        positions: &Positions,
        x: Var,
        cache: Option<&Cache>,
    ) -> Var {
        let h = self.norm(rec, config, Norm::Attention, &x);
        let [mut q, mut k, v] = self.queries_keys_values(rec, config, &h);
        drop(h);
        if config.head_norms {
            q = self.norm(rec, config, Norm::Query, &q);
            k = self.norm(rec, config, Norm::Key, &k);
        }
        if let Some(tables) = &positions.rope {
            (q, k) = rope(rec, q, k, config.heads, tables);
        }
        let how = Attention { heads: config.heads, window: positions.window, scale: config.query_scale, cache };
        let o = attention(rec, &q, &k, &v, how);
        drop((q, k, v));
        self.onto(rec, config, &x, (Target::O, &o), Norm::AttentionOutput)
    }

    /// x + mlp(norm(x)).
    pub fn mlp(&self, rec: &mut Recorder, config: &Config, x: &Var) -> Var {
        let h = self.norm(rec, config, Norm::Mlp, x);
        let h = self.activated(rec, config, h);
        self.onto(rec, config, x, (Target::Down, &h), Norm::MlpOutput)
    }

    /// The residual x plus what a linear makes of h, which some families normalise.
    fn onto(&self, rec: &mut Recorder, config: &Config, x: &Var, (target, h): (Target, &Var), norm: Norm) -> Var {
        if !config.output_norms {
            return self.linears[&target].record_onto(rec, x, h);
        }
        let o = self.linear(rec, target, h);
        let o = self.norm(rec, config, norm, &o);
        add(rec, x, &o)
    }

    fn norm(&self, rec: &mut Recorder, config: &Config, norm: Norm, x: &Var) -> Var {
        self.norms[&norm].record(rec, config, x)
    }

    fn linear(&self, rec: &mut Recorder, target: Target, x: &Var) -> Var {
        self.linears[&target].record(rec, x)
    }

    fn linears<const N: usize>(&self, rec: &mut Recorder, targets: [Target; N], x: &Var) -> [Var; N] {
        Linear::record_all(rec, targets.map(|target| &self.linears[&target]), x)
    }

    fn queries_keys_values(&self, rec: &mut Recorder, config: &Config, h: &Var) -> [Var; 3] {
        if !config.layout.fused_qkv {
            return self.linears(rec, Target::QUERY_KEY_VALUE, h);
        }
        let qkv = self.linear(rec, Target::Qkv, h);
        let key = config.heads.key * config.heads.size;
        split(rec, qkv, [config.heads.query * config.heads.size, key, key])
    }

    /// What enters the last linear of the MLP.
    fn activated(&self, rec: &mut Recorder, config: &Config, h: Var) -> Var {
        if config.activation == Activation::GeluTanh {
            let up = self.linear(rec, Target::Up, &h);
            drop(h);
            return gelu(rec, &up);
        }
        let [gate, up] = match config.layout.fused_gate_up {
            true => {
                let gate_up = self.linear(rec, Target::GateUp, &h);
                split(rec, gate_up, [config.intermediate; 2])
            }
            false => self.linears(rec, Target::GATE_UP, &h),
        };
        drop(h);
        match config.activation {
            Activation::GeGluTanh => geglu(rec, &gate, &up),
            _ => swiglu(rec, &gate, &up),
        }
    }
}
