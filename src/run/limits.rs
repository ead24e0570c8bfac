//! What the settings of a run may be for a model. The check of a run and whoever wants to know beforehand read the same
//! table.

use std::collections::BTreeMap;

use serde::Serialize;

use super::settings::MOST_ROWS;
use crate::adapter::spec::{LEAST_ALPHA, MOST_ALPHA, most_rank};
use crate::error::{Error, Result};
use crate::model::Config;

/// The largest whole number up to which JavaScript holds every one.
const MOST_IN_JAVASCRIPT: f64 = 9_007_199_254_740_991.0;

/// Which numbers a setting may be: those within all the bounds that there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Limit {
    pub whole: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub above: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub below: Option<f64>,
}

impl Limit {
    const FRACTION: Limit = Limit { whole: false, from: Some(0.0), above: None, to: None, below: Some(1.0) };

    const fn whole(from: f64, to: f64) -> Limit {
        Limit { whole: true, from: Some(from), above: None, to: Some(to), below: None }
    }

    pub fn allows(&self, value: f64) -> bool {
        value.is_finite()
            && (!self.whole || value.fract() == 0.0)
            && self.from.is_none_or(|from| value >= from)
            && self.above.is_none_or(|above| value > above)
            && self.to.is_none_or(|to| value <= to)
            && self.below.is_none_or(|below| value < below)
    }

    /// Errors: `Setting` unless the value is allowed.
    pub fn check(&self, name: &str, value: f64) -> Result<()> {
        if self.allows(value) { Ok(()) } else { self.refuse(name, value) }
    }

    pub fn refuse<T>(&self, name: &str, value: f64) -> Result<T> {
        Err(Error::Setting { name: name.to_string(), value: value.to_string(), expected: self.words() })
    }

    fn words(&self) -> String {
        let kind = if self.whole { "a whole number" } else { "a number" };
        let bounds = match *self {
            Limit { from: Some(from), to: Some(to), .. } => format!("from {from} to {to}"),
            Limit { from: Some(from), below: Some(below), .. } => format!("of at least {from} and below {below}"),
            Limit { above: Some(above), to: Some(to), .. } => format!("above {above} and at most {to}"),
            Limit { from: Some(from), .. } => format!("of at least {from}"),
            _ => "that is finite".to_string(),
        };
        format!("{kind} {bounds}")
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    pub seq_len: Limit,
    pub batch: Limit,
    pub accumulate: Limit,
    pub alpha: Limit,
    pub lr: Limit,
    pub warmup: Limit,
    pub steps: Limit,
    pub clip: Limit,
    pub weight_decay: Limit,
    pub dropout: Limit,
    pub holdout: Limit,
    pub eval_every: Limit,
    pub patience: Limit,
    pub sample_every: Limit,
    pub max_tokens: Limit,
    /// In JavaScript; natively it may be any of 64 bits.
    pub seed: Limit,
    /// What `targets` may be, several names of linears aside, with the largest rank on each.
    pub ranks: BTreeMap<&'static str, usize>,
}

impl Limits {
    pub fn of(config: &Config) -> Limits {
        let rows = Limit::whole(1.0, MOST_ROWS as f64);
        let count = Limit::whole(0.0, f64::from(u32::MAX));
        let family = config.family;
        let names = ["all-linear", "attention"].into_iter().chain(family.targets().map(|target| family.name(target)));
        let ranks = names.filter_map(|name| Some((name, most_rank(config, &family.parse_targets(name).ok()?))));
        Limits {
            seq_len: Limit::whole(1.0, config.context as f64),
            batch: rows,
            accumulate: rows,
            alpha: Limit { from: Some(LEAST_ALPHA), to: Some(MOST_ALPHA), ..Limit::default() },
            lr: Limit { above: Some(0.0), to: Some(1.0), ..Limit::default() },
            warmup: Limit::FRACTION,
            steps: Limit::whole(1.0, 1e6),
            clip: Limit { from: Some(0.0), ..Limit::default() },
            weight_decay: Limit::FRACTION,
            dropout: Limit::FRACTION,
            holdout: Limit::FRACTION,
            eval_every: count,
            patience: count,
            sample_every: count,
            max_tokens: count,
            seed: Limit::whole(0.0, MOST_IN_JAVASCRIPT),
            ranks: ranks.collect(),
        }
    }
}
