//! How the weights of a run are stored, known before they are read.

use super::ladder::{Fitted, Room, SHORTEST_ROWS};
use super::learner::Method;
use super::memory::{Memory, Unloaded};
use super::settings::Settings;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::{Checkpoint, Storage};
use crate::warning::Warning;

/// What `auto` tries, in this order. Full fine-tuning trains the weights, so it takes no int8 or int4.
const RUNGS: [Storage; 4] = [Storage::AsFile, Storage::F16, Storage::Int8, Storage::Int4];

/// The storage of the weights of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Storing {
    pub storage: Storage,
    /// Says why `auto` did not store the weights as their file does.
    pub warning: Option<Warning>,
}

impl Unloaded {
    /// The model of a checkpoint with its weights stored so. Errors: `GpuLimit`.
    pub fn of(device: &Device, checkpoint: &Checkpoint, storage: Storage) -> Result<Unloaded> {
        Unloaded::new(device, &checkpoint.config, &|spec| storage.format(spec, checkpoint.entry(spec).dtype))
    }
}

/// What a model will take once it is loaded, for a run that is not known yet.
#[derive(Debug, Clone)]
pub struct Foreseen {
    pub storing: Storing,
    /// The given settings, or what they become where there is less memory.
    pub settings: Settings,
    pub memory: Memory,
}

impl Foreseen {
    /// Of a run with these settings or, where that does not fit and the rows have their default length, with the
    /// shortest rows. `held` is how many of the device's bytes will be free before the model is loaded. Errors:
    /// `Setting`, `MemoryLimit`, `GpuLimit`.
    pub async fn of(
        device: &Device,
        checkpoint: &Checkpoint,
        asked: Storage,
        settings: &Settings,
        held: u64,
    ) -> Result<Foreseen> {
        settings.check(&checkpoint.config)?;
        let usual = Settings::defaults(&checkpoint.config, device.software).seq_len;
        let shortest = Settings { seq_len: SHORTEST_ROWS.min(usual), ..settings.clone() };
        let fitting = match first_that_fits(device, checkpoint, asked, settings, held).await {
            Err(Error::MemoryLimit { .. } | Error::GpuLimit { .. }) if settings.seq_len == usual => {
                first_that_fits(device, checkpoint, asked, &shortest, held).await
            }
            fitting => fitting,
        };
        let (storing, settings) = fitting?;
        let memory = Unloaded::of(device, checkpoint, storing.storage)?.memory(&settings).await?;
        Ok(Foreseen { storing, settings, memory })
    }
}

impl Storing {
    /// The storage of a run that goes on, which must stay what it was. Errors: `MemoryLimit`.
    pub async fn keep(
        device: &Device,
        checkpoint: &Checkpoint,
        storage: Storage,
        settings: &Settings,
    ) -> Result<Storing> {
        let unloaded = Unloaded::of(device, checkpoint, storage)?;
        unloaded.check(settings, Room::On { device, held: 0 }).await?;
        Ok(Storing { storage, warning: None })
    }

    /// The storage that is asked for or, for `auto`, the first with which a run of the same steps fits onto the device:
    /// as in the file, f16, int8, int4. Errors: `MemoryLimit`.
    pub async fn choose(
        device: &Device,
        checkpoint: &Checkpoint,
        asked: Storage,
        settings: &Settings,
    ) -> Result<Storing> {
        Ok(first_that_fits(device, checkpoint, asked, settings, 0).await?.0)
    }
}

async fn first_that_fits(
    device: &Device,
    checkpoint: &Checkpoint,
    asked: Storage,
    settings: &Settings,
    held: u64,
) -> Result<(Storing, Settings)> {
    let rungs = match (asked, settings.method) {
        (Storage::AsFile, Method::Lora) => &RUNGS[..],
        (Storage::AsFile, Method::Full) => &RUNGS[..2],
        (_, _) => &[asked][..],
    };
    let mut refused: Option<Error> = None;
    for &storage in rungs {
        match fits(device, checkpoint, storage, settings, held).await {
            Ok(fitted) => {
                let warning = refused.map(|error| Warning {
                    code: "smaller_weights",
                    message: format!("the weights are stored as {}; in more bits, {}", storage.name(), brief(&error)),
                });
                return Ok((Storing { storage, warning }, fitted.settings));
            }
            Err(error @ (Error::MemoryLimit { .. } | Error::GpuLimit { .. })) => refused = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(refused.unwrap_or_else(|| unreachable!("at least the storage that is asked for was tried")))
}

/// Without the advice, which is about the run.
fn brief(error: &Error) -> String {
    match error {
        Error::MemoryLimit { needed, limit, .. } => {
            format!("the run needs {needed} bytes on the device, {limit} are allowed")
        }
        other => other.to_string(),
    }
}

async fn fits(
    device: &Device,
    checkpoint: &Checkpoint,
    storage: Storage,
    settings: &Settings,
    held: u64,
) -> Result<Fitted> {
    let unloaded = Unloaded::of(device, checkpoint, storage)?;
    unloaded.fit(settings, Room::On { device, held }).await
}
