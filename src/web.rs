//! The JavaScript surface of the engine. Except for `ahead_web.rs` in `device`, only this room knows JavaScript. It
//! forwards, and decides nothing.
//!
//! A call that takes time returns a Promise and holds whatever it uses, so that JavaScript may free an engine or a
//! dataset at any moment. An `async fn(&self)` would hold a borrow instead, and `free` fails on what is borrowed.

mod convert;
mod dataset;
mod export;
mod helper;
mod training;

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::{Array, Float32Array, Function, Promise};
use serde::Deserialize;
use wasm_bindgen::prelude::*;

use convert::{Js, adapter_object, call, from_js, js_error, model_files, model_name, promise, to_js};
pub use dataset::Dataset;
use helper::Remote;
pub use helper::WebAssistant;

use crate::adapter::{Adapter, AdapterFiles, AdapterSpec};
use crate::device::{Choice, Device, DeviceOptions, Shape};
use crate::error::{Error, Result};
use crate::generate::{Generated, Generator, Reason, Sampling};
use crate::model::{Config, Logits, Storage, Transformer};
use crate::plan::Progress;
use crate::run::{Base, Control, Event, Files, Helper, Kept, Limits, Phase, Settings, Storing, Wish};
use crate::text::{Conversation, Document, Prompt};

/// How many parameters a model has. Of its weights, only the headers are read: what does not fit its config or is cut
/// short is refused.
#[wasm_bindgen(js_name = modelSize)]
pub async fn model_size(files: JsValue) -> Js<f64> {
    let checkpoint = model_files(&files).await?.checkpoint().await.map_err(js_error)?;
    Ok(parameters(&checkpoint.config))
}

/// The names of the columns of a table, or the keys of the first record; none for running text.
#[wasm_bindgen(js_name = columnNames)]
pub fn column_names(name: &str, bytes: Vec<u8>) -> Js<JsValue> {
    Ok(to_js(&Document::new(name, bytes).column_names().map_err(js_error)?))
}

fn log_panics() {
    std::panic::set_hook(Box::new(|info| web_sys::console::error_1(&info.to_string().into())));
}

