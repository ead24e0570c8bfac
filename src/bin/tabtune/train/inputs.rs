//! What a run reads: texts, the adapter it starts from, the state it resumes; and the checks of its paths.

use tabtune::adapter::AdapterFiles;
use tabtune::device::Device;
use tabtune::error::{Error, Result};
use tabtune::model::{Config, Storage};
use tabtune::run::{Base, Method, RunState, SAVE_EVERY_MS, Settings, Start};
use tabtune::text::dataset::{Dataset, NATIVE_LIMIT};
use tabtune::text::formats::Document;

use super::flags::TrainArgs;
use crate::cli::setting;
use crate::files::{read_documents, read_run_state, same_file};

pub struct Inputs {
    pub init: Option<AdapterFiles>,
    pub resumed: Option<RunState>,
    documents: Vec<Document>,
    eval_documents: Option<Vec<Document>>,
}

impl Inputs {
    pub fn read(args: &TrainArgs) -> Result<Inputs> {
        let columns = args.columns.columns()?;
        Ok(Inputs {
            init: args.init.as_deref().map(AdapterFiles::open).transpose()?,
            resumed: args.resume.as_deref().map(read_run_state).transpose()?,
            documents: read_documents(&args.data, &columns)?,
            eval_documents: args
                .eval_data
                .as_ref()
                .map(|path| read_documents(std::slice::from_ref(path), &columns))
                .transpose()?,
        })
    }

    /// How the run that goes on stored its weights.
    pub fn storage(&self) -> Storage {
        self.resumed.as_ref().and_then(RunState::storage).unwrap_or_default()
    }

    /// The settings that the flags change.
    pub fn usual_settings(&self, config: &Config, device: &Device) -> Settings {
        match &self.resumed {
            Some(state) => state.settings.clone(),
            None => Settings::defaults(config, device.software),
        }
    }

    pub fn dataset(&self, base: &Base, settings: &Settings) -> Result<Dataset> {
        base.dataset(&self.documents, self.eval_documents.as_deref(), settings, NATIVE_LIMIT)
    }

    /// Refuses flags that would change a run that goes on. `storage` is the one that they ask for.
    pub fn check(&self, settings: &Settings, storage: Storage) -> Result<()> {
        match &self.resumed {
            Some(state) if state.settings != *settings || storage != self.storage() => {
                let reason = "--resume continues a run with its own settings: leave out the flags that change them";
                Err(Error::Usage { reason: reason.to_string() })
            }
            _ => Ok(()),
        }
    }

    pub fn start(&mut self) -> Start<'_> {
        match (self.resumed.take(), &self.init) {
            (Some(state), _) => Start::Resume(Box::new(state)),
            (None, Some(files)) => Start::Adapter(files),
            (None, None) => Start::Fresh,
        }
    }
}

impl TrainArgs {
    pub fn check_numbers(&self) -> Result<()> {
        if let Some(epochs) = self.epochs.filter(|epochs| !(epochs.is_finite() && *epochs > 0.0)) {
            return Err(setting("epochs", epochs, "a positive number"));
        }
        if let Some(seconds) = self.save_every.filter(|seconds| seconds.is_nan() || *seconds < 0.0) {
            return Err(setting("save-every", seconds, "a number of seconds, at least 0"));
        }
        Ok(())
    }

    /// Refuses to write over what is read.
    pub fn check_paths(&self, method: Method) -> Result<()> {
        let mut texts = self.data.iter().chain(&self.eval_data);
        if let Some(log) = self.log.as_ref().filter(|log| texts.any(|text| same_file(log, text))) {
            return Err(setting("log", log.display(), "another file than the text, which it would replace"));
        }
        let full = self.model.model.as_ref().filter(|_| method == Method::Full);
        if full.is_some_and(|model| same_file(model, &self.out)) {
            let expected = "another folder than --model, whose files it would replace";
            return Err(setting("out", self.out.display(), expected));
        }
        Ok(())
    }

    pub fn save_every_ms(&self) -> f64 {
        self.save_every.map_or(SAVE_EVERY_MS, |seconds| seconds * 1000.0)
    }
}
