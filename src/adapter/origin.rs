//! Where an adapter comes from, as its files note it: its base model, how that was stored, and whether conversations
//! were learnt. Whoever uses it elsewhere is told.

use super::form::Form;
use super::peft_config::wrong;
use super::{AdapterFiles, gguf};
use crate::error::Result;
use crate::files::json;
use crate::model::Storage;
use crate::warning::Warning;

/// What the header of the weights notes; PEFT ignores it.
const BASE_SHA256: &str = "base_sha256";
const BASE_WEIGHTS: &str = "base_weights";
const TRAINED_ON: &str = "trained_on";
const CONVERSATIONS: &str = "conversations";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The name of the base model, or where it lay.
    pub base: String,
    /// The SHA-256 of its weights' file, in hexadecimal; files of other programs do not note it.
    pub base_sha256: Option<String>,
    /// How the base's weights were stored; files of other programs do not note it.
    pub weights: Option<Storage>,
    /// Whether conversations were learnt; files of other programs do not note it.
    pub is_chat: bool,
}

/// What files note about their base, compared with a base that is loaded.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NotedBase {
    /// Empty if the files name none.
    pub name: String,
    /// Names are compared by what follows the last slash, since a base may lie anywhere.
    pub same_name: bool,
    /// Whether the hashes of the weights are equal; `None` where none is noted.
    pub same_weights: Option<bool>,
}

impl Origin {
    pub(super) fn metadata(&self) -> impl Iterator<Item = (String, String)> {
        let sha256 = self.base_sha256.clone().map(|sha256| (BASE_SHA256.to_string(), sha256));
        let weights = self.weights.map(|storage| (BASE_WEIGHTS.to_string(), storage.name().to_string()));
        let chat = self.is_chat.then(|| (TRAINED_ON.to_string(), CONVERSATIONS.to_string()));
        sha256.into_iter().chain(weights).chain(chat)
    }
}

impl AdapterFiles {
    /// What the files note. Errors: `Adapter`, `Safetensors`, `Gguf`.
    pub fn origin(&self) -> Result<Origin> {
        let (base, metadata) = if self.is_gguf() { gguf::noted(&self.weights)? } else { self.noted()? };
        let noted = |name: &str| metadata.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        Ok(Origin {
            base,
            base_sha256: noted(BASE_SHA256),
            weights: noted(BASE_WEIGHTS).and_then(|name| Storage::parse(&name).ok()),
            is_chat: noted(TRAINED_ON).as_deref() == Some(CONVERSATIONS),
        })
    }

    /// The name of the base in adapter_config.json, PEFT's or MLX's, and what the header of the tensors notes.
    fn noted(&self) -> Result<(String, Vec<(String, String)>)> {
        let config: serde_json::Value = json::read(self.config.as_bytes()).map_err(wrong)?;
        let named = config.get("base_model_name_or_path").or_else(|| config.get("model"));
        let base = named.and_then(|base| base.as_str()).unwrap_or_default().to_string();
        Ok((base, self.header(Form::Peft.weights())?.metadata))
    }

    /// The base that the files note, beside the one that is loaded. Errors: as `origin`.
    pub fn noted_base(&self, base: &str, base_sha256: &str) -> Result<NotedBase> {
        let Origin { base: name, base_sha256: noted, .. } = self.origin()?;
        let last = |name: &str| name.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().map(str::to_lowercase);
        Ok(NotedBase {
            same_name: name.is_empty() || last(&name) == last(base),
            same_weights: noted.map(|noted| noted == base_sha256),
            name,
        })
    }

    /// Says so if the files note another base than this one. Errors: as `origin`.
    pub fn other_base(&self, base: &str, base_sha256: &str) -> Result<Option<Warning>> {
        let noted = self.noted_base(base, base_sha256)?;
        let is_other = !noted.same_weights.unwrap_or(noted.same_name);
        let message = format!(
            "the adapter says that its base is `{}`{}, and this is `{base}`: unless they are the same model, what it \
             writes is poor",
            noted.name,
            if noted.same_weights.is_some() { " with other weights" } else { "" }
        );
        Ok(is_other.then_some(Warning { code: "other_base", message }))
    }
}
