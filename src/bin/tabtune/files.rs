//! Files of the command line: texts, adapters, run states, and the folder that a run writes to.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use tabtune::adapter::AdapterFiles;
use tabtune::error::{Error, Result};
use tabtune::run::RunState;
use tabtune::text::{Columns, Document, NATIVE_LIMIT, check_size};

pub fn io(path: &Path, error: std::io::Error) -> Error {
    Error::Io { path: path.display().to_string(), reason: error.to_string() }
}

/// Reads texts, with the columns that hold them. One that is too large is refused before it is read.
pub fn read_documents(paths: &[PathBuf], columns: &Columns) -> Result<Vec<Document>> {
    let mut total = 0;
    for path in paths {
        let found = std::fs::metadata(path).map_err(|e| io(path, e))?;
        if found.is_dir() {
            let (path, advice) = (path.display().to_string(), "give the files in it".to_string());
            return Err(Error::Folder { path, found: "is a folder, not a text".to_string(), advice });
        }
        total += found.len();
    }
    check_size(total, NATIVE_LIMIT)?;
    let read = |path: &PathBuf| {
        let (name, bytes) = (path.display().to_string(), std::fs::read(path).map_err(|e| io(path, e))?);
        Ok(Document { name, bytes, columns: columns.clone() })
    };
    paths.iter().map(read).collect()
}

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

/// Writes both files of an adapter. A full disk or a kill never leaves half of one.
pub fn write_adapter(dir: &Path, files: &AdapterFiles) -> Result<()> {
    write_whole(dir, WEIGHTS, &files.weights)?;
    write_whole(dir, CONFIG, files.config.as_bytes())
}

const RUN_STATE: &str = "run_state.safetensors";
/// The name of a run state until version 0.1. It is still found, and never left beside a newer one.
const OLD_RUN_STATE: &str = "checkpoint.safetensors";

pub fn read_run_state(dir: &Path) -> Result<RunState> {
    let (new, old) = (dir.join(RUN_STATE), dir.join(OLD_RUN_STATE));
    if dir.is_file() {
        let reason = format!("`{}` is a file: give the folder that the run wrote to", dir.display());
        return Err(Error::RunState { reason });
    }
    let path = if old.exists() && !new.exists() { old } else { new };
    if dir.is_dir() && !path.exists() {
        let reason =
            format!("`{}` holds no run state: its run has ended, or it was killed before it saved one", dir.display());
        return Err(Error::RunState { reason });
    }
    RunState::from_bytes(&std::fs::read(&path).map_err(|e| io(&path, e))?)
}

pub fn write_run_state(dir: &Path, bytes: &[u8]) -> Result<()> {
    write_whole(dir, RUN_STATE, bytes)?;
    remove(&dir.join(OLD_RUN_STATE))
}

/// A run that has ended needs no state.
pub fn remove_run_state(dir: &Path) -> Result<()> {
    remove(&dir.join(RUN_STATE))?;
    remove(&dir.join(OLD_RUN_STATE))
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io(path, error)),
        _ => Ok(()),
    }
}

/// Is it a file, or a folder with something in it?
pub fn is_filled(path: &Path) -> bool {
    std::fs::read_dir(path).map_or(path.exists(), |mut entries| entries.next().is_some())
}

/// Do two paths lead to one file or folder?
pub fn same_file(a: &Path, b: &Path) -> bool {
    std::fs::canonicalize(a).is_ok_and(|a| std::fs::canonicalize(b).is_ok_and(|b| a == b))
}

/// The folder that a run writes to. It is made before the run, so that a name that cannot be one costs nothing, and is
/// removed if nothing was written into it.
pub struct OutFolder {
    pub path: PathBuf,
    is_new: bool,
}

impl OutFolder {
    pub fn make(path: &Path) -> Result<OutFolder> {
        let is_new = !path.exists();
        std::fs::create_dir_all(path).map_err(|e| io(path, e))?;
        Ok(OutFolder { path: path.to_path_buf(), is_new })
    }
}

impl Drop for OutFolder {
    fn drop(&mut self) {
        if self.is_new {
            // This fails, as it should, if the folder is not empty.
            let _ = std::fs::remove_dir(&self.path);
        }
    }
}

/// Writes beside the final name, to the disk, and only then takes the name: a reader finds the old file or the new one,
/// whole.
pub fn write_whole(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|e| io(dir, e))?;
    let (path, part) = (dir.join(name), dir.join(format!("{name}.part")));
    let write = || {
        let mut file = std::fs::File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|e| io(&part, e))?;
    std::fs::rename(&part, &path).map_err(|e| io(&path, e))
}
