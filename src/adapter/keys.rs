//! What the name of an adapter's tensor says. PEFT's own form is `base_model.model.` and the path of a linear; files of
//! other programs, and of models that were wrapped or trained without their head, have more or less in front.

use super::contents::mismatch;
use super::form::Form;
use super::mlx;
use crate::error::{Error, Result};
use crate::model::checkpoint::{WRAPPERS, unwrapped};
use crate::model::gguf_names::name as gguf_name;
use crate::model::{Family, Role, Target};

pub(super) const PREFIX: &str = "base_model.model.";

/// An A or a B of a linear.
pub(super) struct Key {
    pub layer: usize,
    pub target: Target,
    /// `A` or `B`.
    pub which: char,
    /// Whether PEFT finds the tensor under this name.
    pub is_usual: bool,
}

/// PEFT's name of an A or B.
pub(super) fn key(family: &Family, layer: usize, target: Target, which: char) -> String {
    format!("{PREFIX}{}.lora_{which}.weight", family.module(layer, target))
}

/// Whether a tensor is the embedding or the head, saved whole with the adapter.
pub(super) fn table<'a>(name: &str, family: &Family) -> Option<&'a str> {
    let path = without_prefixes(name);
    let endings = [".modules_to_save.default.weight", ".modules_to_save.weight", ".base_layer.weight", ".weight"];
    let module = endings.iter().find_map(|ending| path.strip_suffix(ending))?;
    let is = |table: &str| module == table || family.outside(module) == table;
    match (is(family.embedding), is(family.head)) {
        (true, _) => Some("the embedding"),
        (_, true) => Some("the head"),
        _ => None,
    }
}

/// Reads the names of a form: PEFT's, in which the adapter's own (`.default`) may occur, MLX's, and llama.cpp's.
/// Errors: `UnsupportedAdapter` for tensors of more than plain LoRA, `AdapterMismatch` for a linear that the family
/// does not have, `Adapter` for names of another form.
pub(super) fn parse(name: &str, family: &Family, form: Form) -> Result<Key> {
    let beyond = [
        ("lora_magnitude_vector", "DoRA"),
        ("lora_embedding_", "LoRA on the embedding"),
        ("trainable_tokens_", "single trained tokens"),
        (".base_layer.", "weights of the base"),
        (".modules_to_save.", "`modules_to_save`"),
        (".bias", "biases"),
    ];
    if let Some((_, what)) = beyond.iter().find(|(part, _)| name.contains(part)) {
        return Err(Error::UnsupportedAdapter { feature: format!("{what} (tensor `{name}`)") });
    }
    let path = if form == Form::Gguf { name.to_string() } else { without_prefixes(name) };
    let (a, b) = if form == Form::Peft { (".lora_A", ".lora_B") } else { (".lora_a", ".lora_b") };
    let inner = match form {
        Form::Peft => path.strip_suffix(".weight").map(|path| path.strip_suffix(".default").unwrap_or(path)),
        Form::Mlx | Form::Gguf => Some(path.as_str()),
    };
    let parts = inner.and_then(|path| {
        let a = path.strip_suffix(a).map(|module| (module, 'A'));
        a.or_else(|| path.strip_suffix(b).map(|module| (module, 'B')))
    });
    let Some((module, which)) = parts else {
        let first = family.targets().next().unwrap_or(Target::Q);
        let example = form.key(family, 0, first, 'A');
        let reason = format!("tensor `{name}` is none of plain LoRA, whose names are like `{example}`");
        return Err(Error::Adapter { file: form.weights().to_string(), reason });
    };
    let is_table = match form {
        Form::Gguf => [Role::Embedding, Role::Head].into_iter().any(|role| module == gguf_name(role)),
        Form::Peft | Form::Mlx => module == family.embedding || module == family.head,
    };
    if is_table {
        return Err(Error::UnsupportedAdapter { feature: format!("LoRA on the embedding or the head (`{name}`)") });
    }
    let found = match form {
        Form::Gguf => parse_gguf(module, family),
        Form::Peft => parse_path(module, family),
        Form::Mlx => parse_path(module, family).or_else(|| mlx::parse_module(module, family)),
    };
    let Some((layer, target)) = found else {
        return Err(mismatch(format!("tensor `{name}` belongs to no linear of a {} model", family.model_type)));
    };
    let usual = format!("{PREFIX}{}.lora_{which}", family.module(layer, target));
    let is_usual = name.strip_prefix(&usual).is_some_and(|rest| matches!(rest, ".weight" | ".default.weight"));
    Ok(Key { layer, target, which, is_usual })
}

fn parse_path(module: &str, family: &Family) -> Option<(usize, Target)> {
    family.parse_module(module).or_else(|| family.parse_module(&family.outside(module)))
}

/// `blk.0.attn_q.weight`.
fn parse_gguf(module: &str, family: &Family) -> Option<(usize, Target)> {
    let (layer, _) = module.strip_prefix("blk.")?.split_once('.')?;
    let layer = layer.parse().ok()?;
    family
        .targets()
        .map(|target| (layer, target))
        .find(|(layer, target)| gguf_name(Role::Weight(*layer, *target)) == module)
}

/// The name without PEFT's prefix, however often it is there, and without those of wrappers.
fn without_prefixes(mut name: &str) -> String {
    let prefixes = || WRAPPERS.iter().chain([&PREFIX]);
    while let Some(rest) = prefixes().find_map(|prefix| name.strip_prefix(prefix)) {
        name = rest;
    }
    unwrapped(name)
}
