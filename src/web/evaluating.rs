//! The loss on a text, for JavaScript.

use js_sys::Promise;
use serde::Deserialize;
use wasm_bindgen::prelude::*;

use super::convert::{from_js, js_error, promise, to_js};
use super::{Dataset, Engine};
use crate::run::{self, Limits, Measured};

#[derive(Deserialize)]
struct EvaluateOptions {
    batch: usize,
    adapter: bool,
    strength: f32,
}

#[wasm_bindgen]
impl Engine {
    /// The mean loss over all rows, held-out ones included, as `{ loss, tokens }`: of the base alone or of what is
    /// loaded, by `{ batch, adapter, strength }`. The loss is null if no token carries any. Null if it was stopped.
    pub fn evaluate(&self, data: &Dataset, options: JsValue) -> Promise {
        let (parts, data) = (self.0.clone(), data.clone());
        promise(async move {
            let EvaluateOptions { batch, adapter, strength } = from_js("options", options)?;
            Limits::of(&parts.base.model.config).batch.check("batch", batch as f64).map_err(js_error)?;
            let (data, seq_len) = data.rows(&parts).map_err(js_error)?;
            let rows = [data.rows.as_slice(), &data.held_out].concat();
            let control = parts.new_control();
            let mut evaluator = run::evaluator(&parts.model_for(adapter), batch, seq_len).await.map_err(js_error)?;
            let strength = if adapter { strength } else { 0.0 };
            let measured = run::evaluate(&mut evaluator, &rows, strength, &control).await.map_err(js_error)?;
            Ok(measured.map_or(JsValue::NULL, |Measured { loss, labels }| {
                to_js(&serde_json::json!({ "loss": loss, "tokens": labels }))
            }))
        })
    }
}
