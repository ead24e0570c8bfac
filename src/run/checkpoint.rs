//! Everything that a run needs to go on where it was: a safetensors file of the flat buffers, with the rest as JSON in
//! its metadata. Batches, dropout and learning rate are pure functions of (seed, step), so the step is the data cursor
//! and the state of every generator.

use serde::{Deserialize, Serialize};
use sha2::Digest;

use super::event::Event;
use super::settings::Settings;
use crate::adapter::AdapterSpec;
use crate::error::{Error, Result};
use crate::files::safetensors::{Header, to_f32, write};
use crate::model::Storage;
use crate::text::dataset::{Dataset, Row};

const FILE: &str = "checkpoint";
const STATE: &str = "tabtune";
/// The most bytes of events that are kept: a safetensors header holds 16 MiB, and quotes in it are escaped.
const MOST_EVENTS: usize = 4 << 20;

#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    pub state: State,
    /// Parameters, first and second moments, in the adapter's layout.
    pub p: Vec<f32>,
    pub m: Vec<f32>,
    pub v: Vec<f32>,
    /// The parameters with the lowest held-out loss so far.
    pub best: Option<Vec<f32>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    pub form: u32,
    /// Steps done, and how many of them updated the adapter: one without labels does not.
    pub step: u32,
    pub updates: u32,
    pub settings: Settings,
    pub spec: AdapterSpec,
    pub base_sha256: String,
    /// Of the rows to train on and the held-out ones.
    pub data_sha256: String,
    pub losses: Losses,
    /// Events so far, from the first on.
    pub events: Vec<Event>,
}

/// What evaluations have found, and when.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Losses {
    /// At strength 0; `None` without held-out rows.
    pub base: Option<f64>,
    /// Before the first step; the base's unless the run began from an adapter.
    pub start: Option<f64>,
    pub best: Option<f64>,
    pub best_step: u32,
    /// The step of the last evaluation, and how many there were since the best one.
    pub last_step: u32,
    pub since_best: u32,
    /// What the last evaluation found.
    #[serde(default)]
    pub last: Option<f64>,
    /// The step of the last sample.
    #[serde(default)]
    pub last_sample: u32,
}

impl State {
    /// A checkpoint of another form is refused.
    pub const FORM: u32 = 1;

    /// Forgets every second step of a very long run's events, from the first on, until they fit; evaluations, samples
    /// and warnings stay.
    fn thin_events(&mut self) {
        let size = |events: &[Event]| serde_json::to_string(events).map_or(0, |text| text.len());
        while size(&self.events) > MOST_EVENTS {
            let (before, mut odd) = (self.events.len(), false);
            self.events.retain(|event| {
                odd ^= matches!(event, Event::Step { .. });
                odd || !matches!(event, Event::Step { .. })
            });
            if self.events.len() == before {
                break;
            }
        }
    }
}

impl Checkpoint {
    pub fn to_bytes(&self) -> Vec<u8> {
        let tensors: Vec<(String, Vec<usize>, &[f32])> = [("p", &self.p), ("m", &self.m), ("v", &self.v)]
            .into_iter()
            .chain(self.best.as_ref().map(|best| ("best", best)))
            .map(|(name, values)| (name.to_string(), vec![values.len()], values.as_slice()))
            .collect();
        let mut state = self.state.clone();
        state.thin_events();
        write(&tensors, &[(STATE.to_string(), serde_json::to_string(&state).unwrap_or_default())])
    }

    /// Errors: `Checkpoint`, `Safetensors` for a file that is cut short.
    pub fn from_bytes(bytes: &[u8]) -> Result<Checkpoint> {
        let wrong = |reason: &str| Error::RunState { reason: reason.to_string() };
        let first8: [u8; 8] = bytes
            .get(..8)
            .and_then(|first| first.try_into().ok())
            .ok_or_else(|| wrong("it is shorter than 8 bytes"))?;
        let length = Header::length(&first8, bytes.len() as u64, FILE)? as usize;
        let header = Header::parse(bytes.get(8..8 + length).unwrap_or_default(), bytes.len() as u64, FILE)?;
        let state = header.metadata.iter().find(|(key, _)| key == STATE).ok_or_else(|| wrong("it holds no run"))?;
        let state: State = serde_json::from_str(&state.1).map_err(|error| wrong(&error.to_string()))?;
        if state.form != State::FORM {
            return Err(wrong(&format!("it has form {}, this version reads form {}", state.form, State::FORM)));
        }
        let Losses { best_step, last_step, since_best, last_sample, .. } = state.losses;
        let counts = [state.updates, best_step, last_step, since_best, last_sample];
        if state.step > state.settings.steps || counts.iter().any(|count| *count > state.step) {
            return Err(wrong("it counts more steps than its run has"));
        }
        let flat = |name: &str| {
            let entry = header.get(name)?;
            let mut values = Vec::new();
            to_f32(entry.dtype, bytes.get(entry.begin as usize..entry.end as usize)?, &mut values);
            values.iter().all(|x| x.is_finite()).then_some(values)
        };
        let needed =
            |name: &str| flat(name).ok_or_else(|| wrong(&format!("its tensor `{name}` is missing or not finite")));
        let best = header.get("best").map(|_| needed("best")).transpose()?;
        let checkpoint = Checkpoint { p: needed("p")?, m: needed("m")?, v: needed("v")?, best, state };
        let length = checkpoint.p.len();
        let others = [Some(&checkpoint.m), Some(&checkpoint.v), checkpoint.best.as_ref()];
        if others.into_iter().flatten().any(|other| other.len() != length) {
            return Err(wrong("its tensors differ in length"));
        }
        Ok(checkpoint)
    }

    /// How the run stored the frozen weights.
    pub fn storage(&self) -> Option<Storage> {
        self.state
            .events
            .iter()
            .find_map(|event| if let Event::Config { weights, .. } = event { Some(*weights) } else { None })
    }

    /// Refuses to go on with another model or other rows.
    pub fn check(&self, base_sha256: &str, data_sha256: &str, length: usize) -> Result<()> {
        let wrong = |reason: &str| Err(Error::RunState { reason: reason.to_string() });
        if self.state.base_sha256 != base_sha256 {
            return wrong("it was made with another base model");
        }
        if self.state.data_sha256 != data_sha256 {
            return wrong("it was made with other text, or the same text cut otherwise");
        }
        if self.p.len() != length {
            return wrong(&format!("it has {} numbers, this adapter {length}", self.p.len()));
        }
        Ok(())
    }
}

/// The SHA-256 of a run's rows, in hexadecimal.
pub fn fingerprint(data: &Dataset) -> String {
    let mut hash = sha2::Sha256::new();
    let mut add = |rows: &[Row]| {
        hash.update((rows.len() as u64).to_le_bytes());
        for row in rows {
            hash.update(bytemuck::cast_slice::<u32, u8>(&row.ids));
            hash.update(row.labels.iter().map(|&label| u8::from(label)).collect::<Vec<u8>>());
        }
    };
    add(&data.rows);
    add(&data.held_out);
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
