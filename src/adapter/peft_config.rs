//! adapter_config.json, read as PEFT 0.21 reads it: which modules are adapted, with what rank and scale. Anything
//! beyond plain LoRA is refused by name.

use fancy_regex::{Regex, RegexBuilder};
use serde_json::{Value, json};

use super::spec::{ALPHAS, MOST_RANK, SiteSpec, is_alpha};
use crate::error::{Error, Result};
use crate::files::json;
use crate::files::safetensors::Pairs;
use crate::model::{Family, Target};

pub(super) const CONFIG: &str = "adapter_config.json";
/// Limits on the work that a file can ask for.
pub(super) const LONGEST_CONFIG: usize = 1 << 20;
const LONGEST_REGEX: usize = 4096;
const MOST_PATTERNS: usize = 1024;
const MOST_BACKTRACKS: usize = 20_000;

/// Each of these asks for something other than x Aᵀ Bᵀ on a linear, or changes the base's weights. `fan_in_fan_out`
/// does not: it only says how the base stores a linear, and PEFT corrects it.
const BEYOND_PLAIN_LORA: [&str; 14] = [
    "use_dora",
    "bias",
    "lora_bias",
    "layer_replication",
    "trainable_token_indices",
    "target_parameters",
    "use_qalora",
    "use_bdlora",
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "velora_config",
    "monteclora_config",
    "megatron_config",
];

pub(super) struct PeftConfig {
    rank: usize,
    alpha: f64,
    rslora: bool,
    rank_pattern: Vec<(Regex, f64)>,
    alpha_pattern: Vec<(Regex, f64)>,
    targets: Modules,
    excluded: Modules,
    /// Restricts targets given as suffixes to these layers; `None`: all layers.
    layers: Option<Vec<u64>>,
    layers_pattern: Vec<Regex>,
    /// `modules_to_save`, as it is written: modules of the base that the adapter replaces.
    pub saved: Option<String>,
}

/// A field that names modules.
enum Modules {
    AllLinear,
    Matching(Regex),
    /// Whole paths, or their last parts.
    Named(Vec<String>),
}

impl PeftConfig {
    /// Errors: `Adapter`, `UnsupportedAdapter`.
    pub fn parse(text: &str, value: &Value, family: &Family) -> Result<PeftConfig> {
        // Read a second time because the order of patterns matters and a `Value` does not keep it.
        let patterns: Patterns = json::read(text.as_bytes()).map_err(wrong)?;
        match value.get("peft_type").and_then(Value::as_str) {
            Some("LORA") => {}
            Some(other) => return Err(Error::UnsupportedAdapter { feature: format!("`peft_type` = {other}") }),
            None => {
                let reason = "`peft_type` is missing, and so is `fine_tune_type`: it is neither PEFT's nor MLX's";
                return Err(wrong(reason.to_string()));
            }
        }
        refuse_more_than_plain_lora(value)?;

        let layers = layers(value)?;
        let targets = modules(value, "target_modules")?;
        if layers.is_some() && value.get("target_modules").is_some_and(Value::is_string) {
            return Err(wrong("`layers_to_transform` cannot be used when `target_modules` is a string".to_string()));
        }
        let alpha = set(value, "lora_alpha").map_or(Some(8.0), Value::as_f64);
        Ok(PeftConfig {
            rank: set(value, "r")
                .map_or(Some(8), Value::as_u64)
                .and_then(rank)
                .ok_or_else(|| wrong(expected_rank("`r`")))?,
            alpha: alpha
                .filter(|alpha| is_alpha(*alpha))
                .ok_or_else(|| wrong(expected_alpha(value.get("lora_alpha"))))?,
            rslora: set(value, "use_rslora").is_some(),
            rank_pattern: pattern("rank_pattern", patterns.rank_pattern, |x| {
                rank(*x as u64).is_some_and(|r| r as f64 == *x)
            })?,
            alpha_pattern: pattern("alpha_pattern", patterns.alpha_pattern, |alpha| is_alpha(*alpha))?,
            targets: targets.unwrap_or_else(|| {
                let names = family.peft_targets.iter().map(|target| family.name(*target).to_string());
                Modules::Named(names.collect())
            }),
            excluded: modules(value, "exclude_modules")?.unwrap_or(Modules::Named(Vec::new())),
            layers,
            layers_pattern: layers_pattern(value)?,
            saved: set(value, "modules_to_save").map(json::shown),
        })
    }

