//! PEFT's two files: `adapter_config.json` and `adapter_model.safetensors`, out and in.

use serde_json::{Value, json};

use super::{Adapter, AdapterSpec};
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::model::{Config, Target, llama};
use crate::safetensors::{Header, to_f32, write};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

/// The bytes of an adapter as PEFT keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterFiles {
    pub config: String,
    pub weights: Vec<u8>,
}

fn key(module: &str, which: &str) -> String {
    format!("base_model.model.{module}.lora_{which}.weight")
}

impl AdapterFiles {
    /// The files of `adapter` with parameters `flat`, made for the base model `base`.
    pub fn new(adapter: &Adapter, flat: &[f32], base: &str) -> AdapterFiles {
        let spec = &adapter.spec;
        let targets: Vec<&str> = spec.targets.iter().map(|target| target.name()).collect();
        // Written in full, so that older readers, which know other defaults, compute the same.
        let config = json!({
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": base,
            "revision": null,
            "inference_mode": true,
            "r": spec.rank,
            "lora_alpha": if spec.alpha.fract() == 0.0 { json!(spec.alpha as u64) } else { json!(spec.alpha) },
            "lora_dropout": 0.0,
            "target_modules": targets,
            "fan_in_fan_out": false,
            "bias": "none",
            "modules_to_save": null,
            "init_lora_weights": true,
            "use_rslora": false,
            "use_dora": false,
            "layers_to_transform": null,
            "layers_pattern": null,
            "rank_pattern": {},
            "alpha_pattern": {},
            "auto_mapping": null,
        });
        let matrices = adapter.matrices(flat);
        let tensors: Vec<(String, Vec<usize>, &[f32])> = matrices
            .iter()
            .flat_map(|(module, a, b)| {
                [("A", a), ("B", b)].map(|(which, m)| (key(module, which), vec![m.rows, m.cols], m.values.as_slice()))
            })
            .collect();
        let metadata = [
            ("format".to_string(), "pt".to_string()),
            ("producer".to_string(), concat!("tabtune ", env!("CARGO_PKG_VERSION")).to_string()),
        ];
        let config = serde_json::to_string_pretty(&config).unwrap_or_default();
        AdapterFiles { config, weights: write(&tensors, &metadata) }
    }

    /// Loads the files for a model: an adapter of their rank, alpha and targets, and its parameters. Plain LoRA with one rank; anything else is
    /// refused by name. Errors: `Adapter`, `AdapterMismatch`, `NotYet`, `Safetensors`.
    pub fn load(&self, gpu: &Gpu, config: &Config) -> Result<(Adapter, Vec<f32>)> {
        let adapter = Adapter::new(gpu, config, self.spec()?).map_err(|error| match error {
            Error::Setting { name, value, expected } => {
                Error::AdapterMismatch { reason: format!("its {name} is {value}, expected {expected}") }
            }
            other => other,
        })?;
        let flat = self.parameters(&adapter)?;
        Ok((adapter, flat))
    }

    /// Rank, alpha and targets as the files say them.
    pub fn spec(&self) -> Result<AdapterSpec> {
        let (rank, alpha) = rank_and_alpha(&self.config)?;
        Ok(AdapterSpec { rank, alpha, targets: targets(&self.header()?)? })
    }

    /// The parameters in the layout of `adapter`, which must be of the files' rank, alpha and targets.
    pub fn parameters(&self, adapter: &Adapter) -> Result<Vec<f32>> {
        let header = self.header()?;
        let (rank, alpha) = rank_and_alpha(&self.config)?;
        if (rank, alpha) != (adapter.spec.rank, adapter.spec.alpha) {
            return Err(Error::AdapterMismatch { reason: format!("its rank {rank} and alpha {alpha} are not those of this run") });
        }
        if header.entries.len() != 2 * adapter.sites.len() {
            let reason = format!("it has {} tensors, this model would need {}", header.entries.len(), 2 * adapter.sites.len());
            return Err(Error::AdapterMismatch { reason });
        }
        let mut flat = vec![0.0; adapter.length];
        for site in &adapter.sites {
            let module = llama::module(site.layer, site.target);
            let a = tensor(&header, &self.weights, &module, "A", [rank, site.cols])?;
            let b = tensor(&header, &self.weights, &module, "B", [site.rows, rank])?;
            adapter.place(site, &a, &b, &mut flat);
        }
        Ok(flat)
    }

