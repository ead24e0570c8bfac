//! Opens a base model from the folder of its checkpoint. Native only, because a browser has no folders.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;
use std::rc::Rc;

use super::{Base, BaseFiles};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::files::Source;
use crate::model::Storage;

/// The most bytes that are read of a small file: one more than the largest tokenizer accepted, so that a larger one is
/// refused without filling the memory.
const MOST_READ: u64 = (32 << 20) + 1;

impl Base {
    /// Opens a Hugging Face checkpoint: config.json, tokenizer.json, model.safetensors, and, if present,
    /// tokenizer_config.json, generation_config.json and chat_template.jinja. Errors: `Io` for a file that is missing
    /// or cannot be read, and those of [`Base::load`].
    pub async fn open(device: &Rc<Device>, dir: &Path, storage: Storage) -> Result<Base> {
        let (config, tokenizer) = (read(dir, "config.json")?, read(dir, "tokenizer.json")?);
        let tokenizer_config = read_if_there(dir, "tokenizer_config.json")?;
        let generation_config = read_if_there(dir, "generation_config.json")?;
        let chat_template = read_if_there(dir, "chat_template.jinja")?;
        let files = BaseFiles {
            tokenizer: &tokenizer,
            tokenizer_config: tokenizer_config.as_deref(),
            generation_config: generation_config.as_deref(),
            chat_template: chat_template.as_deref(),
            config: &config,
        };
        let name = dir.file_name().map_or_else(|| dir.display().to_string(), |it| it.to_string_lossy().into_owned());
        let weights = Source::file(&dir.join("model.safetensors"))?;
        Base::load(device, &name, &files, &weights, storage, &mut |_, _| {}).await
    }
}

fn read(dir: &Path, name: &str) -> Result<Vec<u8>> {
    read_whole(&dir.join(name)).map_err(|error| failed(dir, name, error))
}

fn read_if_there(dir: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    match read_whole(&dir.join(name)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(dir, name, error)),
    }
}

fn read_whole(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST_READ).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn failed(dir: &Path, name: &str, error: std::io::Error) -> Error {
    Error::Io { path: dir.join(name).display().to_string(), reason: error.to_string() }
}
