//! Adapters in the forms of other programs.

use js_sys::{Object, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;

use super::Engine;
use super::convert::{Js, js_error};
use crate::adapter::{AdapterFiles, Form};

#[wasm_bindgen]
impl Engine {
    /// An adapter of this base in another form, "peft", "gguf" or "mlx": its files' bytes by their names.
    #[wasm_bindgen(js_name = exportAdapter)]
    pub fn export_adapter(&self, text: String, weights: Vec<u8>, form: &str) -> Js<JsValue> {
        let base = &self.0.base;
        let given = AdapterFiles { config: text, weights };
        let form = Form::parse(form).map_err(js_error)?;
        let files = given.export(form, &base.model.config, &base.name).map_err(js_error)?;
        let object = Object::new();
        for (name, bytes) in files {
            Reflect::set(&object, &name.into(), &Uint8Array::from(bytes.as_slice()))?;
        }
        Ok(object.into())
    }
}
