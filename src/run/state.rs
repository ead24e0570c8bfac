//! Everything that a run needs to continue where it stopped: a safetensors file of the trained numbers, with the rest
//! as JSON in its metadata. Batches, dropout and learning rate are pure functions of (seed, step), so the step alone
//! gives the position in the data and the state of every random generator.
//!
//! The numbers are kept per matrix, without padding, under the names that PEFT gives an adapter's matrices and the
//! checkpoint a model's: `p.base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight`, and `m.…`, `v.…` and
//! `best.…` likewise. Their layout in the device's buffers may change; the file does not.

mod form_1;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::Digest;

use super::event::Event;
use super::learner::Learner;
use super::losses::Losses;
use super::settings::Settings;
use crate::adapter::AdapterSpec;
use crate::device::TunedProduct;
use crate::error::{Error, Result};
use crate::files::safetensors::{Header, to_f32, write};
use crate::model::{Config, Storage};
use crate::text::{Dataset, Row};

const FILE: &str = "run state";
const STATE: &str = "tabtune";
/// The most bytes of events that are kept. A safetensors header holds 16 MiB, and quotes in it are escaped.
const MOST_EVENTS: usize = 4 << 20;

/// Fields added by later forms have a serde default, and unknown fields are ignored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunState {
    /// Form 1 stores the numbers in one piece, form 2 per matrix.
    pub form: u32,
    /// The steps done, and how many of them updated the adapter. A step without labels does not.
    pub step: u32,
    pub updates: u32,
    pub settings: Settings,
    pub spec: AdapterSpec,
    pub base_sha256: String,
    /// The hash of the training rows and the held-out rows.
    pub data_sha256: String,
    pub losses: Losses,
    /// The events so far, in order.
    pub events: Vec<Event>,
    /// The tensors by their names in the file. The part before the first dot says what they hold: `p` the parameters,
    /// `m` and `v` the first and second moments, `best` the parameters with the lowest held-out loss so far. In form 1
    /// that part is the whole name.
    #[serde(skip)]
    pub tensors: BTreeMap<String, Numbers>,
}

/// A tensor of a run state.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbers {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// The same numbers in the layout of a learner's flat buffers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Flat {
    pub p: Vec<f32>,
    pub m: Vec<f32>,
    pub v: Vec<f32>,
    pub best: Option<Vec<f32>>,
}

fn wrong(reason: impl Into<String>) -> Error {
    Error::RunState { reason: reason.into() }
}

impl Flat {
    /// The numbers by their names in a file.
    pub fn tensors(&self, learner: &Learner, config: &Config) -> BTreeMap<String, Numbers> {
        let parts = [("p", Some(&self.p)), ("m", Some(&self.m)), ("v", Some(&self.v)), ("best", self.best.as_ref())];
        let mut tensors = BTreeMap::new();
        for (part, flat) in parts.into_iter().filter_map(|(part, flat)| Some((part, flat?))) {
            for (name, matrix) in learner.named(config, flat) {
                let numbers = Numbers { shape: vec![matrix.rows, matrix.cols], values: matrix.values };
                tensors.insert(format!("{part}.{name}"), numbers);
            }
        }
        tensors
    }
}

impl RunState {
    /// The form that is written. All forms from 1 on can be read.
    pub const FORM: u32 = 2;

    pub fn to_bytes(&self) -> Vec<u8> {
        let tensors: Vec<(String, Vec<usize>, &[f32])> = self
            .tensors
            .iter()
            .map(|(name, numbers)| (name.clone(), numbers.shape.clone(), numbers.values.as_slice()))
            .collect();
        let mut state = json(self);
        state["events"] = json(&thinned(&self.events));
        write(&tensors, &[(STATE.to_string(), state.to_string())])
    }

    /// Errors: `RunState`, or `Safetensors` for a truncated file.
    pub fn from_bytes(bytes: &[u8]) -> Result<RunState> {
        let first8 = bytes.first_chunk::<8>().ok_or_else(|| wrong("it is shorter than 8 bytes"))?;
        let length = Header::length(first8, bytes.len() as u64, FILE)? as usize;
        let header = Header::parse(&bytes[8..8 + length], bytes.len() as u64, FILE)?;
        let state = header.metadata.iter().find(|(key, _)| key == STATE).ok_or_else(|| wrong("it holds no run"))?;
        let mut state: RunState = serde_json::from_str(&state.1).map_err(|error| wrong(error.to_string()))?;
        if !(1..=RunState::FORM).contains(&state.form) {
            let reason =
                format!("it has form {}, but this version of tabtune reads forms up to {}", state.form, RunState::FORM);
            return Err(wrong(reason));
        }
        let Losses { best_step, last_step, since_best, last_sample, .. } = state.losses;
        let counts = [state.updates, best_step, last_step, since_best, last_sample];
        if state.step > state.settings.steps || counts.iter().any(|count| *count > state.step) {
            return Err(wrong("it counts more steps than its run has"));
        }
        for entry in &header.entries {
            let mut values = Vec::new();
            to_f32(entry.dtype, &bytes[entry.begin as usize..entry.end as usize], &mut values);
            if !values.iter().all(|x| x.is_finite()) {
                return Err(wrong(format!("its tensor `{}` is not finite", entry.name)));
            }
            state.tensors.insert(entry.name.clone(), Numbers { shape: entry.shape.clone(), values });
        }
        state.check_tensors()?;
        Ok(state)
    }

