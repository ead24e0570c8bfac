//! The shapes of published models, which are measured with random numbers: nothing is downloaded.

use std::rc::Rc;

use tabtune::device::Device;
use tabtune::error::{Error, Result};
use tabtune::model::{Config, Storage, Transformer};
use tabtune::random::SplitMix64;

/// What their config.json says of their shape. `config-s` is that of `make bench-peers`.
const SHAPES: [(&str, &str); 4] = [
    ("config-s", include_str!("shapes/config-s.json")),
    ("smollm2-135m", include_str!("shapes/smollm2-135m.json")),
    ("qwen2.5-0.5b", include_str!("shapes/qwen2.5-0.5b.json")),
    ("llama-3.2-1b", include_str!("shapes/llama-3.2-1b.json")),
];

pub fn names() -> [&'static str; SHAPES.len()] {
    SHAPES.map(|(name, _)| name)
}

/// Errors: those of [`Transformer::random`].
pub async fn model(device: &Rc<Device>, name: &str, storage: Storage) -> Result<Transformer> {
    let unknown = || Error::Internal { what: format!("there is no shape `{name}`") };
    let (_, config) = SHAPES.into_iter().find(|(known, _)| *known == name).ok_or_else(unknown)?;
    let mut random = SplitMix64(0);
    Transformer::random(device, Config::parse(config.as_bytes())?, storage, &mut || random.unit()).await
}
