//! PEFT's two files: `adapter_config.json` and `adapter_model.safetensors`, out and in.
//!
//! The names and shapes of the tensors say which linears are adapted and with what rank. The config must agree: where
//! it does not, PEFT drops tensors silently. Several readers overlook patterns and rsLoRA, so the files written here
//! have one rank and one scale: smaller ranks are padded with zeros, and the rest of a site's scale goes into its B. If
//! all sites have the same rank and scale, every tensor is written as it is.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::json;

use super::peft_config::PeftConfig;
use super::{Adapter, AdapterSpec, HostMatrix, Pair, SiteSpec};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::files::safetensors::{Entry, Header, to_f32, write};
use crate::model::{Config, Family, Target};

const WEIGHTS: &str = "adapter_model.safetensors";
const PREFIX: &str = "base_model.model.";
/// What the header of the weights notes of an adapter that was trained on conversations.
const TRAINED_ON: (&str, &str) = ("trained_on", "conversations");
/// The longest header of an adapter that is read, in bytes: several times what every linear of the largest model needs.
pub const LONGEST_HEADER: u64 = 1 << 20;

/// The bytes of an adapter as PEFT keeps it.
///
/// ```no_run
/// # use tabtune::{adapter::AdapterFiles, error::Result, model::Transformer};
/// # fn example(model: &Transformer, config: String, weights: Vec<u8>) -> Result<Transformer> {
/// let files = AdapterFiles { config, weights };
/// let (adapter, parameters) = files.load(&model.device, &model.config)?;
/// adapter.write(&model.device, &parameters);
/// let adapted = adapter.attach(model);
/// # Ok(adapted)
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterFiles {
    pub config: String,
    pub weights: Vec<u8>,
}