    /// Whether the linear at this path is adapted.
    pub fn adapts(&self, module: &str) -> Result<bool> {
        if self.excluded.has(module)? {
            return Ok(false);
        }
        let in_layer = match (&self.targets, &self.layers) {
            (Modules::Named(names), Some(layers)) if !names.iter().any(|name| name == module) => {
                let number = self.layer_number(module)?;
                number.is_some_and(|number| layers.contains(&number))
            }
            _ => true,
        };
        Ok(in_layer && self.targets.has(module)?)
    }

    /// Rank and alpha of a linear.
    pub fn site(&self, layer: usize, target: Target, module: &str) -> Result<SiteSpec> {
        let rank = first_match(&self.rank_pattern, module)?.map_or(self.rank, |rank| rank as usize);
        let alpha = first_match(&self.alpha_pattern, module)?.unwrap_or(self.alpha);
        // rsLoRA scales by alpha / sqrt(rank) (Kalajdzievski 2023), which is plain LoRA with alpha · sqrt(rank).
        let alpha = if self.rslora { alpha * (rank as f64).sqrt() } else { alpha };
        Ok(SiteSpec { layer, target, rank, alpha })
    }

    /// The number that follows the first pattern found in the path.
    fn layer_number(&self, module: &str) -> Result<Option<u64>> {
        for regex in &self.layers_pattern {
            let found = regex.captures(module).map_err(|e| wrong(format!("`layers_pattern`: {e}")))?;
            if let Some(found) = found {
                return Ok(found.name("idx").and_then(|number| number.as_str().parse().ok()));
            }
        }
        Ok(None)
    }
}

impl Modules {
    fn has(&self, module: &str) -> Result<bool> {
        match self {
            Modules::AllLinear => Ok(true),
            Modules::Matching(regex) => regex.is_match(module).map_err(|e| wrong(format!("`{}`: {e}", regex.as_str()))),
            Modules::Named(names) => {
                let ends = |name: &String| {
                    module.strip_suffix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
                };
                Ok(names.iter().any(ends))
            }
        }
    }
}

/// What a scale must be, and what it is.
fn expected_alpha(found: Option<&Value>) -> String {
    format!("`lora_alpha` must be {ALPHAS}, found {}", found.map_or("nothing".to_string(), json::shown))
}

pub(super) fn wrong(reason: String) -> Error {
    Error::Adapter { file: CONFIG.to_string(), reason }
}

fn expected_rank(what: &str) -> String {
    format!("{what} must be a whole number from 1 to {MOST_RANK}")
}

fn rank(rank: u64) -> Option<usize> {
    usize::try_from(rank).ok().filter(|rank| (1..=MOST_RANK).contains(rank))
}

/// The value of a field unless it is null, false, empty or "none".
fn set<'a>(value: &'a Value, field: &str) -> Option<&'a Value> {
    let nothing = [Value::Null, json!(false), json!({}), json!([]), json!(""), json!("none")];
    value.get(field).filter(|value| !nothing.contains(value))
}

fn refuse_more_than_plain_lora(value: &Value) -> Result<()> {
    if let Some((field, found)) = BEYOND_PLAIN_LORA.iter().find_map(|field| Some((field, set(value, field)?))) {
        return Err(Error::UnsupportedAdapter { feature: format!("`{field}` = {}", json::shown(found)) });
    }
    // PiSSA, OLoRA, CorDA and LoftQ subtract something from the base's weights that the file does not hold.
    let keeps_the_base = ["gaussian", "eva", "orthogonal"];
    match value.get("init_lora_weights").and_then(Value::as_str) {
        Some(init) if !keeps_the_base.contains(&init) => {
            Err(Error::UnsupportedAdapter { feature: format!("`init_lora_weights` = {init}") })
        }
        _ => Ok(()),
    }
}