    /// Checks that all parts have tensors of the same names and shapes, and that there is no other part.
    fn check_tensors(&self) -> Result<()> {
        let parts = ["p", "m", "v", "best"].map(|part| self.part(part));
        if let Some(name) = self.tensors.keys().find(|name| !["p", "m", "v", "best"].contains(&split(name).0)) {
            return Err(wrong(format!("its tensor `{name}` does not belong to a run")));
        }
        let [p, m, v, best] = &parts;
        let in_one_piece = p.keys().eq([""].iter());
        if p.is_empty() || in_one_piece != (self.form == 1) {
            return Err(wrong(format!("its tensor `p` is missing or does not have form {}", self.form)));
        }
        let shapes = |part: &BTreeMap<&str, &Numbers>| -> Vec<(String, Vec<usize>)> {
            part.iter().map(|(name, numbers)| (name.to_string(), numbers.shape.clone())).collect()
        };
        let expected = shapes(p);
        let others = [Some(m), Some(v), Some(best).filter(|best| !best.is_empty())];
        if others.into_iter().flatten().any(|other| shapes(other) != expected) {
            return Err(wrong("its tensors of `p`, `m`, `v` and `best` differ in name or shape"));
        }
        Ok(())
    }

    /// The tensors of a part, by their names without the part.
    fn part(&self, part: &str) -> BTreeMap<&str, &Numbers> {
        let tensors = self.tensors.iter().map(|(name, numbers)| (split(name), numbers));
        tensors.filter(|((of, _), _)| *of == part).map(|((_, name), numbers)| (name, numbers)).collect()
    }

    /// The numbers in the layout of a learner, which must have the same matrices. Errors: `RunState`.
    pub(super) fn flat(&self, learner: &Learner, config: &Config) -> Result<Flat> {
        let read = |part: &str| match self.form {
            1 => self.flat_of_form_1(part, learner, config),
            _ => self.flat_part(part, learner, config),
        };
        let best = if self.part("best").is_empty() { None } else { Some(read("best")?) };
        Ok(Flat { p: read("p")?, m: read("m")?, v: read("v")?, best })
    }

    fn flat_part(&self, part: &str, learner: &Learner, config: &Config) -> Result<Vec<f32>> {
        let mut unread = self.part(part);
        let flat = learner.gather(config, &mut |name, shape| {
            let numbers = unread.remove(name).ok_or_else(|| wrong(format!("its tensor `{part}.{name}` is missing")))?;
            match numbers.shape == shape {
                true => Ok(numbers.values.clone()),
                false => Err(wrong(format!(
                    "its tensor `{part}.{name}` has shape {:?}, but this run needs {shape:?}",
                    numbers.shape
                ))),
            }
        })?;
        match unread.first_key_value() {
            Some((name, _)) => {
                Err(wrong(format!("its tensor `{part}.{name}` does not belong to a matrix that this run trains")))
            }
            None => Ok(flat),
        }
    }

    fn flat_of_form_1(&self, part: &str, learner: &Learner, config: &Config) -> Result<Vec<f32>> {
        let numbers = self.tensors.get(part).ok_or_else(|| wrong(format!("its tensor `{part}` is missing")))?;
        let mut reader = form_1::Reader::new(&numbers.values);
        let short =
            || wrong(format!("its tensor `{part}` has {} numbers, but this run needs more", numbers.values.len()));
        let flat = learner.gather(config, &mut |name, shape| reader.next(name, shape).ok_or_else(short))?;
        match (numbers.values.len(), reader.expected()) {
            (found, expected) if found != expected => {
                Err(wrong(format!("its tensor `{part}` has {found} numbers, but this run needs {expected}")))
            }
            _ => Ok(flat),
        }
    }

    /// How the run stored the frozen weights.
    pub fn storage(&self) -> Option<Storage> {
        self.events
            .iter()
            .find_map(|event| if let Event::Config { weights, .. } = event { Some(*weights) } else { None })
    }

    /// How the run computed its largest products, if that was measured.
    pub(super) fn tuned(&self) -> Vec<TunedProduct> {
        let of = |event: &Event| if let Event::Config { tuned, .. } = event { Some(tuned.clone()) } else { None };
        self.events.iter().find_map(of).unwrap_or_default()
    }

    /// Whether the run can go on with weights that are stored so. One that noted `auto` read them in the forms of their
    /// file, or is of a time when no form was noted and none was quantised.
    pub fn stored_as(&self, storage: Storage) -> bool {
        match self.storage().unwrap_or_default() {
            Storage::AsFile => !storage.quantises(),
            noted => noted == storage,
        }
    }

    /// Refuses to continue with another model or other rows.
    pub fn check(&self, base_sha256: &str, data_sha256: &str) -> Result<()> {
        if self.base_sha256 != base_sha256 {
            return Err(wrong("it was made with another base model"));
        }
        if self.data_sha256 != data_sha256 {
            return Err(wrong("it was made with different text, or with the same text cut differently"));
        }
        Ok(())
    }
}

/// Drops every second step of a very long run, again and again, until the rest fits. The first step, evaluations,
/// samples and warnings stay.
fn thinned(events: &[Event]) -> Vec<Event> {
    let mut events = events.to_vec();
    while json(&events).to_string().len() > MOST_EVENTS {
        let (before, mut odd) = (events.len(), false);
        events.retain(|event| {
            odd ^= matches!(event, Event::Step { .. });
            odd || !matches!(event, Event::Step { .. })
        });
        if events.len() == before {
            break;
        }
    }
    events
}

/// Splits the name of a tensor into its part and the rest.
fn split(name: &str) -> (&str, &str) {
    name.split_once('.').unwrap_or((name, ""))
}

fn json(value: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(value).expect("settings, losses and events have names as keys, which JSON can hold")
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
