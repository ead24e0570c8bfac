//! MLX's form of an adapter, as `load_adapters` of mlx-lm reads it (0.32): adapter_config.json, and the tensors in
//! `adapters.safetensors`, which are transposed: A is [in, rank], B is [rank, out]. `scale` is the whole factor of B A.

use serde_json::{Value, json};

use super::form::Form;
use super::peft_config::wrong;
use super::spec::{MOST_RANK, SiteSpec, is_alpha};
use super::{AdapterFiles, AdapterSpec, Origin, Pair};
use crate::error::{Error, Result};
use crate::files::{json, safetensors};
use crate::model::{Config, Family, Target};

/// What all of MLX's models call the part around the blocks.
const INNER: &str = "model";

pub(super) struct MlxConfig {
    rank: usize,
    scale: f64,
    /// Paths in a block, or whole ones; `None`: every linear.
    keys: Option<Vec<String>>,
    /// How many blocks are adapted, counted from the last.
    layers: usize,
}

impl MlxConfig {
    /// Whether a config is MLX's, not PEFT's.
    pub fn is_meant(config: &Value) -> bool {
        config.get("peft_type").is_none()
            && (config.get("fine_tune_type").is_some() || config.get("lora_parameters").is_some())
    }

    /// Errors: `Adapter`, `UnsupportedAdapter`.
    pub fn parse(config: &Value) -> Result<MlxConfig> {
        match config.get("fine_tune_type").map(|kind| kind.as_str().unwrap_or("(no text)")) {
            None | Some("lora") => {}
            Some(other) => return Err(Error::UnsupportedAdapter { feature: format!("`fine_tune_type` = {other}") }),
        }
        let found = |field: &str| config.get("lora_parameters").and_then(|parameters| parameters.get(field));
        let shown = |field: &str| found(field).map_or("nothing".to_string(), json::shown);
        let rank = found("rank").and_then(Value::as_u64).and_then(|rank| usize::try_from(rank).ok());
        let rank = rank.filter(|rank| (1..=MOST_RANK).contains(rank)).ok_or_else(|| {
            let found = shown("rank");
            wrong(format!("`rank` of `lora_parameters` must be a whole number from 1 to {MOST_RANK}, found {found}"))
        })?;
        let scale = found("scale").and_then(Value::as_f64).filter(|scale| is_alpha(*scale * rank as f64));
        let scale = scale.ok_or_else(|| {
            wrong(format!("`scale` of `lora_parameters` must be a positive number, found {}", shown("scale")))
        })?;
        let keys = match found("keys").filter(|keys| !keys.is_null()) {
            None => None,
            Some(keys) => {
                let texts = keys.as_array().map(|keys| keys.iter().map(|key| key.as_str().map(str::to_string)));
                let texts: Option<Vec<String>> = texts.and_then(Iterator::collect);
                Some(texts.ok_or_else(|| wrong("`keys` of `lora_parameters` must be a list of texts".to_string()))?)
            }
        };
        // Older versions call it `lora_layers`. Zero or less means every block.
        let layers = config.get("num_layers").or_else(|| config.get("lora_layers"));
        let layers = layers.and_then(Value::as_i64).ok_or_else(|| {
            wrong("`num_layers` must be a whole number: how many blocks, from the last, are adapted".to_string())
        })?;
        let layers = usize::try_from(layers).ok().filter(|layers| *layers > 0).unwrap_or(usize::MAX);
        Ok(MlxConfig { rank, scale, keys, layers })
    }

    /// Whether a linear is adapted: `module` is its whole path in a model of `layers` blocks, `inner` its path in its
    /// block.
    pub fn adapts(&self, module: &str, inner: &str, layer: usize, layers: usize) -> bool {
        let Some(keys) = &self.keys else { return layer >= layers.saturating_sub(self.layers) };
        let named = |path: &str| keys.iter().any(|key| key == path);
        named(module) || (layer >= layers.saturating_sub(self.layers) && named(inner))
    }

    pub fn site(&self, layer: usize, target: Target) -> SiteSpec {
        SiteSpec { layer, target, rank: self.rank, alpha: self.scale * self.rank as f64 }
    }
}

/// The path of a linear in MLX's model.
pub(super) fn module(family: &Family, layer: usize, target: Target) -> String {
    let path = family.module(layer, target);
    path.split_once('.').map_or(path.clone(), |(_, inside)| format!("{INNER}.{inside}"))
}

/// The inverse of `module`.
pub(super) fn parse_module(path: &str, family: &Family) -> Option<(usize, Target)> {
    family.parse_module(&family.outside(path.strip_prefix(INNER)?.strip_prefix('.')?))
}

/// Both files of an adapter of one rank and alpha.
pub(super) fn files(pairs: &[Pair], model: &Config, origin: &Origin) -> AdapterFiles {
    let family = model.family;
    let spec = AdapterSpec::from_sites(pairs.iter().map(|pair| pair.site).collect());
    let keys: Vec<String> = match spec.targets_of_every_layer(model) {
        Some(targets) => targets.into_iter().map(|target| family.path(target).to_string()).collect(),
        None => spec.sites().iter().map(|site| module(family, site.layer, site.target)).collect(),
    };
    let config = json!({
        "fine_tune_type": "lora",
        "model": origin.base,
        "num_layers": model.layers,
        "lora_parameters": {
            "rank": spec.rank(),
            "scale": spec.alpha() / spec.rank() as f64,
            "dropout": 0.0,
            "keys": keys,
        },
    });
    let matrices: Vec<_> = pairs
        .iter()
        .flat_map(|pair| {
            let name = |which| Form::Mlx.key(family, pair.site.layer, pair.site.target, which);
            [(name('A'), pair.a.transposed()), (name('B'), pair.b.transposed())]
        })
        .collect();
    let tensors: Vec<_> =
        matrices.iter().map(|(name, m)| (name.clone(), vec![m.rows, m.cols], m.values.as_slice())).collect();
    let metadata: Vec<_> = [("format".to_string(), "mlx".to_string())].into_iter().chain(origin.metadata()).collect();
    AdapterFiles { config: format!("{config:#}"), weights: safetensors::write(&tensors, &metadata) }
}
