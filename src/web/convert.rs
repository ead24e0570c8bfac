//! Converts between JavaScript's values and the engine's.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use js_sys::{Array, Function, Object, Promise, Reflect, Uint8Array};
use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, future_to_promise};

use crate::adapter::AdapterFiles;
use crate::error::{Error, Result};
use crate::files::shards::LONGEST_INDEX;
use crate::files::{Index, Source};
use crate::run::{Clock, Files, Kept, Method, ModelFiles};

pub(super) type Js<T> = std::result::Result<T, JsValue>;

/// A `LoraError`: a JavaScript Error with a stable `code` and a `hint`. One about a setting says which, as JavaScript
/// spells it, and what was expected.
pub(super) fn js_error(error: Error) -> JsValue {
    let js = js_sys::Error::new(&error.to_string());
    js.set_name("LoraError");
    let _ = Reflect::set(&js, &"code".into(), &error.code().into());
    let _ = Reflect::set(&js, &"hint".into(), &error.hint().into());
    if let Error::Setting { name, value, expected } = &error {
        let setting = serde_json::json!({ "name": camel(name), "value": value, "expected": expected });
        let _ = Reflect::set(&js, &"setting".into(), &to_js(&setting));
    }
    js.into()
}

/// `seqLen` for `seq-len`.
fn camel(name: &str) -> String {
    let mut parts = name.split('-');
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |name, part| name + &part[..1].to_uppercase() + &part[1..])
}

/// A plain object, numbers as numbers.
pub(super) fn to_js(value: &impl Serialize) -> JsValue {
    value.serialize(&serde_wasm_bindgen::Serializer::json_compatible()).expect("plain data has a form in JavaScript")
}

pub(super) fn from_js<T: for<'de> Deserialize<'de>>(what: &str, value: JsValue) -> Js<T> {
    serde_wasm_bindgen::from_value(value).map_err(|error| {
        js_error(Error::Setting { name: what.to_string(), value: "an object".to_string(), expected: error.to_string() })
    })
}

/// What `work` resolves to. It holds everything it uses, so nothing stays borrowed while it waits.
pub(super) fn promise(work: impl Future<Output = Js<JsValue>> + 'static) -> Promise {
    future_to_promise(work)
}

pub(super) fn call(function: &Function, argument: &JsValue) {
    let _ = function.call1(&JsValue::NULL, argument);
}

fn bytes_of(object: &JsValue, field: &str) -> Option<Vec<u8>> {
    let value = Reflect::get(object, &field.into()).ok()?;
    value.dyn_into::<Uint8Array>().ok().map(|array| array.to_vec())
}

pub(super) fn needed(object: &JsValue, field: &str) -> Js<Vec<u8>> {
    bytes_of(object, field).ok_or_else(|| {
        js_error(Error::Io { path: field.to_string(), reason: "it was not given as a Uint8Array".to_string() })
    })
}

/// `performance.now()`, which pages and workers both have.
pub(super) fn clock() -> Clock {
    let performance = Reflect::get(&js_sys::global(), &"performance".into()).unwrap_or(JsValue::UNDEFINED);
    let now: Option<Function> = Reflect::get(&performance, &"now".into()).ok().and_then(|now| now.dyn_into().ok());
    let now = now.expect("pages and workers have performance.now");
    Rc::new(move || now.call0(&performance).ok().and_then(|ms| ms.as_f64()).expect("performance.now gives a number"))
}

/// A model: the files of a checkpoint, or a GGUF file as `{ name, gguf }`, a source of ranges.
pub(super) async fn model_files(object: &JsValue) -> Js<ModelFiles> {
    if let Some(file) = gguf(object)? {
        return ModelFiles::of_gguf(file).await.map_err(js_error);
    }
    Ok(ModelFiles {
        config: needed(object, "config")?,
        tokenizer: needed(object, "tokenizer")?,
        tokenizer_config: bytes_of(object, "tokenizerConfig"),
        generation_config: bytes_of(object, "generationConfig"),
        chat_template: bytes_of(object, "chatTemplate"),
        weights: weights_of(&Reflect::get(object, &"weights".into())?).await?,
    })
}

