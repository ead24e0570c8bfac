//! Opens an adapter from its folder, in PEFT's form or in MLX's, or from its GGUF file. Native only, because a browser
//! has no folders.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::AdapterFiles;
use super::form::Form;
use super::peft_config::CONFIG;
use crate::error::{Error, Result};
use crate::files::Folder;
use crate::files::gguf::MAGIC;

const WEIGHTS: &str = Form::Peft.weights();
const MLX_WEIGHTS: &str = Form::Mlx.weights();
const WHOLE: &str = "give the folder that PEFT, mlx-lm or tabtune wrote the adapter to";
const AS_MODEL: &str = "give it as the model (`--model`)";

impl AdapterFiles {
    /// Reads both files of an adapter, or its GGUF file. Errors: `Folder` for a folder in another form, `Io` for a file
    /// that cannot be read, `Adapter` for a config that is not text.
    pub fn open(dir: &Path) -> Result<AdapterFiles> {
        if let Some(weights) = gguf(dir)? {
            return Ok(AdapterFiles { config: String::new(), weights });
        }
        let folder = Folder::open(dir)?;
        if !folder.has(CONFIG) {
            return Err(refuse_without_config(&folder));
        }
        let config = String::from_utf8(folder.read(CONFIG, u64::MAX)?).map_err(|error| {
            let reason = format!("it is not UTF-8 text: byte {}", error.utf8_error().valid_up_to());
            Error::Adapter { file: CONFIG.to_string(), reason }
        })?;
        // Beside PEFT's file only PEFT's config can lie; mlx-lm writes copies of earlier steps beside its own.
        let weights = [WEIGHTS, MLX_WEIGHTS].into_iter().find(|name| folder.has(name));
        let weights = weights.ok_or_else(|| folder.refuse_without(WEIGHTS, WHOLE))?;
        Ok(AdapterFiles { config, weights: folder.read(weights, u64::MAX)? })
    }
}

/// The bytes of a file that begins like a GGUF file.
fn gguf(path: &Path) -> Result<Option<Vec<u8>>> {
    let failed = |error: std::io::Error| Error::Io { path: path.display().to_string(), reason: error.to_string() };
    if !path.is_file() {
        return Ok(None);
    }
    let mut file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.by_ref().take(MAGIC.len() as u64).read_to_end(&mut bytes).map_err(failed)?;
    if bytes != MAGIC {
        return Ok(None);
    }
    file.read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

fn refuse_without_config(folder: &Folder) -> Error {
    if folder.has("config.json") {
        return folder.refusal("holds a model, not an adapter", AS_MODEL);
    }
    match [WEIGHTS, MLX_WEIGHTS].into_iter().find(|name| folder.has(name)) {
        Some(weights) => {
            folder.refusal(&format!("has no {CONFIG} beside `{weights}`"), "copy it too: it holds the adapter's scale")
        }
        None => folder.refuse_without(CONFIG, WHOLE),
    }
}
