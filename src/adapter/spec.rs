//! Which linears to adapt and how, site by site. A site is one linear of one layer.

use crate::error::{Error, Result};
use crate::model::{Config, Target};

/// The largest rank of an adapter, in files and in settings.
pub const MOST_RANK: usize = 256;

pub const LEAST_ALPHA: f64 = 1e-30;
/// 64 bits hold it as a whole number.
pub const MOST_ALPHA: f64 = 1e18;
/// The alphas that there may be, in words.
pub(super) const ALPHAS: &str = "a number from 1e-30 to 1e18";

/// Within this range alpha / rank is a normal number in f32, in which kernels compute, and a whole number is written as
/// one: other programs that read the files expect that.
pub(super) fn is_alpha(alpha: f64) -> bool {
    (LEAST_ALPHA..=MOST_ALPHA).contains(&alpha)
}

/// The largest rank on these linears: no matrix of a model has a larger one than its smaller side.
pub fn most_rank(config: &Config, targets: &[Target]) -> usize {
    let sides = targets.iter().map(|target| target.shape(config)).map(|(rows, cols)| rows.min(cols));
    sides.min().unwrap_or(0).min(MOST_RANK)
}

/// One adapted linear. The scale of B A is alpha / rank; other conventions are converted to an alpha of this one.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SiteSpec {
    pub layer: usize,
    pub target: Target,
    pub rank: usize,
    pub alpha: f64,
}

impl SiteSpec {
    pub fn scale(&self) -> f64 {
        self.alpha / self.rank as f64
    }

    /// Identifies the linear: sites of two adapters with the same key adapt the same one.
    pub fn key(&self) -> (usize, Target) {
        (self.layer, self.target)
    }
}

/// The sites of an adapter, in the order of the model.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct AdapterSpec {
    sites: Vec<SiteSpec>,
}

impl AdapterSpec {
    /// The same linears of every layer, with one rank and one alpha. `targets`: `all-linear`, `attention`, or names
    /// such as `q_proj,v_proj`.
    ///
    /// Errors: `Setting` for unknown targets, a rank of 0, above [`MOST_RANK`] or above a matrix's smaller side, and an
    /// alpha that is not a positive number.
    pub fn new(config: &Config, rank: usize, alpha: f64, targets: &str) -> Result<AdapterSpec> {
        let setting = |name: &str, value: String, expected: String| {
            Err(Error::Setting { name: name.to_string(), value, expected })
        };
        let targets = config.family.parse_targets(targets)?;
        let most = most_rank(config, &targets);
        if rank == 0 || rank > most {
            let why =
                if most == MOST_RANK { "the most there is" } else { "the smaller side of the smallest adapted matrix" };
            return setting("rank", rank.to_string(), format!("a whole number from 1 to {most}, {why}"));
        }
        if !is_alpha(alpha) {
            return setting("alpha", alpha.to_string(), ALPHAS.to_string());
        }
        let layer = |layer| targets.iter().map(move |&target| SiteSpec { layer, target, rank, alpha });
        Ok(AdapterSpec { sites: (0..config.layers).flat_map(layer).collect() })
    }

    pub(super) fn from_sites(mut sites: Vec<SiteSpec>) -> AdapterSpec {
        sites.sort_by_key(SiteSpec::key);
        AdapterSpec { sites }
    }

    /// Checks a spec, which can come from a file. Errors: `AdapterMismatch` unless every site appears once, adapts a
    /// linear that the model has, and can be computed.
    pub(super) fn check(&self, config: &Config) -> Result<()> {
        let refuse = |site: &SiteSpec, why: String| {
            let reason = format!("it adapts `{}`, {why}", config.family.module(site.layer, site.target));
            Err(Error::AdapterMismatch { reason })
        };
        for site in &self.sites {
            if !config.family.targets().any(|target| target == site.target) {
                return Err(Error::AdapterMismatch {
                    reason: format!("it adapts {:?}, the model has no such linear", site.target),
                });
            }
            if site.layer >= config.layers {
                return refuse(site, format!("the model has {} layers", config.layers));
            }
            if !((1..=MOST_RANK).contains(&site.rank) && is_alpha(site.alpha)) {
                return refuse(site, format!("with rank {} and alpha {}", site.rank, site.alpha));
            }
        }
        match self.sites.iter().zip(self.sites.iter().skip(1)).find(|(a, b)| a.key() >= b.key()) {
            Some((site, _)) => refuse(site, "twice or out of order".to_string()),
            None => Ok(()),
        }
    }

    pub fn sites(&self) -> &[SiteSpec] {
        &self.sites
    }

    /// The linears that are adapted in at least one layer.
    pub fn targets(&self) -> Vec<Target> {
        let mut targets: Vec<Target> = self.sites.iter().map(|site| site.target).collect();
        targets.sort();
        targets.dedup();
        targets
    }

    /// The same, if every layer has all of them.
    pub(super) fn targets_of_every_layer(&self, config: &Config) -> Option<Vec<Target>> {
        let targets = self.targets();
        (self.sites.len() == targets.len().saturating_mul(config.layers)).then_some(targets)
    }

    /// Their names, as `target_modules` spells them.
    pub fn target_names(&self, config: &Config) -> Vec<&'static str> {
        self.targets().into_iter().map(|target| config.family.name(target)).collect()
    }

    /// The largest rank.
    pub fn rank(&self) -> usize {
        self.sites.iter().map(|site| site.rank).max().unwrap_or(0)
    }

    /// The alpha that gives the largest scale with `rank`. If all sites are alike it is their alpha.
    pub fn alpha(&self) -> f64 {
        let largest = self.sites.iter().max_by(|a, b| a.scale().total_cmp(&b.scale()));
        largest
            .map_or(0.0, |site| if site.rank == self.rank() { site.alpha } else { site.scale() * self.rank() as f64 })
    }

    /// Whether all sites have the same rank and alpha.
    pub fn is_uniform(&self) -> bool {
        self.sites.iter().all(|site| (site.rank, site.alpha) == (self.rank(), self.alpha()))
    }

    /// Numbers in all A and B of a model of this config.
    pub fn parameters(&self, config: &Config) -> usize {
        let numbers = |site: &SiteSpec| {
            let (rows, cols) = site.target.shape(config);
            site.rank.saturating_mul(rows.saturating_add(cols))
        };
        self.sites.iter().map(numbers).sum()
    }

    /// The same sites with one rank and one alpha, as an export names them.
    pub fn folded(&self) -> AdapterSpec {
        let (rank, alpha) = (self.rank(), self.alpha());
        AdapterSpec { sites: self.sites.iter().map(|site| SiteSpec { rank, alpha, ..*site }).collect() }
    }
}
