//! The base: a checkpoint's folder, a GGUF file, or the model that the binary carries, as the page does.

use std::path::Path;
use std::rc::Rc;

use tabtune::device::Device;
use tabtune::error::Result;
use tabtune::files::{Source, json};
use tabtune::model::{Checkpoint, Config, Storage};
use tabtune::run::{Base, ModelFiles, ModelFolder};

use crate::files::{io, write_whole};

/// What the embedded base is called.
const NAME: &str = "tabtune/story-5m";
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

/// Writes a whole checkpoint: these weights, which are in f32, and the other files of its base.
pub fn write(dir: &Path, base: Option<&Path>, weights: &[u8]) -> Result<()> {
    for name in COPIED {
        let bytes = match base {
            Some(base) => copied(&base.join(name))?,
            None => embedded(name).map(<[u8]>::to_vec),
        };
        if let Some(bytes) = bytes {
            write_whole(dir, name, &if name == "config.json" { in_f32(&bytes) } else { bytes })?;
        }
    }
    write_whole(dir, "model.safetensors", weights)
}

fn copied(path: &Path) -> Result<Option<Vec<u8>>> {
    if !path.is_file() {
        return Ok(None);
    }
    std::fs::read(path).map(Some).map_err(|e| io(path, e))
}

fn embedded(name: &str) -> Option<&'static [u8]> {
    match name {
        "config.json" => Some(CONFIG),
        "tokenizer.json" => Some(TOKENIZER),
        "tokenizer_config.json" => Some(TOKENIZER_CONFIG),
        _ => None,
    }
}

/// A config.json whose weights are now in f32. It has been parsed before, so it is a JSON object.
fn in_f32(config: &[u8]) -> Vec<u8> {
    let mut config: serde_json::Map<String, serde_json::Value> =
        json::read(config).expect("the config of a loaded base is a JSON object");
    config.remove("dtype");
    config.insert("torch_dtype".to_string(), "float32".into());
    json::as_written(serde_json::to_string_pretty(&config).expect("a JSON object can be written")).into_bytes()
}
