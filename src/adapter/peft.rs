//! PEFT's two files, `adapter_config.json` and `adapter_model.safetensors`, out and in; those of other forms, in.
//!
//! `contents` says what they mean. Several readers overlook patterns and rsLoRA, so the files written here have one
//! rank and one scale: smaller ranks are padded with zeros, and the rest of a site's scale goes into its B. If all
//! sites have the same rank and scale, every tensor is written as it is.

use std::ops::Range;

use serde_json::json;

use super::contents::{AdapterConfig, Contents, Found};
use super::gguf::GgufConfig;
use super::keys::key;
use super::spec::MOST_ALPHA;
use super::{Adapter, AdapterSpec, HostMatrix, Origin, Pair, SiteSpec};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::files::gguf::MAGIC;
use crate::files::safetensors::{Entry, Header, to_f32, write};
use crate::model::Config;
use crate::warning::Warning;

/// The longest header of an adapter that is read, in bytes: several times what every linear of the largest model needs.
pub const LONGEST_HEADER: u64 = 1 << 20;

/// The bytes of an adapter in one of its forms.
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
    /// adapter_config.json; empty for a GGUF file, which holds all.
    pub config: String,
    pub weights: Vec<u8>,
}

impl AdapterFiles {
    /// The files of `adapter` with parameters `flat`.
    pub fn new(adapter: &Adapter, flat: &[f32], origin: &Origin) -> AdapterFiles {
        AdapterFiles::of(&adapter.spec, adapter.pairs(flat), &adapter.config, origin)
    }

    /// PEFT's files of the same adapter, as PEFT names its tensors: these, unless they are of another form. `base` is
    /// the base's name if the files note none. Errors: as `load`.
    pub fn in_peft_form(&self, config: &Config, base: &str) -> Result<AdapterFiles> {
        let (adapter_config, header) = self.open_with(config)?;
        if adapter_config.contents(&header, config)?.is_usual {
            return Ok(self.clone());
        }
        let pairs = self.pairs(config)?;
        let spec = AdapterSpec::from_sites(pairs.iter().map(|pair| pair.site).collect());
        Ok(AdapterFiles::of(&spec, pairs, config, &self.origin_or(base)?))
    }

    /// What the files note, with the name of this base if they note none.
    pub(super) fn origin_or(&self, base: &str) -> Result<Origin> {
        let noted = self.origin()?;
        Ok(if noted.base.is_empty() { Origin { base: base.to_string(), ..noted } } else { noted })
    }

    /// The pairs with one rank and one alpha.
    pub(super) fn folded(&self, config: &Config) -> Result<Vec<Pair>> {
        let pairs = self.pairs(config)?;
        let spec = AdapterSpec::from_sites(pairs.iter().map(|pair| pair.site).collect()).folded();
        Ok(pairs.into_iter().zip(spec.sites()).map(|(pair, site)| folded(pair, site)).collect())
    }

    /// The config, and the names and shapes of the tensors. The config is judged first: what it says explains more than
    /// what is wrong with the tensors.
    fn open_with(&self, model: &Config) -> Result<(AdapterConfig, Header)> {
        if self.is_gguf() {
            let (config, header) = GgufConfig::read(&self.weights, model)?;
            return Ok((AdapterConfig::Gguf(config), header));
        }
        let config = AdapterConfig::parse(&self.config, model)?;
        let header = self.header(config.form().weights())?;
        Ok((config, header))
    }

    pub(super) fn is_gguf(&self) -> bool {
        self.config.is_empty() && self.weights.starts_with(MAGIC)
    }

