//! The model with an adapter merged into it, as files that JavaScript takes piece by piece.

use js_sys::{Function, Promise, Uint8Array};
use wasm_bindgen::prelude::*;

use super::Engine;
use super::convert::{Js, adapter_files, call, from_js, js_error, model_files, promise, to_js};
use crate::adapter::AdapterFiles;
use crate::run::{MergeOptions, ModelFiles};

#[wasm_bindgen]
impl Engine {
    /// What its files are called, how many bytes they have, and what there is to say. `files` are those of this model,
    /// `merge` is `{ config, weights, strength, format, type }`, with an adapter's two files.
    #[wasm_bindgen(js_name = mergedFiles)]
    pub fn merged_files(&self, files: JsValue, merge: JsValue) -> Promise {
        let parts = self.0.clone();
        promise(async move {
            let (base, (model, adapter, options)) = (&parts.base, given(&files, merge).await?);
            let merged = model.merged(&base.name, &adapter, &options).await.map_err(js_error)?;
            let mut warnings = merged.warnings.clone();
            warnings.extend(adapter.other_base(&base.name, &base.sha256).map_err(js_error)?);
            let object = |(name, bytes)| serde_json::json!({ "name": name, "bytes": bytes });
            let files: Vec<_> = merged.files().map(object).collect();
            Ok(to_js(&serde_json::json!({ "files": files, "warnings": warnings })))
        })
    }

    /// Writes one of them. It reads a piece of the base before each piece that it gives to `on_bytes`, so whoever
    /// answers its reads decides how fast it goes.
    #[wasm_bindgen(js_name = writeMerged)]
    pub fn write_merged(&self, files: JsValue, merge: JsValue, name: String, on_bytes: Function) -> Promise {
        let parts = self.0.clone();
        promise(async move {
            let (model, adapter, options) = given(&files, merge).await?;
            let merged = model.merged(&parts.base.name, &adapter, &options).await.map_err(js_error)?;
            let mut write = |bytes: &[u8]| {
                if !bytes.is_empty() {
                    call(&on_bytes, &Uint8Array::from(bytes));
                }
                Ok(())
            };
            merged.write(&name, &mut write).await.map_err(js_error)?;
            Ok(JsValue::UNDEFINED)
        })
    }
}

async fn given(files: &JsValue, merge: JsValue) -> Js<(ModelFiles, AdapterFiles, MergeOptions)> {
    let (model, adapter) = (model_files(files).await?, adapter_files(&merge)?);
    Ok((model, adapter, from_js("merge", merge)?))
}
