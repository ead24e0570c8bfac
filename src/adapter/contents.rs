//! What an adapter's two files say together: every site with its A and its B. The names and shapes of the tensors say
//! which linears are adapted and with what rank; the config must agree in both directions, because PEFT drops tensors
//! that the config does not name, and leaves linears as they were whose tensors are missing, hardly saying so.

use std::collections::BTreeMap;

use serde_json::Value;

use super::AdapterSpec;
use super::form::Form;
use super::gguf::GgufConfig;
use super::keys::{self, Key};
use super::mlx::{self, MlxConfig};
use super::peft_config::{LONGEST_CONFIG, PeftConfig, wrong};
use super::spec::{ALPHAS, SiteSpec, is_alpha};
use crate::error::{Error, Result};
use crate::files::json;
use crate::files::safetensors::{Entry, Header};
use crate::model::{Config, Target};
use crate::warning::Warning;

/// How many names of missing tensors an error lists.
const LISTED: usize = 4;

/// What a form says beside its tensors: adapter_config.json, or the metadata of a GGUF file.
pub(super) enum AdapterConfig {
    Peft(Box<PeftConfig>),
    Mlx(MlxConfig),
    Gguf(GgufConfig),
}

/// A and B of a site.
pub(super) struct Found<'a> {
    pub site: SiteSpec,
    pub a: &'a Entry,
    pub b: &'a Entry,
}

pub(super) struct Contents<'a> {
    /// In the order of the model.
    pub sites: Vec<Found<'a>>,
    /// Whether they are PEFT's files, under the names that PEFT finds.
    pub is_usual: bool,
    pub warnings: Vec<Warning>,
}

impl AdapterConfig {
    /// Errors: `Adapter`, `UnsupportedAdapter`.
    pub fn parse(text: &str, model: &Config) -> Result<AdapterConfig> {
        if text.len() > LONGEST_CONFIG {
            return Err(wrong(format!("it has {} bytes, at most {LONGEST_CONFIG} are read", text.len())));
        }
        let value: Value = json::read(text.as_bytes()).map_err(wrong)?;
        match MlxConfig::is_meant(&value) {
            true => MlxConfig::parse(&value).map(AdapterConfig::Mlx),
            false => Ok(AdapterConfig::Peft(Box::new(PeftConfig::parse(text, &value, model.family)?))),
        }
    }

    pub fn form(&self) -> Form {
        match self {
            AdapterConfig::Peft(_) => Form::Peft,
            AdapterConfig::Mlx(_) => Form::Mlx,
            AdapterConfig::Gguf(_) => Form::Gguf,
        }
    }

    fn adapts(&self, layer: usize, target: Target, model: &Config) -> Result<bool> {
        let family = model.family;
        match self {
            AdapterConfig::Peft(config) => config.adapts(&family.module(layer, target)),
            AdapterConfig::Mlx(config) => {
                let module = mlx::module(family, layer, target);
                Ok(config.adapts(&module, family.path(target), layer, model.layers))
            }
            // What it adapts is what it has tensors of.
            AdapterConfig::Gguf(_) => Ok(true),
        }
    }

    fn site(&self, layer: usize, target: Target, b: &Entry, model: &Config) -> Result<SiteSpec> {
        match self {
            AdapterConfig::Peft(config) => config.site(layer, target, &model.family.module(layer, target)),
            AdapterConfig::Mlx(config) => Ok(config.site(layer, target)),
            AdapterConfig::Gguf(GgufConfig { alpha, .. }) => {
                let [_, rank] = self.two(b)?;
                let alpha = if *alpha == 0.0 { rank as f64 } else { *alpha };
                Ok(SiteSpec { layer, target, rank, alpha })
            }
        }
    }

