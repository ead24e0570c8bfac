//! What a run writes: the log, the kept adapter or checkpoint, the run state, and the exit status.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tabtune::error::{Error, Result};
use tabtune::run::{DoneReason, Event, Files, Kept, Outcome};

use super::flags::TrainArgs;
use super::screen::Screen;
use crate::cli::NOT_FINITE;
use crate::files::{OutFolder, io, remove_run_state, write_adapter, write_run_state};

/// The hooks of a run share it, so it is written to through `&self`.
pub struct Outputs {
    folder: OutFolder,
    /// What a whole checkpoint has beside its weights.
    companions: Vec<(&'static str, Vec<u8>)>,
    log: Option<(PathBuf, File)>,
    screen: Screen,
    /// Does the run continue another one, whose log and run state it takes over?
    resumes: bool,
    /// Whether the first config was reported. A run that goes on with less memory reports another.
    begun: Cell<bool>,
    saved: Cell<bool>,
    /// The last step that changed the adapter, known at the end.
    last_step: Cell<u32>,
    failed: RefCell<Failed>,
}

/// What could not be written. An adapter or a run state that was written later makes up for one that was not; a line
/// of the log is missing for good.
#[derive(Default)]
struct Failed {
    kept: Option<Error>,
    run_state: Option<Error>,
    log: Option<Error>,
}

impl Outputs {
    /// Makes and opens what will be written, and changes nothing yet: a run that is refused leaves the log and the run
    /// state of another as they are.
    pub fn open(
        args: &TrainArgs,
        companions: Vec<(&'static str, Vec<u8>)>,
        steps: u32,
        resumes: bool,
    ) -> Result<Outputs> {
        let folder = OutFolder::make(&args.out)?;
        let open = |path: &PathBuf| {
            let file = File::options().append(true).create(true).open(path).map_err(|e| io(path, e))?;
            Ok((path.clone(), file))
        };
        Ok(Outputs {
            folder,
            companions,
            log: args.log.as_ref().map(open).transpose()?,
            screen: Screen::new(steps),
            resumes,
            begun: Cell::default(),
            saved: Cell::default(),
            last_step: Cell::default(),
            failed: RefCell::default(),
        })
    }

    fn out(&self) -> &Path {
        &self.folder.path
    }

    pub fn event(&self, event: &Event) {
        // A run that goes on with less memory has said why.
        if !matches!(event, Event::Config { .. }) || !self.begun.get() {
            self.screen.show(event);
        }
        let failed = &mut *self.failed.borrow_mut();
        match event {
            // From here on the run is not refused any more.
            Event::Config { .. } if !self.begun.replace(true) => {
                // A pipe has nothing of another run.
                if let Some((path, file)) = &self.log
                    && file.metadata().is_ok_and(|of| of.is_file())
                {
                    failed.log = file.set_len(0).err().map(|e| io(path, e));
                }
                if !self.resumes {
                    failed.run_state = remove_run_state(self.out()).err();
                }
            }
            Event::Done { step, .. } => self.last_step.set(*step),
            _ => {}
        }
        if let Some((path, file)) = &self.log {
            let line = serde_json::to_string(event).expect("an event is JSON");
            if let Err(error) = writeln!(&mut &*file, "{line}") {
                failed.log.get_or_insert(io(path, error));
            }
        }
    }

    pub fn keep(&self, kept: &Kept) {
        let written = match &kept.files {
            Files::Adapter(files) => write_adapter(self.out(), files),
            Files::Checkpoint(weights) => crate::base::write(self.out(), &self.companions, weights),
        };
        self.failed.borrow_mut().kept = written.err();
    }

    pub fn save(&self, run_state: &[u8]) {
        self.failed.borrow_mut().run_state = write_run_state(self.out(), run_state).err();
        self.saved.set(true);
    }

    /// Reports how the run ended. Errors: what could not be written.
    pub fn finish(self, Outcome { reason, kept, .. }: Outcome, peak_bytes: u64) -> Result<ExitCode> {
        self.screen.close();
        eprintln!("device memory at its peak: {peak_bytes} bytes");
        let Failed { kept: not_kept, run_state, log } = self.failed.take();
        if let Some(error) = not_kept.or(run_state).or(log) {
            return Err(error);
        }
        let out = self.out().display();
        if reason != DoneReason::Stopped {
            remove_run_state(self.out())?;
        } else if self.saved.get() || self.resumes {
            eprintln!("stopped; the same command with `--resume {out}` continues from here");
        } else {
            eprintln!("stopped before the first step");
        }
        let kept = kept.map(|kept| {
            let what = if matches!(kept.files, Files::Adapter(_)) { "adapter" } else { "checkpoint" };
            format!("{what} of step {}", kept.step)
        });
        if reason == DoneReason::NonFinite {
            let error = Error::NonFinite { step: self.last_step.get() + 1 };
            let kept = kept.map_or("nothing is kept".to_string(), |kept| format!("the {kept} is kept in {out}"));
            let (code, advice) = (error.code(), "Try a learning rate three times lower (--lr).");
            eprintln!("error[{code}]: {error}, so the run ended there; {kept}. {advice}");
            return Ok(ExitCode::from(NOT_FINITE));
        }
        if let Some(kept) = kept {
            eprintln!("{kept} written to {out}");
        }
        Ok(ExitCode::SUCCESS)
    }
}