/// The config and the weights of a model.
pub(super) async fn config_and_weights(object: &JsValue) -> Js<(Vec<u8>, Source)> {
    if let Some(file) = gguf(object)? {
        let (_, config, weights) = ModelFiles::without_tokenizer(file).await.map_err(js_error)?;
        return Ok((config, weights));
    }
    Ok((needed(object, "config")?, weights_of(&Reflect::get(object, &"weights".into())?).await?))
}

fn gguf(object: &JsValue) -> Js<Option<Source>> {
    let file = Reflect::get(object, &"gguf".into())?;
    if file.is_undefined() { Ok(None) } else { source(&model_name(object)?, &file).map(Some) }
}

pub(super) fn model_name(object: &JsValue) -> Js<String> {
    Ok(Reflect::get(object, &"name".into())?.as_string().unwrap_or_else(|| "model".to_string()))
}

/// Weights in one file, or in the files that an index names: `{ index, files: { [name]: … } }`, all sources of ranges.
async fn weights_of(object: &JsValue) -> Js<Source> {
    let index = Reflect::get(object, &"index".into())?;
    if index.is_undefined() {
        return source("model.safetensors", object);
    }
    let given: Object = Reflect::get(object, &"files".into())?.into();
    let index = source("model.safetensors.index.json", &index)?;
    // One byte more than an index may have, so that a longer one is refused.
    let bytes = index.read(0, index.bytes.min(LONGEST_INDEX + 1)).await.map_err(js_error)?;
    let mut files = HashMap::new();
    for entry in Object::entries(&given).iter() {
        let entry: Array = entry.into();
        let name = entry.get(0).as_string().unwrap_or_default();
        files.insert(name.clone(), source(&name, &entry.get(1))?);
    }
    Index::parse(&bytes, &index.name).and_then(|index| index.join(|name| Ok(files.remove(name)))).map_err(js_error)
}

/// A source of ranges over `{ bytes, read(offset, length): Promise<Uint8Array> }`.
fn source(name: &str, object: &JsValue) -> Js<Source> {
    let wrong = || js_error(Error::Io { path: name.to_string(), reason: "expected { bytes, read }".to_string() });
    let bytes = Reflect::get(object, &"bytes".into())?.as_f64().ok_or_else(wrong)?;
    let read: Function = Reflect::get(object, &"read".into())?.dyn_into().map_err(|_| wrong())?;
    let path = name.to_string();
    let read = move |offset: u64, length: u64| {
        let promise = read.call2(&JsValue::NULL, &(offset as f64).into(), &(length as f64).into());
        let path = path.clone();
        let bytes = async move {
            let failed = |error: JsValue| Error::Io {
                path: path.clone(),
                reason: error.as_string().unwrap_or_else(|| format!("{error:?}")),
            };
            let promise = promise.map_err(failed)?;
            let array = JsFuture::from(Promise::resolve(&promise)).await.map_err(failed)?;
            Ok(Uint8Array::new(&array).to_vec())
        };
        Box::pin(bytes) as Pin<Box<dyn Future<Output = Result<Vec<u8>>>>>
    };
    Ok(Source::new(name, bytes as u64, Box::new(read)))
}

/// PEFT's two files from `{ config, weights }`.
pub(super) fn adapter_files(object: &JsValue) -> Js<AdapterFiles> {
    let config = Reflect::get(object, &"config".into())?.as_string();
    let missing = || {
        js_error(Error::Adapter {
            file: "adapter_config.json".to_string(),
            reason: "it was not given as a string".to_string(),
        })
    };
    Ok(AdapterFiles { config: config.ok_or_else(missing)?, weights: needed(object, "weights")? })
}

/// What a run kept or what was loaded: an adapter's two files, or the weights of a checkpoint.
pub(super) fn kept_object(kept: &Kept) -> JsValue {
    let (config, weights) = match &kept.files {
        Files::Adapter(files) => (Some(&files.config), &files.weights),
        Files::Checkpoint(weights) => (None, weights),
    };
    let facts = serde_json::json!({
        "method": if config.is_some() { Method::Lora } else { Method::Full },
        "config": config,
        "rank": kept.rank,
        "alpha": kept.alpha,
        "targets": kept.targets,
        "parameters": kept.parameters,
        "step": kept.step,
        "loss": kept.loss,
        "isChat": kept.is_chat,
        "warnings": kept.warnings,
    });
    let object = to_js(&facts);
    let _ = Reflect::set(&object, &"weights".into(), &Uint8Array::from(weights.as_slice()));
    object
}