    /// Errors: `Adapter`, `UnsupportedAdapter`, `AdapterReplaces`, `AdapterMismatch`, `AdapterIncomplete`,
    /// `TensorNames`, `TensorType`.
    pub fn contents<'a>(&self, header: &'a Header, model: &Config) -> Result<Contents<'a>> {
        self.refuse_whole_weights(header, model)?;
        let (found, unusual) = self.by_site(header, model)?;
        let mut sites = Vec::with_capacity(found.len());
        for ((layer, target), places) in &found {
            if *layer >= model.layers {
                let module = model.family.module(*layer, *target);
                let reason = format!("it adapts `{module}`, the model has {} layers", model.layers);
                return Err(Error::AdapterMismatch { reason });
            }
            for entry in places.iter().flatten() {
                if !self.adapts(*layer, *target, model)? {
                    let reason =
                        format!("tensor `{}` belongs to a linear that adapter_config.json does not adapt", entry.name);
                    return Err(self.refusal(reason));
                }
            }
            if let [Some(a), Some(b)] = places {
                let site = self.site(*layer, *target, b, model)?;
                self.check_shapes(&site, [a, b], model)?;
                sites.push(Found { site, a, b });
            }
        }
        self.refuse_missing(&found, model)?;
        let spec = AdapterSpec::from_sites(sites.iter().map(|found| found.site).collect());
        // rsLoRA and patterns can lead beyond the range of one alpha; so can the one rank of exported files.
        if let Some(alpha) = spec.sites().iter().map(|site| site.alpha).chain([spec.alpha()]).find(|x| !is_alpha(*x)) {
            let reason = format!("its ranks and scales need an alpha of {alpha}; supported is {ALPHAS}");
            return Err(if self.form() == Form::Gguf { self.refusal(reason) } else { wrong(reason) });
        }
        spec.check(model)?;
        let unusual = unusual.filter(|_| self.form() == Form::Peft);
        let warnings = unusual.map(|name| Warning {
            code: "adapter_names",
            message: format!(
                "the adapter's tensors are named like `{name}`; PEFT itself expects `{PREFIX}` and the path in the \
                 whole model, and would leave such tensors out",
                PREFIX = keys::PREFIX
            ),
        });
        let is_usual = warnings.is_none() && self.form() == Form::Peft;
        Ok(Contents { sites, is_usual, warnings: warnings.into_iter().collect() })
    }

    /// The tensors of each linear, A and B, and the first name that is not PEFT's own.
    #[expect(clippy::type_complexity, reason = "it is read once, below")]
    fn by_site<'a>(
        &self,
        header: &'a Header,
        model: &Config,
    ) -> Result<(BTreeMap<(usize, Target), [Option<&'a Entry>; 2]>, Option<&'a str>)> {
        let mut found: BTreeMap<(usize, Target), [Option<&Entry>; 2]> = BTreeMap::new();
        let mut unusual = None;
        for entry in &header.entries {
            let Key { layer, target, which, is_usual } = keys::parse(&entry.name, model.family, self.form())?;
            if !is_usual {
                unusual.get_or_insert(entry.name.as_str());
            }
            let [a, b] = found.entry((layer, target)).or_default();
            let place = if which == 'A' { a } else { b };
            if let Some(first) = place.replace(entry) {
                let (first, second, file) = (first.name.clone(), entry.name.clone(), self.form().weights().to_string());
                return Err(Error::TensorNames { first, second, file });
            }
        }
        match found.is_empty() {
            true => Err(self.refusal("it holds no tensors".to_string())),
            false => Ok((found, unusual)),
        }
    }

    /// Weights of the base that were trained or enlarged and saved with the adapter, and tensors of other types.
    fn refuse_whole_weights(&self, header: &Header, model: &Config) -> Result<()> {
        let saved = header.entries.iter().filter_map(|entry| Some((keys::table(&entry.name, model.family)?, entry)));
        let mut all = Vec::new();
        for (what, entry) in saved {
            let rows = entry.shape.first().copied().unwrap_or(0);
            let grown = match rows == model.vocabulary {
                true => String::new(),
                false => {
                    format!(", whose vocabulary was changed to {rows} tokens; this model has {}", model.vocabulary)
                }
            };
            all.push(format!("{what} (tensor `{}`){grown}", entry.name));
        }
        let saved = match self {
            AdapterConfig::Peft(config) => config.saved.as_ref().filter(|_| all.is_empty()),
            AdapterConfig::Mlx(_) | AdapterConfig::Gguf(_) => None,
        };
        all.extend(saved.map(|saved| format!("whole modules of the base (`modules_to_save` = {saved})")));
        if !all.is_empty() {
            return Err(Error::AdapterReplaces { what: all.join(" and ") });
        }
        match header.others.first() {
            Some(other) => {
                let (name, dtype, file) = (other.name.clone(), other.dtype.clone(), self.form().weights().to_string());
                Err(Error::TensorType { name, dtype, file })
            }
            None => Ok(()),
        }
    }

    fn check_shapes(&self, site: &SiteSpec, [a, b]: [&Entry; 2], model: &Config) -> Result<()> {
        let ([a_rows, a_cols], [b_rows, b_cols]) = (self.two(a)?, self.two(b)?);
        let [(a_rank, cols), (b_rank, rows)] = match self.form() == Form::Mlx {
            true => [(a_cols, a_rows), (b_rows, b_cols)],
            false => [(a_rows, a_cols), (b_cols, b_rows)],
        };
        for (entry, rank) in [(a, a_rank), (b, b_rank)] {
            if rank != site.rank {
                let whence = if self.form() == Form::Gguf { b.name.as_str() } else { "adapter_config.json" };
                return Err(self.refusal(format!(
                    "tensor `{}` of shape {:?} has rank {rank}, {whence} says {}",
                    entry.name, entry.shape, site.rank
                )));
            }
        }
        let (model_rows, model_cols) = site.target.shape(model);
        if (rows, cols) != (model_rows, model_cols) {
            let module = model.family.module(site.layer, site.target);
            let reason = format!(
                "on `{module}` it changes a [{rows}, {cols}] matrix, the model's is [{model_rows}, {model_cols}]"
            );
            return Err(Error::AdapterMismatch { reason });
        }
        Ok(())
    }

    /// What the config adapts and the file lacks.
    fn refuse_missing(&self, found: &BTreeMap<(usize, Target), [Option<&Entry>; 2]>, model: &Config) -> Result<()> {
        let mut missing = Vec::new();
        for (layer, target) in (0..model.layers).flat_map(|layer| model.family.targets().map(move |t| (layer, t))) {
            let [a, b] = found.get(&(layer, target)).copied().unwrap_or_default();
            let is_left_out = self.form() == Form::Gguf && a.is_none() && b.is_none();
            if (a.is_some() && b.is_some()) || is_left_out || !self.adapts(layer, target, model)? {
                continue;
            }
            let lacks = [('A', a), ('B', b)].into_iter().filter(|(_, entry)| entry.is_none());
            missing.extend(lacks.map(|(which, _)| self.form().key(model.family, layer, target, which)));
        }
        if missing.is_empty() {
            return Ok(());
        }
        let listed: Vec<String> = missing.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
        let rest = missing.len().saturating_sub(LISTED);
        let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
        let missing = format!("{}{more}", listed.join(", "));
        Err(Error::AdapterIncomplete { file: self.form().weights().to_string(), missing })
    }

    fn two(&self, entry: &Entry) -> Result<[usize; 2]> {
        let shape = entry.shape.as_slice().try_into();
        shape.map_err(|_| self.refusal(format!("tensor `{}` of shape {:?} is not a matrix", entry.name, entry.shape)))
    }

    fn refusal(&self, reason: String) -> Error {
        Error::Adapter { file: self.form().weights().to_string(), reason }
    }
}

pub(super) fn mismatch(reason: String) -> Error {
    Error::AdapterMismatch { reason }
}
