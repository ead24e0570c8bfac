//! A frozen linear layer and, on top of it, a LoRA pair: y = x Wᵀ + s (x Aᵀ) Bᵀ (Hu et al. 2021).

use super::config::Config;
use crate::device::Tensor;
use crate::error::{Error, Result};
use crate::ops::{Matrix, Param, Weight, dropout, project};
use crate::plan::{Recorder, Var};

/// The linears of a block, by PEFT's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Target {
    Q,
    K,
    V,
    O,
    Gate,
    Up,
    Down,
}

impl Target {
    pub const ALL: [Target; 7] = [Target::Q, Target::K, Target::V, Target::O, Target::Gate, Target::Up, Target::Down];
    pub const ATTENTION: [Target; 4] = [Target::Q, Target::K, Target::V, Target::O];

    pub fn name(self) -> &'static str {
        match self {
            Target::Q => "q_proj",
            Target::K => "k_proj",
            Target::V => "v_proj",
            Target::O => "o_proj",
            Target::Gate => "gate_proj",
            Target::Up => "up_proj",
            Target::Down => "down_proj",
        }
    }

    pub fn parse(name: &str) -> Option<Target> {
        Target::ALL.into_iter().find(|target| target.name() == name)
    }

    /// `all-linear`, `attention`, or names such as `q_proj,v_proj`, in the order of the block. Errors: `Setting`.
    pub fn parse_list(names: &str) -> Result<Vec<Target>> {
        let unknown = || Error::Setting {
            name: "targets".to_string(),
            value: names.to_string(),
            expected: "all-linear, attention, or some of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj"
                .to_string(),
        };
        let mut list = match names {
            "all-linear" => Target::ALL.to_vec(),
            "attention" => Target::ATTENTION.to_vec(),
            names => {
                names.split(',').map(|name| Target::parse(name.trim())).collect::<Option<_>>().ok_or_else(unknown)?
            }
        };
        list.sort();
        list.dedup();
        Ok(list)
    }

    /// (out, in) of the matrix.
    pub fn shape(self, config: &Config) -> (usize, usize) {
        let (hidden, query, key) =
            (config.hidden, config.heads.query * config.heads.size, config.heads.key * config.heads.size);
        match self {
            Target::Q => (query, hidden),
            Target::K | Target::V => (key, hidden),
            Target::O => (hidden, query),
            Target::Gate | Target::Up => (config.intermediate, hidden),
            Target::Down => (hidden, config.intermediate),
        }
    }
}

/// A [R, in] and B [out, R] of one linear, and the uniform with its scale.
#[derive(Clone)]
pub struct Lora {
    pub a: Param,
    pub b: Param,
    pub site: Tensor,
    /// What enters A passes through dropout: in plans that train with it.
    pub dropout: bool,
}

#[derive(Clone)]
pub struct Linear {
    pub weight: Weight,
    /// What is trained in the place of `weight`: full fine-tuning.
    pub trained: Option<Param>,
    pub lora: Option<Lora>,
}

impl Linear {
    pub fn record(&self, rec: &mut Recorder, x: &Var) -> Var {
        let w = self.trained.as_ref().map_or(Matrix::Frozen(&self.weight), Matrix::Trained);
        let y = project(rec, None, x, w, None);
        let Some(lora) = &self.lora else { return y };
        let kept = if lora.dropout { &dropout(rec, x, &lora.site) } else { x };
        let z = project(rec, None, kept, Matrix::Trained(&lora.a), None);
        project(rec, Some(y), &z, Matrix::Trained(&lora.b), Some(&lora.site))
    }
}