    fn of(spec: &AdapterSpec, pairs: Vec<Pair>, model: &Config, origin: &Origin) -> AdapterFiles {
        let spec = spec.folded();
        // Every field is written, so that older readers with other defaults compute the same.
        let config = json!({
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": origin.base,
            "revision": null,
            "inference_mode": true,
            "r": spec.rank(),
            "lora_alpha": number(spec.alpha()),
            "lora_dropout": 0.0,
            "target_modules": target_modules(&spec, model),
            "fan_in_fan_out": model.layout.transposed,
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
        let pairs: Vec<Pair> = pairs.into_iter().zip(spec.sites()).map(|(pair, site)| folded(pair, site)).collect();
        let tensors: Vec<(String, Vec<usize>, &[f32])> = pairs
            .iter()
            .flat_map(|pair| {
                [('A', &pair.a), ('B', &pair.b)].map(|(which, m)| {
                    let SiteSpec { layer, target, .. } = pair.site;
                    (key(model.family, layer, target, which), vec![m.rows, m.cols], m.values.as_slice())
                })
            })
            .collect();
        let mut metadata = vec![
            ("format".to_string(), "pt".to_string()),
            ("producer".to_string(), concat!("tabtune ", env!("CARGO_PKG_VERSION")).to_string()),
        ];
        metadata.extend(origin.metadata());
        AdapterFiles { config: format!("{config:#}"), weights: write(&tensors, &metadata) }
    }

    /// Loads the files for a model: an adapter with their linears, ranks and scales, and its parameters. Anything other
    /// than plain LoRA is refused by name. Errors: `Adapter`, `UnsupportedAdapter`, `AdapterReplaces`,
    /// `AdapterIncomplete`, `AdapterMismatch`, `TensorNames`, `TensorType`, `TensorNotFinite`, `Safetensors`,
    /// `NotSafetensors`.
    pub fn load(&self, device: &Device, config: &Config) -> Result<(Adapter, Vec<f32>)> {
        let (pairs, warnings) = self.read(config)?;
        let spec = AdapterSpec::from_sites(pairs.iter().map(|pair| pair.site).collect());
        let mut adapter = Adapter::new(device, config, spec)?;
        adapter.warnings = warnings;
        let flat = adapter.flat(&pairs)?;
        Ok((adapter, flat))
    }

    /// What there is to say about the files, although they can be used. Errors: as `load`.
    pub fn warnings(&self, config: &Config) -> Result<Vec<Warning>> {
        let (adapter_config, header) = self.open_with(config)?;
        Ok(adapter_config.contents(&header, config)?.warnings)
    }

    /// The SHA-256 of the weights' file, in hexadecimal.
    pub fn sha256(&self) -> String {
        use sha2::Digest as _;
        sha2::Sha256::digest(&self.weights).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The linears, ranks and alphas of the files. Errors: as `load`.
    pub fn spec(&self, config: &Config) -> Result<AdapterSpec> {
        let (adapter_config, header) = self.open_with(config)?;
        let sites = adapter_config.contents(&header, config)?.sites;
        Ok(AdapterSpec::from_sites(sites.into_iter().map(|found| found.site).collect()))
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
    pub fn pairs(&self, config: &Config) -> Result<Vec<Pair>> {
        Ok(self.read(config)?.0)
    }

    pub(super) fn read(&self, config: &Config) -> Result<(Vec<Pair>, Vec<Warning>)> {
        let (adapter_config, header) = self.open_with(config)?;
        let Contents { sites, warnings, .. } = adapter_config.contents(&header, config)?;
        let pair = |Found { site, a, b }: Found| {
            let (a, b) = (self.matrix(a)?, self.matrix(b)?);
            Ok(match &adapter_config {
                AdapterConfig::Peft(_) => Pair { site, a, b },
                AdapterConfig::Mlx(_) => Pair { site, a: a.transposed(), b: b.transposed() },
                AdapterConfig::Gguf(form) => Pair { site, a, b: form.in_order(b, site.target, config) },
            })
        };
        Ok((sites.into_iter().map(pair).collect::<Result<_>>()?, warnings))
    }

    pub(super) fn header(&self, name: &str) -> Result<Header> {
        let bytes = &self.weights;
        let short = || Error::Safetensors { file: name.to_string(), reason: "it is shorter than 8 bytes".to_string() };
        let (first8, _) = bytes.split_first_chunk::<8>().ok_or_else(short)?;
        let length = Header::length(first8, bytes.len() as u64, name)?;
        if length > LONGEST_HEADER {
            let reason = format!("its header claims {length} bytes, at most {LONGEST_HEADER} are read of an adapter");
            return Err(Error::Safetensors { file: name.to_string(), reason });
        }
        let end = (length as usize).saturating_add(8);
        Header::parse(self.bytes(8..end), bytes.len() as u64, name)
    }

    /// A range that the header, which is checked against the file's length, says is there.
    fn bytes(&self, range: Range<usize>) -> &[u8] {
        let length = self.weights.len();
        let bytes = self.weights.get(range.clone());
        bytes.unwrap_or_else(|| unreachable!("{range:?} is outside the {length} bytes of the adapter"))
    }

    fn matrix(&self, entry: &Entry) -> Result<HostMatrix> {
        let [rows, cols] = *entry.shape.as_slice() else { unreachable!("`{}` is a matrix", entry.name) };
        let mut values = Vec::new();
        to_f32(entry.dtype, self.bytes(entry.begin as usize..entry.end as usize), &mut values);
        if values.iter().any(|x| !x.is_finite()) {
            return Err(Error::TensorNotFinite { name: entry.name.clone() });
        }
        Ok(HostMatrix { rows, cols, values })
    }
}

/// Other programs expect a whole number, so it is written as one where it is one and 64 bits hold it.
fn number(alpha: f64) -> serde_json::Value {
    let is_whole = alpha.fract() == 0.0 && (0.0..=MOST_ALPHA).contains(&alpha);
    if is_whole { json!(alpha as u64) } else { json!(alpha) }
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
    match spec.targets_of_every_layer(config) {
        Some(targets) => targets.into_iter().map(|target| config.family.name(target).to_string()).collect(),
        None => spec.sites().iter().map(|site| config.family.module(site.layer, site.target)).collect(),
    }
}
