//! The base: a checkpoint's folder, a GGUF file, or the model that the binary carries, as the page does.

use std::path::Path;
use std::rc::Rc;

use tabtune::device::Device;
use tabtune::error::Result;
use tabtune::files::Source;
use tabtune::model::{Checkpoint, Config, Storage};
use tabtune::run::{Base, ModelFiles, ModelFolder, config_in};

use crate::files::{io, write_whole};

/// What the embedded base is called.
const NAME: &str = "tabtune/story-5m";
/// What config.json calls the format of trained weights.
const F32: &str = "float32";
const CONFIG: &[u8] = include_bytes!("../../../www/public/base/config.json");
const TOKENIZER: &[u8] = include_bytes!("../../../www/public/base/tokenizer.json");
const TOKENIZER_CONFIG: &[u8] = include_bytes!("../../../www/public/base/tokenizer_config.json");
const WEIGHTS: &[u8] = include_bytes!("../../../www/public/base/model.safetensors");

/// The files of a checkpoint besides its weights. A new checkpoint gets those that its base has.
pub const COPIED: [&str; 10] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
];

/// Loads a checkpoint's folder, a GGUF file, or the embedded base.
pub async fn load(device: &Rc<Device>, model: Option<&Path>, storage: Storage) -> Result<Base> {
    match model {
        Some(path) => Base::open(device, path, storage).await,
        None => {
            let files = embedded_files();
            Base::load(device, NAME, &files.small(), &files.weights, storage, &mut |_, _| {}).await
        }
    }
}

/// A model before it is loaded.
pub async fn files(model: Option<&Path>) -> Result<ModelFiles> {
    match model {
        Some(path) => ModelFiles::open(path).await,
        None => Ok(embedded_files()),
    }
}

fn embedded_files() -> ModelFiles {
    ModelFiles {
        config: CONFIG.to_vec(),
        tokenizer: TOKENIZER.to_vec(),
        tokenizer_config: Some(TOKENIZER_CONFIG.to_vec()),
        generation_config: None,
        chat_template: None,
        weights: Source::memory("model.safetensors", WEIGHTS.to_vec()),
    }
}

/// What a model is called.
pub fn name(model: Option<&Path>) -> String {
    let last = |path: &Path| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    model.map_or(NAME.to_string(), last)
}

/// What a checkpoint holds, from its config and the header of its weights.
pub async fn checkpoint(model: Option<&Path>) -> Result<Checkpoint> {
    files(model).await?.checkpoint().await
}

/// What a model's config.json or metadata says.
pub async fn config(model: Option<&Path>) -> Result<Config> {
    match model {
        Some(path) if path.is_dir() => Ok(ModelFolder::open(path)?.config),
        model => Config::parse(&files(model).await?.config),
    }
}

/// The files that a checkpoint in f32 of this base has beside its weights.
pub async fn companions(model: Option<&Path>) -> Result<Vec<(&'static str, Vec<u8>)>> {
    match model {
        Some(dir) if dir.is_dir() => COPIED.into_iter().filter_map(|name| copied(dir, name).transpose()).collect(),
        model => Ok(files(model).await?.companions(Some(F32))),
    }
}

fn copied(dir: &Path, name: &'static str) -> Result<Option<(&'static str, Vec<u8>)>> {
    let path = dir.join(name);
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = std::fs::read(&path).map_err(|e| io(&path, e))?;
    Ok(Some((name, if name == "config.json" { config_in(&bytes, F32) } else { bytes })))
}

/// Writes a whole checkpoint, the weights last.
pub fn write(dir: &Path, companions: &[(&str, Vec<u8>)], weights: &[u8]) -> Result<()> {
    for (name, bytes) in companions {
        write_whole(dir, name, bytes)?;
    }
    write_whole(dir, "model.safetensors", weights)
}
