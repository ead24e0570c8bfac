//! A text as rows, in JavaScript's hands.

use std::rc::{Rc, Weak};

use js_sys::{Array, Reflect};
use serde::Deserialize;
use wasm_bindgen::prelude::*;

use super::Parts;
use super::convert::{Js, from_js, js_error, needed, to_js};
use crate::error::{Error, Result};
use crate::run::Settings;
use crate::text::dataset::{self, PAGE_LIMIT};
use crate::text::preview::preview;
use crate::text::{Columns, Document};

/// How many rows the page shows as tokens.
const PREVIEWED: usize = 5;

#[derive(Deserialize)]
struct ChosenColumns {
    text: Option<String>,
    prompt: Option<String>,
    completion: Option<String>,
}

impl ChosenColumns {
    fn columns(self) -> Result<Columns> {
        Columns::chosen(self.text, self.prompt, self.completion)
    }
}

/// Whoever made it frees it. The rows live on until no run uses them.
#[wasm_bindgen]
#[derive(Clone)]
pub struct Dataset {
    rows: Rc<dataset::Dataset>,
    seq_len: usize,
    summary: JsValue,
    /// The engine that made it: the tokens are those of its model.
    made_by: Weak<Parts>,
}

#[wasm_bindgen]
impl Dataset {
    /// Counts, warnings, and the first rows as tokens.
    pub fn summary(&self) -> JsValue {
        self.summary.clone()
    }
}

impl Dataset {
    /// From `[{ name, bytes, columns }]`; `columns`, if given, is `{ text }` or `{ prompt, completion }`.
    pub(super) fn new(parts: &Rc<Parts>, documents: &Array, settings: &Settings) -> Js<Dataset> {
        let document = |value: JsValue| {
            let name = Reflect::get(&value, &"name".into())?.as_string().unwrap_or_default();
            let chosen = Reflect::get(&value, &"columns".into())?;
            let columns = match chosen.is_undefined() {
                true => Columns::Known,
                false => from_js::<ChosenColumns>("columns", chosen)?.columns().map_err(js_error)?,
            };
            Ok(Document { name, bytes: needed(&value, "bytes")?, columns })
        };
        let documents = documents.iter().map(document).collect::<Js<Vec<_>>>()?;
        let rows = parts.base.dataset(&documents, None, settings, PAGE_LIMIT).map_err(js_error)?;
        let packed = rows.groups(settings.packing).len();
        let summary = serde_json::json!({
            "characters": rows.counts.characters,
            "tokens": rows.counts.tokens,
            "rows": rows.rows.len() + rows.held_out.len(),
            "heldOut": rows.held_out.len(),
            "packedRows": packed,
            "labels": rows.labels(),
            "isChat": rows.is_chat,
            "tokensPerCharacter": rows.counts.tokens as f64 / rows.counts.characters.max(1) as f64,
            "defaultSteps": settings.default_steps(packed),
            "warnings": rows.warnings,
            "preview": preview(&parts.base.tokenizer, &rows.rows, PREVIEWED),
        });
        Ok(Dataset {
            rows: Rc::new(rows),
            seq_len: settings.seq_len,
            summary: to_js(&summary),
            made_by: Rc::downgrade(parts),
        })
    }

    /// The rows, for this engine, and their length. Errors: `Dataset`.
    pub(super) fn rows(&self, parts: &Rc<Parts>) -> Result<(&dataset::Dataset, usize)> {
        if !Weak::ptr_eq(&self.made_by, &Rc::downgrade(parts)) {
            return Err(Error::Dataset { reason: "another engine made it".to_string() });
        }
        Ok((&self.rows, self.seq_len))
    }

    /// The rows, for a run of this engine with these settings. Errors: `Dataset`, `Setting`.
    pub(super) fn rows_for(&self, parts: &Rc<Parts>, settings: &Settings) -> Result<&dataset::Dataset> {
        let (rows, _) = self.rows(parts)?;
        if settings.seq_len != self.seq_len {
            let expected = format!("{}, the length of the rows of this dataset", self.seq_len);
            return Err(Error::Setting { name: "seq-len".to_string(), value: settings.seq_len.to_string(), expected });
        }
        Ok(rows)
    }
}
