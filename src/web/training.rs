//! Runs that JavaScript starts.

use std::rc::Rc;

use js_sys::{Function, Number, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;

use super::convert::{Js, adapter_files, adapter_object, call, clock, from_js, js_error, needed, promise, to_js};
use super::{Dataset, Engine, Parts};
use crate::error::Error;
use crate::run::{self, Event, Hooks, Kept, Method, RunState, SaveHook, SaveWhen, Settings, Start};

#[wasm_bindgen]
impl Engine {
    /// The bytes that a run with these settings takes on the device, by what they are for, and their `total`.
    pub fn memory(&self, settings: JsValue) -> Promise {
        let parts = self.0.clone();
        promise(async move {
            let settings: Settings = from_js("settings", settings)?;
            let unloaded = parts.base.unloaded(&settings.prompt).map_err(js_error)?;
            let memory = unloaded.memory(&settings).await.map_err(js_error)?;
            let total = Number::from(memory.total() as f64);
            let memory = to_js(&memory);
            Reflect::set(&memory, &"total".into(), &total)?;
            Ok(memory)
        })
    }
}

impl Parts {
    pub(super) async fn probe(self: &Rc<Self>, data: &Dataset, settings: JsValue) -> Js<JsValue> {
        let settings: Settings = from_js("settings", settings)?;
        let rows = data.rows_for(self, &settings).map_err(js_error)?;
        let held_out = rows.held_out.len();
        let helpers = self.helpers.borrow().clone();
        let cost = run::probe(&self.base, rows, &settings, &clock(), &helpers).await.map_err(js_error)?;
        let tokens = (settings.batch * settings.seq_len * settings.accumulate) as f64;
        Ok(to_js(&serde_json::json!({
            "msPerStep": cost.step.0,
            "msPerEvaluation": cost.evaluation(&settings, held_out),
            "msPerKeep": cost.keep.0,
            "msPerSample": cost.sample.0,
            "tokensPerSecond": tokens / cost.step.0 * 1000.0,
            "etaMs": cost.left(&settings, held_out, 0),
        })))
    }

    pub(super) async fn train(
        self: &Rc<Self>,
        data: &Dataset,
        settings: JsValue,
        on_event: Function,
        on_adapter: Function,
        options: JsValue,
    ) -> Js<JsValue> {
        let mut settings: Settings = from_js("settings", settings)?;
        let option = |name: &str| {
            Reflect::get(&options, &name.into()).ok().filter(|value| !value.is_undefined() && !value.is_null())
        };
        let init = option("init").map(|init| adapter_files(&init)).transpose()?;
        let resume = option("resume").map(|_| needed(&options, "resume")).transpose()?;
        let start = match (resume, &init) {
            (Some(bytes), _) => {
                let state = RunState::from_bytes(&bytes).map_err(js_error)?;
                settings = state.settings.clone();
                Start::Resume(Box::new(state))
            }
            (None, Some(files)) => Start::Adapter(files),
            (None, None) => Start::Fresh,
        };
        if settings.method == Method::Full {
            return Err(js_error(Error::NotYet { what: "full fine-tuning in a browser".to_string() }));
        }
        let rows = data.rows_for(self, &settings).map_err(js_error)?;
        let control = self.new_control();
        let mut emit = |event: Event| call(&on_event, &to_js(&event));
        let mut keep = |kept: &Kept| call(&on_adapter, &adapter_object(kept));
        let on_run_state = option("onRunState").map(JsCast::dyn_into::<Function>).transpose().map_err(no_function)?;
        let mut save = |bytes: Vec<u8>| {
            if let Some(hook) = &on_run_state {
                call(hook, &Uint8Array::from(bytes.as_slice()));
            }
        };
        let save = on_run_state.is_some().then_some(SaveHook { when: SaveWhen::Often, save: &mut save });
        let helpers = self.helpers.borrow().clone();
        let hooks = Hooks { emit: &mut emit, keep: &mut keep, save, helpers: &helpers };
        let outcome = run::train(&self.base, rows, &settings, start, &control, &clock(), hooks).await;
        if let Some(kept) = outcome.map_err(js_error)?.kept {
            self.load(kept)?;
        }
        Ok(JsValue::UNDEFINED)
    }
}

fn no_function(_: JsValue) -> JsValue {
    let (name, value) = ("onRunState".to_string(), "no function".to_string());
    js_error(Error::Setting { name, value, expected: "a function that takes the bytes of a run state".to_string() })
}
