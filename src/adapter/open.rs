//! Opens an adapter from its folder, in PEFT's form or in MLX's. Native only, because a browser has no folders.

use std::path::Path;

use super::AdapterFiles;
use super::peft::{MLX_WEIGHTS, WEIGHTS};
use crate::error::{Error, Result};
use crate::files::Folder;

const CONFIG: &str = "adapter_config.json";
const WHOLE: &str = "give the folder that PEFT, mlx-lm or tabtune wrote the adapter to";
const AS_MODEL: &str = "give it as the model (`--model`)";

impl AdapterFiles {
    /// Reads both files of an adapter. Errors: `Folder` for a folder in another form, `Io` for a file that cannot be
    /// read, `Adapter` for a config that is not text.
    pub fn open(dir: &Path) -> Result<AdapterFiles> {
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