impl AdapterFiles {
    /// The files of `adapter` with parameters `flat`, made for the base model `base`. `is_chat` notes that it was
    /// trained on conversations, so that whoever asks it something else is told.
    pub fn new(adapter: &Adapter, flat: &[f32], base: &str, is_chat: bool) -> AdapterFiles {
        let spec = adapter.spec.folded();
        // Every field is written, so that older readers with other defaults compute the same.
        let config = json!({
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": base,
            "revision": null,
            "inference_mode": true,
            "r": spec.rank(),
            "lora_alpha": if spec.alpha().fract() == 0.0 { json!(spec.alpha() as u64) } else { json!(spec.alpha()) },
            "lora_dropout": 0.0,
            "target_modules": target_modules(&spec, &adapter.config),
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
        let pairs: Vec<Pair> =
            adapter.pairs(flat).into_iter().zip(spec.sites()).map(|(pair, site)| folded(pair, site)).collect();
        let tensors: Vec<(String, Vec<usize>, &[f32])> = pairs
            .iter()
            .flat_map(|pair| {
                [("A", &pair.a), ("B", &pair.b)].map(|(which, m)| {
                    (key(adapter.config.family, &pair.site, which), vec![m.rows, m.cols], m.values.as_slice())
                })
            })
            .collect();
        let mut metadata = vec![
            ("format".to_string(), "pt".to_string()),
            ("producer".to_string(), concat!("tabtune ", env!("CARGO_PKG_VERSION")).to_string()),
        ];
        metadata.extend(is_chat.then(|| (TRAINED_ON.0.to_string(), TRAINED_ON.1.to_string())));
        AdapterFiles { config: format!("{config:#}"), weights: write(&tensors, &metadata) }
    }

    /// Loads the files for a model: an adapter with their linears, ranks and scales, and its parameters. Anything other
    /// than plain LoRA is refused by name. Errors: `Adapter`, `UnsupportedAdapter`, `AdapterMismatch`, `TensorMissing`,
    /// `TensorNotFinite`, `Safetensors`.
    pub fn load(&self, device: &Device, config: &Config) -> Result<(Adapter, Vec<f32>)> {
        let pairs = self.pairs(config)?;
        let adapter =
            Adapter::new(device, config, AdapterSpec::from_sites(pairs.iter().map(|pair| pair.site).collect()))?;
        let flat = adapter.flat(&pairs)?;
        Ok((adapter, flat))
    }

    /// Whether the files say that the adapter was trained on conversations; those of other programs never do. Errors:
    /// `Safetensors`.
    pub fn is_chat(&self) -> Result<bool> {
        let noted = |(key, value): &(String, String)| (key.as_str(), value.as_str()) == TRAINED_ON;
        Ok(self.header()?.metadata.iter().any(noted))
    }

    /// The SHA-256 of the weights' file, in hexadecimal.
    pub fn sha256(&self) -> String {
        use sha2::Digest as _;
        sha2::Sha256::digest(&self.weights).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The linears, ranks and alphas of the files. Errors: as `load`.
    pub fn spec(&self, config: &Config) -> Result<AdapterSpec> {
        Ok(AdapterSpec::from_sites(
            sites(&self.config, &self.header()?, config.family)?.into_iter().map(|(site, _, _)| site).collect(),
        ))
    }

    /// The parameters in the layout of `adapter`, which must have the files' linears, ranks and alphas.
    pub fn parameters(&self, adapter: &Adapter) -> Result<Vec<f32>> {
        let pairs = self.pairs(&adapter.config)?;
        if !pairs.iter().map(|pair| &pair.site).eq(adapter.spec.sites()) {
            return Err(Error::AdapterMismatch {
                reason: "its linears, ranks or alphas differ from those of this run".to_string(),
            });
        }
        adapter.flat(&pairs)
    }

    /// A and B of every site, in the order of the model.
    pub(super) fn pairs(&self, config: &Config) -> Result<Vec<Pair>> {
        let header = self.header()?;
        let pair = |(site, a, b)| Ok(Pair { site, a: self.matrix(a)?, b: self.matrix(b)? });
        sites(&self.config, &header, config.family)?.into_iter().map(pair).collect()
    }

    fn header(&self) -> Result<Header> {
        let bytes = &self.weights;
        let short =
            || Error::Safetensors { file: WEIGHTS.to_string(), reason: "it is shorter than 8 bytes".to_string() };
        let (first8, _) = bytes.split_first_chunk::<8>().ok_or_else(short)?;
        let length = Header::length(first8, bytes.len() as u64, WEIGHTS)?;
        if length > LONGEST_HEADER {
            let reason = format!("its header claims {length} bytes, at most {LONGEST_HEADER} are read of an adapter");
            return Err(Error::Safetensors { file: WEIGHTS.to_string(), reason });
        }
        let end = (length as usize).saturating_add(8);
        Header::parse(self.bytes(8..end), bytes.len() as u64, WEIGHTS)
    }

    /// A range that the header, which is checked against the file's length, says is there.
    fn bytes(&self, range: Range<usize>) -> &[u8] {
        let length = self.weights.len();
        let bytes = self.weights.get(range.clone());
        bytes.unwrap_or_else(|| unreachable!("{range:?} is outside the {length} bytes of the adapter"))
    }

    fn matrix(&self, entry: &Entry) -> Result<HostMatrix> {
        let [rows, cols] = two(entry)?;
        let mut values = Vec::new();
        to_f32(entry.dtype, self.bytes(entry.begin as usize..entry.end as usize), &mut values);
        if values.iter().any(|x| !x.is_finite()) {
            return Err(Error::TensorNotFinite { name: entry.name.clone() });
        }
        Ok(HostMatrix { rows, cols, values })
    }
}

/// PEFT's name of an A or B.
pub(super) fn key(family: &Family, site: &SiteSpec, which: &str) -> String {
    format!("{PREFIX}{}.lora_{which}.weight", family.module(site.layer, site.target))
}

/// The pair with the rank and the scale of `site`: the same B A, times the same scale.
fn folded(pair: Pair, site: &SiteSpec) -> Pair {
    let (rank, factor) = (pair.site.rank, pair.site.scale() / site.scale());
    let rest = site.rank.saturating_sub(rank);
    let Pair { mut a, b, .. } = pair;
    a.values.extend(std::iter::repeat_n(0.0, rest.saturating_mul(a.cols)));
    let values = b.values.chunks(rank).flat_map(|row| {
        let scaled = row.iter().map(|x| if factor == 1.0 { *x } else { (f64::from(*x) * factor) as f32 });
        scaled.chain(std::iter::repeat_n(0.0, rest))
    });
    Pair {
        site: *site,
        a: HostMatrix { rows: site.rank, ..a },
        b: HostMatrix { rows: b.rows, cols: site.rank, values: values.collect() },
    }
}

/// The last part of each name if every layer has the same linears, else whole paths. PEFT and its readers accept both.
fn target_modules(spec: &AdapterSpec, config: &Config) -> Vec<String> {
    let targets = spec.targets();
    if spec.sites().len() == targets.len().saturating_mul(config.layers) {
        return targets.iter().map(|target| config.family.name(*target).to_string()).collect();
    }
    spec.sites().iter().map(|site| config.family.module(site.layer, site.target)).collect()
}

/// Every site with the entries of its A and its B, in the order of the model, once config and tensors agree.
fn sites<'a>(config: &str, header: &'a Header, family: &Family) -> Result<Vec<(SiteSpec, &'a Entry, &'a Entry)>> {
    let config = PeftConfig::parse(config, family)?;
    let mut found: BTreeMap<(usize, Target), [Option<&Entry>; 2]> = BTreeMap::new();
    for entry in &header.entries {
        let (layer, target, which) = parse_key(&entry.name, family)?;
        let [a, b] = found.entry((layer, target)).or_default();
        let place = if which == 'A' { a } else { b };
        if place.replace(entry).is_some() {
            return Err(wrong(format!("tensor `{}` appears twice", entry.name)));
        }
    }
    if found.is_empty() {
        return Err(wrong("it holds no tensors".to_string()));
    }
    let mut sites = Vec::with_capacity(found.len());
    for ((layer, target), [a, b]) in found {
        let missing = |which: &str| Error::TensorMissing {
            name: format!("{PREFIX}{}.lora_{which}.weight", family.module(layer, target)),
            file: WEIGHTS.to_string(),
        };
        let (a, b) = (a.ok_or_else(|| missing("A"))?, b.ok_or_else(|| missing("B"))?);
        if !config.adapts(&family.module(layer, target))? {
            return Err(wrong(format!(
                "tensor `{}` belongs to a linear that adapter_config.json does not adapt",
                a.name
            )));
        }
        let site = config.site(layer, target, &family.module(layer, target))?;
        for (entry, rank) in [(a, two(a)?[0]), (b, two(b)?[1])] {
            if rank != site.rank {
                let reason = format!(
                    "tensor `{}` of shape {:?} has rank {rank}, adapter_config.json says {}",
                    entry.name, entry.shape, site.rank
                );
                return Err(wrong(reason));
            }
        }
        sites.push((site, a, b));
    }
    Ok(sites)
}

fn wrong(reason: String) -> Error {
    Error::Adapter { file: WEIGHTS.to_string(), reason }
}

fn two(entry: &Entry) -> Result<[usize; 2]> {
    let shape = entry.shape.as_slice().try_into();
    shape.map_err(|_| wrong(format!("tensor `{}` of shape {:?} is not a matrix", entry.name, entry.shape)))
}

/// Layer, linear, and `A` or `B`, from the name of a tensor. As in PEFT, the name may contain the adapter's own
/// (`.default`).
fn parse_key(name: &str, family: &Family) -> Result<(usize, Target, char)> {
    let beyond = [
        ("lora_magnitude_vector", "DoRA"),
        ("lora_embedding_", "LoRA on the embedding"),
        (".base_layer.", "weights of the base"),
        (".modules_to_save.", "`modules_to_save`"),
        (".bias", "biases"),
    ];
    if let Some((_, what)) = beyond.iter().find(|(part, _)| name.contains(part)) {
        return Err(Error::UnsupportedAdapter { feature: format!("{what} (tensor `{name}`)") });
    }
    let path = name.strip_prefix(PREFIX).and_then(|path| path.strip_suffix(".weight"));
    let path = path.map(|path| path.strip_suffix(".default").unwrap_or(path));
    let parts = path.and_then(|path| {
        let a = path.strip_suffix(".lora_A").map(|module| (module, 'A'));
        a.or_else(|| path.strip_suffix(".lora_B").map(|module| (module, 'B')))
    });
    let site =
        parts.and_then(|(module, which)| family.parse_module(module).map(|(layer, target)| (layer, target, which)));
    site.ok_or_else(|| Error::AdapterMismatch {
        reason: format!("tensor `{name}` belongs to no linear of a {} model", family.model_type),
    })
}
