//! A folder that somebody names, and what is in it: which files, and whether they are in another form than those that
//! are read.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Endings of weights in other forms, what they are, and what to do.
const FOREIGN: &[(&str, &str, &str)] = &[
    (".gguf", "a GGUF file of llama.cpp", "give the file itself"),
    (".bin", PICKLE, SAVE_AGAIN),
    (".pt", PICKLE, SAVE_AGAIN),
    (".pth", PICKLE, SAVE_AGAIN),
    (".ckpt", PICKLE, SAVE_AGAIN),
    (".npz", "an archive of NumPy, as older versions of MLX write it", "save it as safetensors with a newer mlx-lm"),
    (".h5", "a file of TensorFlow", "use the checkpoint in safetensors"),
    (".msgpack", "a file of Flax", "use the checkpoint in safetensors"),
    (".onnx", "a file of ONNX", "use the checkpoint in safetensors"),
];
const PICKLE: &str = "a pickle of PyTorch, which can run any code and is not read";
const SAVE_AGAIN: &str = "load it in Python with transformers or PEFT and call `save_pretrained(folder)` (in older \
                          versions with `safe_serialization=True`), which writes safetensors";
/// What trainers leave beside weights.
const NO_WEIGHTS: [&str; 5] = ["training_args", "optimizer", "scheduler", "rng_state", "scaler"];

/// The names of a folder's files, and of the folders in it.
pub struct Folder {
    pub path: PathBuf,
    pub files: Vec<String>,
    pub folders: Vec<String>,
}

impl Folder {
    /// Errors: `Io` if there is nothing or it cannot be read, `Folder` for a file.
    pub fn open(path: &Path) -> Result<Folder> {
        let failed = |error: std::io::Error| Error::Io { path: path.display().to_string(), reason: error.to_string() };
        let mut folder = Folder { path: path.to_path_buf(), files: Vec::new(), folders: Vec::new() };
        if std::fs::metadata(path).map_err(failed)?.is_file() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            folder.files.push(name);
            return Err(match folder.foreign() {
                Some((_, what, advice)) => folder.refusal(&format!("is {what}"), advice),
                None => folder.refusal("is a file", "give the folder that it is in"),
            });
        }
        for entry in std::fs::read_dir(path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // What a link leads to counts: a cache of models is made of links.
            let names = if entry.path().is_dir() { &mut folder.folders } else { &mut folder.files };
            names.push(name);
        }
        folder.files.sort();
        folder.folders.sort();
        Ok(folder)
    }

    pub fn has(&self, name: &str) -> bool {
        self.files.iter().any(|file| file == name)
    }

    /// The first file for which this is true.
    pub fn find(&self, is_meant: impl Fn(&str) -> bool) -> Option<&str> {
        self.files.iter().map(String::as_str).find(|file| is_meant(file))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub fn read(&self, name: &str, at_most: u64) -> Result<Vec<u8>> {
        use std::io::Read as _;
        let path = self.path(name);
        let read = || {
            let mut bytes = Vec::new();
            std::fs::File::open(&path)?.take(at_most).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read()
            .map_err(|error: std::io::Error| Error::Io { path: path.display().to_string(), reason: error.to_string() })
    }

    /// The bytes of a file that need not be there.
    pub fn read_if_there(&self, name: &str, at_most: u64) -> Result<Option<Vec<u8>>> {
        self.has(name).then(|| self.read(name, at_most)).transpose()
    }

    /// Weights in a form that is not read: the file's name, what it is and what to do.
    pub fn foreign(&self) -> Option<(&str, &'static str, &'static str)> {
        let is_weights = |file: &str| !NO_WEIGHTS.iter().any(|begin| file.starts_with(begin));
        FOREIGN.iter().find_map(|(ending, what, advice)| {
            let file = self.find(|file| file.to_ascii_lowercase().ends_with(ending) && is_weights(file))?;
            Some((file, *what, *advice))
        })
    }

    /// Why a file that is needed is not there: the folder is empty, it holds another form, or a folder in it is the one
    /// that is meant.
    pub fn refuse_without(&self, name: &str, advice: &str) -> Error {
        if self.files.is_empty() && self.folders.is_empty() {
            return self.refusal("is empty", advice);
        }
        if let Some((file, what, advice)) = self.foreign() {
            return self.refusal(&format!("has no {name}, but `{file}`, {what}"), advice);
        }
        if let Some(inner) = self.folders.iter().find(|inner| self.path.join(inner).join(name).is_file()) {
            return self.refusal(&format!("has no {name}, but its folder `{inner}` has one"), "give that folder");
        }
        self.refusal(&format!("has no {name}"), advice)
    }

    pub fn refusal(&self, found: &str, advice: &str) -> Error {
        let path = self.path.display().to_string();
        Error::Folder { path, found: found.to_string(), advice: advice.to_string() }
    }
}