    fn header(&self) -> Result<Header> {
        let bytes = &self.weights;
        let first8: [u8; 8] = bytes
            .get(..8)
            .and_then(|first| first.try_into().ok())
            .ok_or_else(|| Error::Safetensors { file: WEIGHTS.to_string(), reason: "it is shorter than 8 bytes".to_string() })?;
        let length = Header::length(&first8, bytes.len() as u64, WEIGHTS)? as usize;
        Header::parse(bytes.get(8..8 + length).unwrap_or_default(), bytes.len() as u64, WEIGHTS)
    }
}

/// Rank and alpha of adapter_config.json, once everything else in it is known to be plain LoRA.
fn rank_and_alpha(json: &str) -> Result<(usize, f64)> {
    let wrong = |reason: String| Error::Adapter { file: CONFIG.to_string(), reason };
    let value: Value = serde_json::from_str(json).map_err(|e| wrong(e.to_string()))?;
    match value.get("peft_type").and_then(Value::as_str) {
        Some("LORA") => {}
        Some(other) => return Err(wrong(format!("`peft_type` {other} is not LORA"))),
        None => return Err(wrong("`peft_type` is missing".to_string())),
    }
    let set = |field: &str| {
        value
            .get(field)
            .filter(|v| !matches!(v, Value::Null | Value::Bool(false)) && **v != json!({}) && **v != json!([]) && **v != json!("none"))
    };
    for field in
        ["use_dora", "modules_to_save", "bias", "lora_bias", "fan_in_fan_out", "layer_replication", "trainable_token_indices", "use_qalora"]
    {
        if let Some(found) = set(field) {
            return Err(wrong(format!("`{field}` = {found} is not plain LoRA")));
        }
    }
    for field in ["rank_pattern", "alpha_pattern", "layers_to_transform"] {
        if set(field).is_some() {
            return Err(Error::NotYet { what: format!("an adapter with `{field}`") });
        }
    }
    let rank = value.get("r").map_or(Some(8), Value::as_u64).filter(|r| (1..=4096).contains(r));
    let rank = rank.ok_or_else(|| wrong("`r` must be a whole number from 1 to 4096".to_string()))? as usize;
    let alpha = value.get("lora_alpha").map_or(Some(8.0), Value::as_f64).filter(|a| a.is_finite() && *a > 0.0);
    let alpha = alpha.ok_or_else(|| wrong("`lora_alpha` must be a positive number".to_string()))?;
    // rsLoRA scales with alpha / sqrt(rank); as an alpha of plain LoRA that is alpha · sqrt(rank).
    Ok((rank, if set("use_rslora").is_some() { alpha * (rank as f64).sqrt() } else { alpha }))
}

/// The adapted linears, from the names of the tensors.
fn targets(header: &Header) -> Result<Vec<Target>> {
    let unknown = |name: &str| Error::AdapterMismatch { reason: format!("tensor `{name}` belongs to no linear of a Llama model") };
    let mut targets = Vec::new();
    for entry in &header.entries {
        let module = entry.name.strip_suffix(".lora_A.weight").or_else(|| entry.name.strip_suffix(".lora_B.weight"));
        let name = module.and_then(|module| module.rsplit('.').next());
        targets.push(name.and_then(Target::parse).ok_or_else(|| unknown(&entry.name))?);
    }
    targets.sort();
    targets.dedup();
    Ok(targets)
}

fn tensor(header: &Header, bytes: &[u8], module: &str, which: &str, shape: [usize; 2]) -> Result<Vec<f32>> {
    let name = key(module, which);
    let entry = header.get(&name).ok_or_else(|| Error::TensorMissing { name: name.clone(), file: WEIGHTS.to_string() })?;
    if entry.shape != shape {
        return Err(Error::AdapterMismatch { reason: format!("tensor `{name}`: expected shape {shape:?}, found {:?}", entry.shape) });
    }
    let mut values = Vec::new();
    to_f32(entry.dtype, bytes.get(entry.begin as usize..entry.end as usize).unwrap_or_default(), &mut values);
    if values.iter().any(|x| !x.is_finite()) {
        return Err(Error::TensorNotFinite { name });
    }
    Ok(values)
}
