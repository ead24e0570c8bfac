//! Files of the command line: checkpoints, adapters, texts.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use tabtune::adapter::AdapterFiles;
use tabtune::device::{Device, DeviceOptions};
use tabtune::error::{Error, Result};
use tabtune::files::Source;
use tabtune::model::Storage;
use tabtune::run::{Base, BaseFiles, RunState};
use tabtune::text::dataset::{NATIVE_LIMIT, check_size};
use tabtune::text::formats::Document;

pub fn io(path: &Path, error: std::io::Error) -> Error {
    Error::Io { path: path.display().to_string(), reason: error.to_string() }
}

/// The base that the binary carries, as the page does.
const EMBEDDED: [&[u8]; 4] = [
    include_bytes!("../../../www/public/base/config.json"),
    include_bytes!("../../../www/public/base/tokenizer.json"),
    include_bytes!("../../../www/public/base/tokenizer_config.json"),
    include_bytes!("../../../www/public/base/model.safetensors"),
];

/// Of a file that is read whole: a byte more than the largest tokenizer that is used, so that a larger one is refused
/// and not filled into memory.
const MOST_READ: u64 = (32 << 20) + 1;

/// Loads a checkpoint directory, or the embedded base.
pub async fn load_base(model: Option<&Path>, storage: Storage) -> Result<Base> {
    let device = Device::new(DeviceOptions::default()).await?;
    let Some(dir) = model else {
        let [config, tokenizer, tokenizer_config, weights] = EMBEDDED;
        let files = BaseFiles {
            tokenizer,
            tokenizer_config: Some(tokenizer_config),
            generation_config: None,
            chat_template: None,
            config,
        };
        return Base::load(
            &device,
            "tabtune/story-2m",
            &files,
            &Source::memory("model.safetensors", weights.to_vec()),
            storage,
            &mut |_, _| {},
        )
        .await;
    };
    let read = |name: &str| {
        let path = dir.join(name);
        let mut bytes = Vec::new();
        let read = std::fs::File::open(&path).and_then(|file| file.take(MOST_READ).read_to_end(&mut bytes));
        read.map(|_| bytes).map_err(|e| io(&path, e))
    };
    let (config, tokenizer) = (read("config.json")?, read("tokenizer.json")?);
    let (tokenizer_config, generation_config) =
        (read("tokenizer_config.json").ok(), read("generation_config.json").ok());
    let chat_template = read("chat_template.jinja").ok();
    let files = BaseFiles {
        tokenizer: &tokenizer,
        tokenizer_config: tokenizer_config.as_deref(),
        generation_config: generation_config.as_deref(),
        chat_template: chat_template.as_deref(),
        config: &config,
    };
    let name = dir.file_name().map_or_else(|| dir.display().to_string(), |name| name.to_string_lossy().into_owned());
    Base::load(&device, &name, &files, &Source::file(&dir.join("model.safetensors"))?, storage, &mut |_, _| {}).await
}

/// Reads texts; their size is known, and refused, before they are read.
pub fn read_documents(paths: &[PathBuf]) -> Result<Vec<Document>> {
    let mut total = 0;
    for path in paths {
        total += std::fs::metadata(path).map_err(|e| io(path, e))?.len();
    }
    check_size(total, NATIVE_LIMIT)?;
    let read = |path: &PathBuf| {
        Ok(Document { name: path.display().to_string(), bytes: std::fs::read(path).map_err(|e| io(path, e))? })
    };
    paths.iter().map(read).collect()
}

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

pub fn read_adapter(dir: &Path) -> Result<AdapterFiles> {
    let (config, weights) = (dir.join(CONFIG), dir.join(WEIGHTS));
    Ok(AdapterFiles {
        config: std::fs::read_to_string(&config).map_err(|e| io(&config, e))?,
        weights: std::fs::read(&weights).map_err(|e| io(&weights, e))?,
    })
}

/// Both files of an adapter, so that a full disk or a kill never leaves half of one.
pub fn write_adapter(dir: &Path, files: &AdapterFiles) -> Result<()> {
    write_whole(dir, WEIGHTS, &files.weights)?;
    write_whole(dir, CONFIG, files.config.as_bytes())
}

/// What belongs to a checkpoint besides its weights; what of it the base has is copied.
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

/// Do two paths lead to one file or folder?
pub fn same_file(a: &Path, b: &Path) -> bool {
    std::fs::canonicalize(a).is_ok_and(|a| std::fs::canonicalize(b).is_ok_and(|b| a == b))
}

/// The folder that a run writes to. It is made before the run, so that a name that cannot be one costs nothing, and
/// goes again if nothing came into it.
pub struct OutFolder<'a> {
    path: &'a Path,
    is_new: bool,
}

impl OutFolder<'_> {
    pub fn make(path: &Path) -> Result<OutFolder<'_>> {
        let is_new = !path.exists();
        std::fs::create_dir_all(path).map_err(|e| io(path, e))?;
        Ok(OutFolder { path, is_new })
    }
}

impl Drop for OutFolder<'_> {
    fn drop(&mut self) {
        if self.is_new {
            // What is in it stays: only an empty folder can be removed this way.
            let _ = std::fs::remove_dir(self.path);
        }
    }
}

/// A whole checkpoint: these weights in f32, and what else the base's folder has.
pub fn write_model(dir: &Path, base: Option<&Path>, weights: &[u8]) -> Result<()> {
    let embedded =
        |name: &str| ["config.json", "tokenizer.json", "tokenizer_config.json"].iter().position(|known| *known == name);
    for name in COPIED {
        let bytes = match base {
            Some(base) if base.join(name).is_file() => {
                std::fs::read(base.join(name)).map_err(|e| io(&base.join(name), e))?
            }
            Some(_) => continue,
            None => match embedded(name) {
                Some(at) => EMBEDDED[at].to_vec(),
                None => continue,
            },
        };
        write_whole(dir, name, &if name == "config.json" { in_f32(&bytes) } else { bytes })?;
    }
    write_whole(dir, "model.safetensors", weights)
}

/// config.json of weights that are now in f32.
fn in_f32(config: &[u8]) -> Vec<u8> {
    let Ok(serde_json::Value::Object(mut config)) = serde_json::from_slice(config) else { return config.to_vec() };
    config.remove("dtype");
    config.insert("torch_dtype".to_string(), "float32".into());
    serde_json::to_vec_pretty(&config).unwrap_or_default()
}

const CHECKPOINT: &str = "checkpoint.safetensors";

pub fn write_checkpoint(dir: &Path, bytes: &[u8]) -> Result<()> {
    write_whole(dir, CHECKPOINT, bytes)
}

pub fn read_checkpoint(dir: &Path) -> Result<RunState> {
    let path = dir.join(CHECKPOINT);
    if dir.is_dir() && !path.exists() {
        let reason = format!("`{}` holds none: its run has come to its end, or saved nothing yet", dir.display());
        return Err(Error::RunState { reason });
    }
    RunState::from_bytes(&std::fs::read(&path).map_err(|e| io(&path, e))?)
}

/// A run that has ended needs no checkpoint.
pub fn remove_checkpoint(dir: &Path) -> Result<()> {
    let path = dir.join(CHECKPOINT);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io(&path, error)),
        _ => Ok(()),
    }
}

/// Writes beside the final name, to the disk, and only then takes the name: whoever reads it finds the old file or the
/// new one, whole.
fn write_whole(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
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
