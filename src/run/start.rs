//! What a run starts from.

use super::event::Event;
use super::learner::{Learner, Method};
use super::state::{Flat, RunState};
use super::training::Job;
use crate::adapter::AdapterFiles;
use crate::device::TunedProduct;
use crate::error::{Error, Result};
use crate::warning::Warning;

pub enum Start<'a> {
    Fresh,
    /// Starts from an adapter, with a new optimizer.
    Adapter(&'a AdapterFiles),
    /// Continues a run as if it had never stopped, after reporting its earlier events again. The settings must be those
    /// of the run state.
    Resume(Box<RunState>),
}

impl Start<'_> {
    /// What is trained, with its parameters written to the device, and for a resumed run the flat buffers.
    pub(super) async fn learner(&self, job: &Job<'_>, data_sha256: &str) -> Result<(Learner, Option<Flat>)> {
        let model = &job.base.model;
        let (device, config) = (&model.device, &model.config);
        let spec = job.settings.check(config)?;
        let (learner, initial, resumed) = match (self, job.settings.method) {
            (Start::Fresh, method) => {
                let learner = device.checked(|| Learner::new(model, method, spec)).await?;
                let initial = learner.initial(model, job.settings.seed).await?;
                (learner, initial, None)
            }
            (Start::Adapter(files), Method::Lora) => {
                let (adapter, flat) = device.checked(|| job.base.read_adapter(files)).await?;
                (Learner::Lora(adapter), flat, None)
            }
            (Start::Adapter(_), Method::Full) => {
                let reason =
                    "full fine-tuning starts from a base model: merge the adapter into the base first".to_string();
                return Err(Error::Usage { reason });
            }
            (Start::Resume(state), method) => {
                state.check(&job.base.sha256, data_sha256)?;
                if !state.stored_as(model.storage) {
                    let noted = state.storage().unwrap_or_default().name();
                    let reason = format!("its weights were stored as {noted}, and are now {}", model.storage.name());
                    return Err(Error::RunState { reason });
                }
                let learner = device.checked(|| Learner::new(model, method, state.spec.clone())).await?;
                let flat = state.flat(&learner, config)?;
                (learner, flat.p.clone(), Some(flat))
            }
        };
        learner.write(device, &initial);
        Ok((learner, resumed))
    }

    /// The first events: everything needed to repeat the run and anything noteworthy about its text, or the earlier
    /// events of a resumed run.
    pub(super) fn opening(
        &self,
        job: &Job<'_>,
        learner: &Learner,
        data_sha256: &str,
        tuned: Vec<TunedProduct>,
    ) -> Vec<Event> {
        let init_sha256 = match self {
            Start::Fresh => None,
            Start::Adapter(files) => Some(files.sha256()),
            Start::Resume(state) => return state.events.clone(),
        };
        let Job { base, data, rows, settings, .. } = job;
        let config = Event::Config {
            base: base.name.clone(),
            base_sha256: base.sha256.clone(),
            weights: base.model.storage,
            data_sha256: data_sha256.to_string(),
            init_sha256,
            version: env!("CARGO_PKG_VERSION").to_string(),
            device: base.model.device.name.clone(),
            workers: job.team.workers(),
            rows: rows.len(),
            held_out: data.held_out.len(),
            parameters: learner.parameters(),
            tuned,
            settings: Box::new((*settings).clone()),
        };
        let (rounded, in_vain) = (rounded_start(job), packing_in_vain(job));
        let warnings = base
            .model
            .warnings
            .iter()
            .chain(&base.in_training)
            .chain(&rounded)
            .chain(learner.warnings())
            .chain(&data.warnings)
            .chain(&in_vain)
            .map(|warning| Event::Warning { code: warning.code.to_string(), message: warning.message.clone() });
        [config].into_iter().chain(warnings).collect()
    }
}

/// Full fine-tuning trains in f32 what may have been rounded before.
fn rounded_start(job: &Job<'_>) -> Option<Warning> {
    let storage = job.base.model.storage;
    let message = format!(
        "full fine-tuning starts from the numbers of the weights in {}, as they are stored, and writes them in f32",
        storage.name()
    );
    let says = job.settings.method == Method::Full && storage.quantises();
    says.then_some(Warning { code: "rounded_start", message })
}

/// Packing that leaves every row alone.
fn packing_in_vain(job: &Job<'_>) -> Option<Warning> {
    let message = format!(
        "no two examples fit into one row of {} tokens, and plain text fills its rows: packing changes nothing",
        job.settings.seq_len
    );
    let says = job.settings.packing && job.rows.len() == job.data.rows.len();
    says.then_some(Warning { code: "packing_in_vain", message })
}
