//! Where an adapter comes from, as its files note it: its base model, and whether conversations were learnt. Whoever
//! uses it elsewhere is told.

use super::AdapterFiles;
use super::peft::WEIGHTS;
use super::peft_config::CONFIG;
use crate::error::{Error, Result};
use crate::files::json;
use crate::warning::Warning;

/// What the header of the weights notes; PEFT ignores it.
const BASE_SHA256: &str = "base_sha256";
const TRAINED_ON: &str = "trained_on";
const CONVERSATIONS: &str = "conversations";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The name of the base model, or where it lay.
    pub base: String,
    /// The SHA-256 of its weights' file, in hexadecimal; files of other programs do not note it.
    pub base_sha256: Option<String>,
    /// Whether conversations were learnt; files of other programs do not note it.
    pub is_chat: bool,
}

impl Origin {
    pub(super) fn metadata(&self) -> impl Iterator<Item = (String, String)> {
        let sha256 = self.base_sha256.clone().map(|sha256| (BASE_SHA256.to_string(), sha256));
        let chat = self.is_chat.then(|| (TRAINED_ON.to_string(), CONVERSATIONS.to_string()));
        sha256.into_iter().chain(chat)
    }
}

impl AdapterFiles {
    /// What the files note. Errors: `Adapter`, `Safetensors`.
    pub fn origin(&self) -> Result<Origin> {
        let metadata = self.header(WEIGHTS)?.metadata;
        let noted = |name: &str| metadata.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let unreadable = |reason| Error::Adapter { file: CONFIG.to_string(), reason };
        let config: serde_json::Value = json::read(self.config.as_bytes()).map_err(unreadable)?;
        let base = config.get("base_model_name_or_path").and_then(|base| base.as_str()).unwrap_or_default();
        Ok(Origin {
            base: base.to_string(),
            base_sha256: noted(BASE_SHA256),
            is_chat: noted(TRAINED_ON).as_deref() == Some(CONVERSATIONS),
        })
    }

    /// Says so if the files note another base than this one. Without a hash, names are compared by what follows the
    /// last slash, since a base may lie anywhere. Errors: as `origin`.
    pub fn other_base(&self, base: &str, base_sha256: &str) -> Result<Option<Warning>> {
        let origin = self.origin()?;
        let last = |name: &str| name.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().map(str::to_lowercase);
        let is_other = match &origin.base_sha256 {
            Some(noted) => noted != base_sha256,
            None => !origin.base.is_empty() && last(&origin.base) != last(base),
        };
        let message = format!(
            "the adapter says that its base is `{}`{}, and this is `{base}`: unless they are the same model, what it \
             writes is poor",
            origin.base,
            if origin.base_sha256.is_some() { " with other weights" } else { "" }
        );
        Ok(is_other.then_some(Warning { code: "other_base", message }))
    }
}