/// A `usize` of wasm ends at four billion.
fn parameters(config: &Config) -> f64 {
    config.count_parameters().unwrap_or(u64::MAX) as f64
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GenerateOptions {
    prompt: PromptOption,
    adapter: bool,
    strength: f32,
    seed: u64,
    max_tokens: usize,
    temperature: f64,
    top_k: usize,
    top_p: f64,
}

/// A text that is taken as it is, or messages for the chat template.
#[derive(Deserialize)]
#[serde(untagged)]
enum PromptOption {
    Text(String),
    Messages(Vec<serde_json::Value>),
}

/// The adapter that the last run kept or that was loaded, attached and ready to generate with.
struct Loaded {
    kept: Kept,
    adapter: Adapter,
    model: Transformer,
}

#[wasm_bindgen]
pub struct Engine(Rc<Parts>);

/// What the calls of an engine share.
struct Parts {
    base: Base,
    loaded: RefCell<Option<Loaded>>,
    /// The generator with the loaded adapter; without one, the base alone.
    generator: RefCell<Option<Rc<Generator>>>,
    /// Of the run or the generation that was started last.
    control: RefCell<Control>,
    /// Share the micro-batches of every run.
    helpers: RefCell<Rc<[Box<dyn Helper>]>>,
}

#[wasm_bindgen]
impl Engine {
    /// Opens a device ("auto", "gpu" or "cpu") and loads a model, whose matrices are stored as "auto", "f32",
    /// "f16", "int8" or "int4" says. `on_event` gets the progress of loading.
    pub async fn create(files: JsValue, on_event: Function, device: &str, stored: &str) -> Js<Engine> {
        log_panics();
        let (name, files) = (model_name(&files)?, model_files(&files).await?);
        let mut progress = |done, total| call(&on_event, &to_js(&Event::Phase { phase: Phase::Loading, done, total }));
        let choice = Choice::parse(device).map_err(js_error)?;
        let storage = Storage::parse(stored).map_err(js_error)?;
        let options = DeviceOptions { choice, ..DeviceOptions::default() };
        let device = Device::new(options).await.map_err(js_error)?;
        // Refuses a model for which there is no memory before its weights are read.
        let checkpoint = files.checkpoint().await.map_err(js_error)?;
        let Storing { storage, warning } =
            Storing::choose_for_any(&device, &checkpoint, storage).await.map_err(js_error)?;
        let mut base = Base::load(&device, &name, &files.small(), &files.weights, storage, &mut progress)
            .await
            .map_err(js_error)?;
        base.model.warnings.extend(warning);
        Ok(Engine(Rc::new(Parts {
            base,
            loaded: RefCell::default(),
            generator: RefCell::default(),
            control: RefCell::default(),
            helpers: RefCell::new(Rc::from([])),
        })))
    }

    /// From here on, every run is shared with these helpers, each a function `(call, input, p) => Promise`.
    #[wasm_bindgen(js_name = setHelpers)]
    pub fn set_helpers(&self, helpers: &Array) -> Js<()> {
        self.0.helpers.replace(Remote::all(helpers)?);
        Ok(())
    }

    /// What the model and the device are.
    pub fn info(&self) -> JsValue {
        let base = &self.0.base;
        let (config, device) = (&base.model.config, &base.model.device);
        to_js(&serde_json::json!({
            "name": base.name,
            "sha256": base.sha256,
            "modelType": config.family.model_type,
            "parameters": parameters(config),
            "vocabulary": config.vocabulary,
            "context": config.context,
            "hidden": config.hidden,
            "layers": config.layers,
            "heads": config.heads.query,
            "weights": base.model.storage,
            "weightBytes": base.model.weight_bytes(),
            "chatTemplate": base.tokenizer.has_chat_template(),
            "warnings": base.model.warnings,
            "device": {
                "kind": if device.shape == Shape::Cpu { "cpu" } else { "gpu" },
                "software": device.software,
                "name": device.name,
                "maxBindingBytes": device.max_binding,
                "workers": self.0.helpers.borrow().len() + 1,
            },
        }))
    }

    /// Counters of the device: for "Look inside" and for tests.
    pub fn stats(&self) -> JsValue {
        let device = &self.0.base.model.device;
        to_js(&serde_json::json!({
            "deviceBytes": device.bytes(),
            "devicePeakBytes": device.peak_bytes(),
            "buffers": device.buffer_count(),
            "pipelines": device.pipeline_count(),
        }))
    }

    /// The default settings for this model on this device.
    pub fn defaults(&self) -> JsValue {
        let model = &self.0.base.model;
        to_js(&Settings::defaults(&model.config, model.device.software))
    }

    /// What the settings may be for this model.
    pub fn limits(&self) -> JsValue {
        to_js(&Limits::of(&self.0.base.model.config))
    }

    /// How many parameters an adapter of this rank has on these targets of the model.
    #[wasm_bindgen(js_name = adapterSize)]
    pub fn adapter_size(&self, rank: usize, targets: &str) -> Js<f64> {
        let config = &self.0.base.model.config;
        // An adapter has as many, whatever its alpha is.
        let spec = AdapterSpec::new(config, rank, 1.0, targets).map_err(js_error)?;
        Ok(spec.parameters(config) as f64)
    }

    /// Turns `[{ name, bytes, columns }]` into rows for this model.
    pub fn dataset(&self, documents: Array, settings: JsValue) -> Js<Dataset> {
        Dataset::new(&self.0, &documents, &from_js("settings", settings)?)
    }

    /// What the parts of a run take, measured in a short one, which is then forgotten.
    pub fn probe(&self, data: &Dataset, settings: JsValue) -> Promise {
        let (parts, data) = (self.0.clone(), data.clone());
        promise(async move { parts.probe(&data, settings).await })
    }

    /// Trains on the dataset. Events go to `on_event`, every better adapter to `on_adapter`; resolves when the run is
    /// over. `options` may hold `init: { config, weights }`, an adapter to start from; `resume`, the bytes of a run
    /// state, whose settings are used instead of those given; and `onRunState`, which gets such bytes at the first
    /// evaluation, every half minute or tenth of the run, at a pause, at a stop, and after `save`.
    pub fn train(
        &self,
        data: &Dataset,
        settings: JsValue,
        on_event: Function,
        on_adapter: Function,
        options: JsValue,
    ) -> Promise {
        let (parts, data) = (self.0.clone(), data.clone());
        promise(async move { parts.train(&data, settings, on_event, on_adapter, options).await })
    }

    /// Ends a run or a generation within one step, and keeps the adapter or drops it.
    pub fn stop(&self, keep: bool) {
        self.0.control.borrow().set(if keep { Wish::Stop } else { Wish::Cancel });
    }

    /// Pauses the running training after the step under way, or lets it go on.
    pub fn pause(&self, paused: bool) {
        let control = self.0.control.borrow();
        if !control.ends() {
            control.set(if paused { Wish::Pause } else { Wish::GoOn });
        }
    }

    /// Has the running training save a run state after the step under way.
    pub fn save(&self) {
        self.0.control.borrow().ask_to_save();
    }

    /// Continues a prompt; every piece of text goes to `on_piece`.
    pub fn generate(&self, options: JsValue, on_piece: Function) -> Promise {
        let parts = self.0.clone();
        promise(async move { parts.generate(from_js("options", options)?, &on_piece).await })
    }

    /// The kept adapter as PEFT's two files.
    pub fn adapter(&self) -> Js<JsValue> {
        match self.0.loaded.borrow().as_ref() {
            Some(loaded) => Ok(adapter_object(&loaded.kept)),
            None => {
                Err(js_error(Error::Adapter { file: "adapter".to_string(), reason: "there is none yet".to_string() }))
            }
        }
    }

    /// What an adapter's files note about their base, beside this one. Loads nothing; files that do not fit this base
    /// are errors.
    #[wasm_bindgen(js_name = notedBase)]
    pub fn noted_base(&self, text: String, weights: Vec<u8>) -> Js<JsValue> {
        let base = &self.0.base;
        let given = AdapterFiles { config: text, weights };
        given.spec(&base.model.config).map_err(js_error)?;
        Ok(to_js(&given.noted_base(&base.name, &base.sha256).map_err(js_error)?))
    }

    /// Loads an adapter from PEFT's two files, from MLX's, or from a GGUF file, whose text is empty; `adapter` then
    /// returns PEFT's, and the warnings about it.
    #[wasm_bindgen(js_name = setAdapter)]
    pub fn set_adapter(&self, text: String, weights: Vec<u8>) -> Js<()> {
        let base = &self.0.base;
        let config = &base.model.config;
        let given = AdapterFiles { config: text, weights };
        let mut warnings = given.warnings(config).map_err(js_error)?;
        warnings.extend(given.other_base(&base.name, &base.sha256).map_err(js_error)?);
        // What is kept is what a page saves, under the names of PEFT's files.
        let files = given.in_peft_form(config, &base.name).map_err(js_error)?;
        let spec = files.spec(config).map_err(js_error)?;
        let targets = spec.target_names(config);
        self.0.load(Kept {
            step: 0,
            loss: None,
            rank: spec.rank(),
            alpha: spec.alpha(),
            targets,
            parameters: 0,
            warnings,
            files: Files::Adapter(files),
        })
    }

    /// Logits [ids.length, V] of base and kept adapter, row by row, as a Float32Array.
    pub fn logits(&self, ids: Vec<u32>) -> Promise {
        let model = self.0.current_model();
        promise(async move {
            let logits = logits(&model, &ids).await.map_err(js_error)?;
            Ok(Float32Array::from(logits.as_slice()).into())
        })
    }
}

impl Parts {
    async fn generate(&self, o: GenerateOptions, on_piece: &Function) -> Js<JsValue> {
        let generator = self.ready_generator().await.map_err(js_error)?;
        let sampling = Sampling {
            max_tokens: o.max_tokens,
            temperature: o.temperature,
            top_k: o.top_k,
            top_p: o.top_p,
            seed: o.seed,
            strength: if o.adapter { o.strength } else { 0.0 },
        };
        let control = self.new_control();
        let mut emit = |piece: &str| call(on_piece, &piece.into());
        let go_on = || !control.ends();
        let conversation;
        let prompt = match o.prompt {
            PromptOption::Text(ref text) => Prompt::Text(text),
            PromptOption::Messages(messages) => {
                conversation = Conversation::of_messages(messages).map_err(js_error)?;
                Prompt::Conversation(&conversation)
            }
        };
        let tokenizer = &self.base.tokenizer;
        let generated = generator.generate(tokenizer, prompt, &sampling, &mut emit, &go_on).await.map_err(js_error)?;
        let Generated { text, tokens, reason } = generated;
        let reason = match reason {
            Reason::Eos => "eos",
            Reason::Length => "length",
            Reason::Stopped => "stopped",
        };
        Ok(to_js(&serde_json::json!({ "text": text, "tokens": tokens, "reason": reason })))
    }

    fn current_model(&self) -> Transformer {
        self.loaded.borrow().as_ref().map_or_else(|| self.base.model.clone(), |loaded| loaded.model.clone())
    }

    /// For what starts now: from here on, `stop` and `pause` mean it.
    fn new_control(&self) -> Control {
        let control = Control::default();
        *self.control.borrow_mut() = control.clone();
        control
    }

    /// Swaps an adapter into the place of the loaded one and its plans, if it fits there and nobody is generating;
    /// otherwise attaches it beside that one, and new plans are made.
    fn load(&self, mut kept: Kept) -> Js<()> {
        let files = kept.files.adapter().map_err(js_error)?.clone();
        let spec = files.spec(&self.base.model.config).map_err(js_error)?;
        let idle = self.generator.borrow().as_ref().is_none_or(|generator| Rc::strong_count(generator) == 1);
        let mut loaded = self.loaded.borrow_mut();
        if let Some(loaded) = loaded.as_mut().filter(|loaded| idle && loaded.adapter.has_room_for(&spec)) {
            loaded.adapter.swap(&self.base.model.device, &files).map_err(js_error)?;
            kept.parameters = loaded.adapter.parameters();
            loaded.kept = kept;
            return Ok(());
        }
        let (adapter, model) = self.base.load_adapter(&files).map_err(js_error)?;
        kept.parameters = adapter.parameters();
        *loaded = Some(Loaded { kept, adapter, model });
        *self.generator.borrow_mut() = None;
        Ok(())
    }

    async fn ready_generator(&self) -> Result<Rc<Generator>> {
        let ready = self.generator.borrow().clone();
        if let Some(generator) = ready {
            return Ok(generator);
        }
        let generator = Rc::new(Generator::new(&self.current_model()).await?);
        *self.generator.borrow_mut() = Some(generator.clone());
        Ok(generator)
    }
}

async fn logits(model: &Transformer, ids: &[u32]) -> Result<Vec<f32>> {
    let rows = ids.len();
    if rows == 0 || rows > model.config.context {
        return Err(Error::PromptTooLong { tokens: rows, context: model.config.context });
    }
    let logits = Logits::record(model, rows, 1, rows, None)?.finish(&mut Progress::silent()).await?;
    let all: Vec<u32> = (0..rows as u32).collect();
    logits.run(ids, &all, 0, 1.0).await
}