fn regex(field: &str, pattern: &str) -> Result<Regex> {
    if pattern.len() > LONGEST_REGEX {
        return Err(wrong(format!(
            "`{field}`: an expression of {} bytes, at most {LONGEST_REGEX} are read",
            pattern.len()
        )));
    }
    let mut builder = RegexBuilder::new(pattern);
    builder.backtrack_limit(MOST_BACKTRACKS).delegate_size_limit(LONGEST_CONFIG);
    builder.build().map_err(|e| wrong(format!("`{field}`: {e}")))
}

fn strings(field: &str, value: &Value) -> Result<Vec<String>> {
    let names = value.as_array().and_then(|list| list.iter().map(|name| name.as_str().map(str::to_string)).collect());
    names.ok_or_else(|| wrong(format!("`{field}` must be a string or a list of strings")))
}

fn modules(value: &Value, field: &str) -> Result<Option<Modules>> {
    match set(value, field) {
        None => Ok(None),
        Some(Value::String(all)) if all == "all-linear" && field == "target_modules" => Ok(Some(Modules::AllLinear)),
        Some(Value::String(pattern)) => Ok(Some(Modules::Matching(regex(field, &format!(r"\A(?:{pattern})\z"))?))),
        Some(list) => Ok(Some(Modules::Named(strings(field, list)?))),
    }
}

fn layers(value: &Value) -> Result<Option<Vec<u64>>> {
    let Some(found) = set(value, "layers_to_transform") else { return Ok(None) };
    let numbers = match found {
        Value::Array(list) => list.iter().map(Value::as_u64).collect(),
        one => one.as_u64().map(|one| vec![one]),
    };
    numbers
        .map(Some)
        .ok_or_else(|| wrong("`layers_to_transform` must be a layer's number or a list of them".to_string()))
}

fn layers_pattern(value: &Value) -> Result<Vec<Regex>> {
    let field = "layers_pattern";
    let patterns = match set(value, field) {
        None => return Ok(vec![regex(field, r"\A.*?\.[^.]*\.(?P<idx>\d+)\.")?]),
        Some(Value::String(one)) => vec![one.clone()],
        Some(list) => strings(field, list)?,
    };
    patterns.iter().map(|pattern| regex(field, &format!(r"\A(?:|.*?\.){pattern}\.(?P<idx>\d+)\."))).collect()
}

/// rank_pattern and alpha_pattern: each key is an expression for the end of a module's path; the first match counts.
fn pattern(field: &str, pairs: Option<Pairs<f64>>, good: impl Fn(&f64) -> bool) -> Result<Vec<(Regex, f64)>> {
    let pairs = pairs.map_or(Vec::new(), |pairs| pairs.0);
    if pairs.len() > MOST_PATTERNS {
        return Err(wrong(format!("`{field}` has {} entries, at most {MOST_PATTERNS} are read", pairs.len())));
    }
    let one = |(key, number): (String, f64)| {
        if !good(&number) {
            return Err(wrong(format!("`{field}`, `{key}`: {number} cannot be used")));
        }
        Ok((regex(field, &format!(r"\A(?:.*\.)?(?:{key})\z"))?, number))
    };
    pairs.into_iter().map(one).collect()
}

fn first_match(patterns: &[(Regex, f64)], module: &str) -> Result<Option<f64>> {
    for (regex, number) in patterns {
        if regex.is_match(module).map_err(|e| wrong(format!("`{}`: {e}", regex.as_str())))? {
            return Ok(Some(*number));
        }
    }
    Ok(None)
}

#[derive(serde::Deserialize)]
struct Patterns {
    #[serde(default)]
    rank_pattern: Option<Pairs<f64>>,
    #[serde(default)]
    alpha_pattern: Option<Pairs<f64>>,
}
