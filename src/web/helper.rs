//! Engines in other workers that help this one: how the leader reaches them, and what they are themselves.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::{Array, Float32Array, Function, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::convert::{Js, config_and_weights, from_js, js_error, promise, to_js};
use super::log_panics;
use crate::device::{Choice, Device, DeviceOptions};
use crate::error::{Error, Result};
use crate::files::Source;
use crate::model::{Config, Storage, Transformer};
use crate::run::team::Shape;
use crate::run::{Answer, Assistant, Control, Helper, Task, Wish};
use crate::train::Sums;

/// A helper, behind `(call, input, p) => Promise`, where the call is "prepare", "compute" or "giveUp".
pub(super) struct Remote(Function);

impl Remote {
    /// From an array of such functions.
    pub fn all(functions: &Array) -> Js<Rc<[Box<dyn Helper>]>> {
        let helper = |function: JsValue| -> Js<Box<dyn Helper>> { Ok(Box::new(Remote(function.dyn_into()?))) };
        functions.iter().map(helper).collect::<Js<Vec<_>>>().map(Rc::from)
    }

    fn ask(&self, call: &str, input: &JsValue, p: &JsValue) -> Answer<JsValue> {
        let asked = self.0.call3(&JsValue::NULL, &call.into(), input, p);
        Box::pin(async move { JsFuture::from(Promise::resolve(&asked.map_err(lost)?)).await.map_err(lost) })
    }
}

impl Helper for Remote {
    fn prepare(&self, shape: &Shape) -> Answer<()> {
        let prepared = self.ask("prepare", &to_js(shape), &JsValue::UNDEFINED);
        Box::pin(async move { prepared.await.map(|_| ()) })
    }

    fn compute(&self, task: Task) -> Answer<Option<Sums>> {
        let p = task.p.as_deref().map_or(JsValue::UNDEFINED, |p| Float32Array::from(p).into());
        let computed = self.ask("compute", &to_js(&task), &p);
        Box::pin(async move {
            let sums = computed.await?;
            if sums.is_undefined() {
                return Ok(None);
            }
            let field = |name: &str| Reflect::get(&sums, &name.into()).map_err(lost);
            let number = |name: &str| field(name)?.as_f64().ok_or_else(|| lost(name.into()));
            let gradient = Float32Array::new(&field("gradient")?).to_vec();
            Ok(Some(Sums { loss: number("loss")? as f32, labels: number("labels")? as u32, gradient }))
        })
    }

    fn give_up(&self) {
        // Whoever gives up waits for nothing.
        let _ = self.0.call1(&JsValue::NULL, &"giveUp".into());
    }
}

fn lost(error: JsValue) -> Error {
    let code = Reflect::get(&error, &"code".into()).ok().and_then(|code| code.as_string());
    if code.as_deref() == Some("out_of_memory") {
        return Error::OutOfMemory { what: "the plans of a worker that helps".to_string() };
    }
    let reason = Reflect::get(&error, &"message".into()).ok().and_then(|message| message.as_string());
    Error::DeviceLost { reason: format!("a worker that helps stopped ({})", reason.unwrap_or(format!("{error:?}"))) }
}

/// An engine that helps another: it has a model, but no tokenizer, and computes on the CPU.
#[wasm_bindgen(js_name = Assistant)]
pub struct WebAssistant(Rc<Parts>);

struct Parts {
    /// Taken while it works.
    assistant: RefCell<Option<Assistant>>,
    /// Of the task under way.
    control: RefCell<Control>,
}

#[wasm_bindgen(js_class = Assistant)]
impl WebAssistant {
    /// Loads the weights of a model, and stores them as the leader does.
    pub async fn create(files: JsValue, stored: &str) -> Js<WebAssistant> {
        log_panics();
        let (config, weights) = config_and_weights(&files).await?;
        let model = load(&config, &weights, stored).await.map_err(js_error)?;
        let (assistant, control) = (RefCell::new(Some(Assistant::new(model))), RefCell::default());
        Ok(WebAssistant(Rc::new(Parts { assistant, control })))
    }

    /// Makes the plans of a run.
    pub fn prepare(&self, shape: JsValue) -> Promise {
        let parts = self.0.clone();
        promise(async move {
            let shape = from_js("shape", shape)?;
            let mut assistant = parts.take()?;
            let prepared = assistant.prepare(shape).await;
            parts.assistant.replace(Some(assistant));
            prepared.map_err(js_error).map(|()| JsValue::UNDEFINED)
        })
    }

    /// The sums of a task as `{ loss, labels, gradient }`, or undefined if it was given up.
    pub fn compute(&self, task: JsValue, p: Option<Vec<f32>>) -> Promise {
        let parts = self.0.clone();
        promise(async move {
            let task = Task { p, ..from_js("task", task)? };
            let control = Control::default();
            parts.control.replace(control.clone());
            let mut assistant = parts.take()?;
            let sums = assistant.compute(task, &|| control.ends()).await;
            parts.assistant.replace(Some(assistant));
            Ok(sums.map_err(js_error)?.map_or(JsValue::UNDEFINED, |sums| object(&sums)))
        })
    }

    /// Gives up the task under way.
    #[wasm_bindgen(js_name = giveUp)]
    pub fn give_up(&self) {
        self.0.control.borrow().set(Wish::Cancel);
    }
}

impl Parts {
    fn take(&self) -> Js<Assistant> {
        let busy = || js_error(Error::Internal { what: "a helper has something else to do".to_string() });
        self.assistant.take().ok_or_else(busy)
    }
}

async fn load(config: &[u8], weights: &Source, stored: &str) -> Result<Transformer> {
    let device = Device::new(DeviceOptions { choice: Choice::Cpu, ..DeviceOptions::default() }).await?;
    let (config, storage) = (Config::parse(config)?, Storage::parse(stored)?);
    Transformer::load(&device, config, weights, storage, &mut |_, _| {}).await
}

fn object(Sums { loss, labels, gradient }: &Sums) -> JsValue {
    let object = to_js(&serde_json::json!({ "loss": loss, "labels": labels }));
    let _ = Reflect::set(&object, &"gradient".into(), &Float32Array::from(gradient.as_slice()));
    object
}
