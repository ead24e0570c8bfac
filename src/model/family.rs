//! A family of models: how to read its config.json, and what Hugging Face calls its tensors. Each family is a file of
//! data next to this one.

use std::fmt;

use super::FAMILIES;
use super::config::Config;
use super::fields::Fields;
use super::linear::Target;
use super::tensors::Norm;
use crate::error::{Error, Result};

pub struct Family {
    /// `model_type` in config.json.
    pub model_type: &'static str,
    /// Reads the rest of config.json.
    pub config: fn(&Fields) -> Result<Config>,
    /// Modules outside the blocks.
    pub embedding: &'static str,
    /// The learned table of positions, whose rows are added to the embedding; `None`: there is none.
    pub positions: Option<&'static str>,
    pub final_norm: &'static str,
    pub head: &'static str,
    /// The path in front of a block's number.
    pub blocks: &'static str,
    /// Modules of a block, by their paths in it, in the order of a checkpoint.
    pub norms: &'static [(Norm, &'static str)],
    pub linears: &'static [(Target, &'static str)],
    /// The linears PEFT adapts where adapter_config.json names none.
    pub peft_targets: &'static [Target],
}

impl Family {
    /// Errors: `UnsupportedModel`.
    pub fn of(model_type: &str) -> Result<&'static Family> {
        let family = FAMILIES.into_iter().find(|family| family.model_type == model_type);
        family.ok_or_else(|| {
            let supported: Vec<&str> = FAMILIES.iter().map(|family| family.model_type).collect();
            Error::UnsupportedModel { model_type: model_type.to_string(), supported: supported.join(", ") }
        })
    }

    /// The linears of a block, in its order.
    pub fn targets(&self) -> impl Iterator<Item = Target> {
        self.linears.iter().map(|(target, _)| *target)
    }

    /// The shortest end of a linear's path that no other linear has, as `target_modules` may spell it: `q_proj`,
    /// `attn.c_proj`.
    pub fn name(&self, target: Target) -> &'static str {
        let path = self.path(target);
        let ends = path.rmatch_indices('.').filter_map(|(at, _)| path.get(at.saturating_add(1)..));
        let mut alone = ends.filter(|end| self.named(end).count() == 1);
        alone.next().unwrap_or(path)
    }

    /// The linears whose paths end with a name, as PEFT finds them: `c_proj` names two of GPT-2.
    pub fn named(&self, name: &str) -> impl Iterator<Item = Target> {
        let ends = move |path: &str| path.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        self.linears.iter().filter(move |(_, path)| ends(path)).map(|(target, _)| *target)
    }

    /// `all-linear`, `attention`, or names such as `q_proj,v_proj`, in the order of the block. Errors: `Setting`.
    pub fn parse_targets(&self, names: &str) -> Result<Vec<Target>> {
        let mut targets: Vec<Target> = match names {
            "all-linear" => self.targets().collect(),
            "attention" => self.targets().filter(|target| target.is_attention()).collect(),
            names => names.split(',').flat_map(|name| self.named(name.trim())).collect(),
        };
        let is_known = |name: &str| self.named(name.trim()).next().is_some();
        if !(["all-linear", "attention"].contains(&names) || names.split(',').all(is_known)) {
            let known: Vec<&str> = self.targets().map(|target| self.name(target)).collect();
            let expected = format!("all-linear, attention, or some of {}", known.join(", "));
            return Err(Error::Setting { name: "targets".to_string(), value: names.to_string(), expected });
        };
        targets.sort();
        targets.dedup();
        Ok(targets)
    }

    /// The path of a linear, as PEFT's keys and `target_modules` spell it.
    pub fn module(&self, layer: usize, target: Target) -> String {
        format!("{}.{layer}.{}", self.blocks, self.path(target))
    }

    /// The inverse of `module`.
    pub fn parse_module(&self, path: &str) -> Option<(usize, Target)> {
        let (layer, rest) = path.strip_prefix(self.blocks)?.strip_prefix('.')?.split_once('.')?;
        let (target, _) = self.linears.iter().find(|(_, path)| *path == rest)?;
        let layer = layer.parse().ok()?;
        // Not `007`.
        (self.module(layer, *target) == path).then_some((layer, *target))
    }

    /// The name that a tensor or a module has in a model with a head, where `name` is what the inner model calls it:
    /// `model.norm` for `norm`.
    pub fn outside(&self, name: &str) -> String {
        let (inner, _) = self.blocks.split_once('.').unwrap_or_default();
        format!("{inner}.{name}")
    }

    /// The path of a linear in its block.
    pub fn path(&self, target: Target) -> &'static str {
        let found = self.linears.iter().find(|(other, _)| *other == target);
        let Some((_, path)) = found else { unreachable!("{target:?} is no linear of the family {}", self.model_type) };
        path
    }
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.model_type)
    }
}

impl PartialEq for Family {
    fn eq(&self, other: &Family) -> bool {
        self.model_type == other.model_type
    }
}
