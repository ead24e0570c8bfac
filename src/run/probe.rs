//! Measures how fast a run will be before it starts.

use super::base::Base;
use super::control::{Clock, Control};
use super::cost::Cost;
use super::hooks::Hooks;
use super::settings::Settings;
use super::start::Start;
use super::team::Helper;
use super::training::train;
use crate::error::Result;
use crate::text::{Dataset, Row};

const STEPS: u32 = 3;
/// The most tokens of the sample; a longer one is taken to be as slow per token.
const TOKENS: usize = 8;

/// What the parts of a run will take, measured in a short run on a few of the rows, whose results are discarded. It
/// also compiles every kernel that the long one needs.
pub async fn probe(
    base: &Base,
    data: &Dataset,
    settings: &Settings,
    clock: &Clock,
    helpers: &[Box<dyn Helper>],
) -> Result<Cost> {
    settings.check(&base.model.config)?;
    settings.check_rows(data)?;
    let short = Settings {
        steps: STEPS,
        eval_every: STEPS,
        sample_every: settings.sample_every.min(1) * STEPS,
        max_tokens: settings.max_tokens.min(TOKENS),
        prompt: String::new(),
        ..settings.clone()
    };
    let is_labelled = |group: &Vec<&Row>| group.iter().any(|row| row.labels.contains(&true));
    let labelled = data.groups(settings.packing).into_iter().filter(is_labelled);
    let few = Dataset {
        rows: labelled.take(settings.batch * settings.accumulate).flatten().cloned().collect(),
        held_out: data.held_out.iter().take(2 * settings.batch).cloned().collect(),
        is_chat: false,
        counts: data.counts,
        warnings: Vec::new(),
    };
    let hooks = Hooks { emit: &mut |_| {}, keep: &mut |_| {}, save: None, helpers };
    let mut cost = train(base, &few, &short, Start::Fresh, &Control::default(), clock, hooks).await?.cost;
    cost.sample.0 *= (settings.max_tokens + 1) as f64 / (short.max_tokens + 1) as f64;
    Ok(cost)
}
