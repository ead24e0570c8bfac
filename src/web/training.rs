//! Runs that JavaScript starts.

use std::rc::Rc;

use js_sys::{Function, Number, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;

use super::convert::{Js, adapter_files, call, clock, from_js, js_error, kept_object, needed, promise, to_js};
use super::{Dataset, Engine, Parts};
use crate::adapter::Full;
use crate::device::Shape;
use crate::error::{Error, Result};
use crate::run::{self, Base, Event, Hooks, Kept, Method, RunState, SaveHook, SaveWhen, Settings, Start};

/// What the memory of wasm has room for, beside what is there anyway.
const MOST_MEMORY: u64 = 3 << 30;
/// How often full fine-tuning holds the numbers of a model in it: the best ones, the next ones, and files of both.
const COPIES: u64 = 5;
/// The most bytes of a run state, of which as many are made again on the way to the browser's storage.
const MOST_STATE: u64 = 256 << 20;
const STATE_TOO_LARGE: &str = "the state of this run is too large for the browser's storage, so it is not saved: \
                               closing the tab ends the run, and nothing continues it";

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

    /// How fast the device is with the plans of a run with these settings, and which kernels take the time. Null if it
    /// was stopped.
    pub fn profile(&self, settings: JsValue) -> Promise {
        let parts = self.0.clone();
        promise(async move { parts.profile(settings).await })
    }
}

impl Parts {
    pub(super) async fn probe(self: &Rc<Self>, data: &Dataset, settings: JsValue) -> Js<JsValue> {
        let settings: Settings = from_js("settings", settings)?;
        self.check_copies(&settings).await.map_err(js_error)?;
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

    async fn profile(&self, settings: JsValue) -> Js<JsValue> {
        let control = self.new_control();
        let settings: Settings = from_js("settings", settings)?;
        self.check_copies(&settings).await.map_err(js_error)?;
        let helpers = self.helpers.borrow().clone();
        let report = run::profile(&self.base, &settings, &clock(), &helpers, &control).await;
        Ok(to_js(&report.map_err(js_error)?))
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
        self.check_copies(&settings).await.map_err(js_error)?;
        let rows = data.rows_for(self, &settings).map_err(js_error)?;
        let control = self.new_control();
        let mut emit = |event: Event| call(&on_event, &to_js(&event));
        let mut keep = |kept: &Kept| call(&on_adapter, &kept_object(kept));
        let on_run_state = option("onRunState").map(JsCast::dyn_into::<Function>).transpose().map_err(no_function)?;
        let mut save = |bytes: Vec<u8>| {
            if let Some(hook) = &on_run_state {
                call(hook, &Uint8Array::from(bytes.as_slice()));
            }
        };
        let too_large = settings.method == Method::Full && 16 * Full::size(&self.base.model.config) > MOST_STATE;
        if too_large && on_run_state.is_some() {
            emit(Event::Warning { code: "state_too_large".to_string(), message: STATE_TOO_LARGE.to_string() });
        }
        let save =
            (on_run_state.is_some() && !too_large).then_some(SaveHook { when: SaveWhen::Often, save: &mut save });
        let helpers = self.helpers.borrow().clone();
        let hooks = Hooks { emit: &mut emit, keep: &mut keep, save, helpers: &helpers };
        let outcome = run::train(&self.base, rows, &settings, start, &control, &clock(), hooks).await;
        if let Some(kept) = outcome.map_err(js_error)?.kept {
            self.load(kept).await.map_err(js_error)?;
        }
        Ok(JsValue::UNDEFINED)
    }
}

impl Parts {
    /// Refuses full fine-tuning of a model whose numbers do not fit into the memory of this program as often as the
    /// best checkpoint and the next one need. Errors: `Setting`.
    async fn check_copies(&self, settings: &Settings) -> Result<()> {
        let Base { model, .. } = &self.base;
        if settings.method == Method::Lora {
            return Ok(());
        }
        let device = match model.device.shape {
            Shape::Cpu => self.base.unloaded(&settings.prompt)?.memory(settings).await?.total(),
            Shape::Tiled | Shape::Direct => 0,
        };
        let file = 4 * model.config.count_parameters().unwrap_or(u64::MAX / 4);
        let needed = device.saturating_add(file.saturating_mul(COPIES));
        if needed <= MOST_MEMORY {
            return Ok(());
        }
        let expected = format!(
            "lora for this model: the method full needs {needed} bytes of the memory of this tab, which has \
             {MOST_MEMORY}; natively there is no such limit"
        );
        Err(Error::Setting { name: "method".to_string(), value: "full".to_string(), expected })
    }
}

fn no_function(_: JsValue) -> JsValue {
    let (name, value) = ("onRunState".to_string(), "no function".to_string());
    js_error(Error::Setting { name, value, expected: "a function that takes the bytes of a run state".to_string() })
}
