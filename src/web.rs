//! The JavaScript surface of the engine. Except for two files of `device`, only this room knows JavaScript. It
//! forwards, and decides nothing.
//!
//! A call that takes time returns a Promise and holds whatever it uses, so that JavaScript may free an engine or a
//! dataset at any moment. An `async fn(&self)` would hold a borrow instead, and `free` fails on what is borrowed.

mod convert;
mod dataset;
mod evaluating;
mod export;
mod helper;
mod loaded;
mod merging;
mod training;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use js_sys::{Array, Float32Array, Function, Object, Promise};
use wasm_bindgen::prelude::*;

use convert::{Js, call, from_js, js_error, kept_object, model_files, model_name, promise, to_js};
pub use dataset::Dataset;
use helper::Remote;
pub use helper::WebAssistant;
use loaded::{Loaded, logits};

use crate::adapter::{AdapterFiles, AdapterSpec, Full};
use crate::device::{Choice, Device, DeviceOptions, Shape, TunedProduct};
use crate::error::Error;
use crate::generate::Generator;
use crate::model::{Config, Storage};
use crate::run::{Base, Control, Event, Files, Foreseen, Helper, Kept, Limits, Method, Phase, Settings, Storing, Wish};
use crate::text::Document;

/// The files that a checkpoint in f32 of this model has beside its weights, as texts by their names.
#[wasm_bindgen]
pub async fn companions(files: JsValue) -> Js<JsValue> {
    let companions = model_files(&files).await?.companions(Some("float32"));
    let texts = companions.into_iter().map(|(name, bytes)| (name, String::from_utf8_lossy(&bytes).into_owned()));
    Ok(to_js(&texts.collect::<HashMap<_, _>>()))
}

/// The names of the columns of a table, or the keys of the first record; none for running text.
#[wasm_bindgen(js_name = columnNames)]
pub fn column_names(name: &str, bytes: Vec<u8>) -> Js<JsValue> {
    Ok(to_js(&Document::new(name, bytes).column_names().map_err(js_error)?))
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn log_panics() {
    std::panic::set_hook(Box::new(|info| web_sys::console::error_1(&info.to_string().into())));
}

/// A `usize` of wasm ends at four billion.
fn parameters(config: &Config) -> f64 {
    config.count_parameters().unwrap_or(u64::MAX) as f64
}

#[wasm_bindgen]
pub struct Engine(Rc<Parts>);

/// What the calls of an engine share.
struct Parts {
    base: Base,
    loaded: RefCell<Option<Loaded>>,
    /// Of the base alone, and of what is loaded.
    generators: RefCell<[Option<Rc<Generator>>; 2]>,
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
        // A device cannot be asked for timestamps later, and until `profile` uses them, they cost nothing.
        let options = DeviceOptions { choice, timestamps: true, ..DeviceOptions::default() };
        let device = Device::new(options).await.map_err(js_error)?;
        // Refuses a model for which there is no memory before its weights are read.
        let checkpoint = files.checkpoint().await.map_err(js_error)?;
        let usual = Settings::defaults(&checkpoint.config, device.software);
        let Storing { storage, warning } =
            Foreseen::of(&device, &checkpoint, storage, &usual, 0).await.map_err(js_error)?.storing;
        let mut base = Base::load(&device, &name, &files.small(), &files.weights, storage, &mut progress)
            .await
            .map_err(js_error)?;
        base.model.warnings.extend(warning);
        Ok(Engine(Rc::new(Parts {
            base,
            loaded: RefCell::default(),
            generators: RefCell::default(),
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

    /// The card, as far as the engine knows it, with its own version; empty if there is none.
    pub fn card(&self) -> String {
        let device = &self.0.base.model.device;
        if device.software { String::new() } else { format!("tabtune {}, {}", VERSION, device.identity) }
    }

    /// What was measured on the card: JSON, which `remember` reads.
    pub fn measured(&self) -> String {
        serde_json::json!(self.0.base.model.device.measured()).to_string()
    }

    /// Takes over what was measured on this card before.
    pub fn remember(&self, measured: &str) {
        // What an older version wrote is measured again.
        let products: Vec<TunedProduct> = serde_json::from_str(measured).unwrap_or_default();
        self.0.base.model.device.remember(&products);
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
        to_js(&self.0.defaults())
    }

    /// Those of full fine-tuning.
    #[wasm_bindgen(js_name = fullDefaults)]
    pub fn full_defaults(&self) -> JsValue {
        to_js(&self.0.defaults().with_method(Method::Full))
    }

    /// What the settings may be for this model.
    pub fn limits(&self) -> JsValue {
        to_js(&Limits::of(&self.0.base.model.config))
    }

    /// What a run of another model would take in the place of this one, with its default settings but for `changes`.
    /// Of its weights, only the headers are read: what does not fit its config, is cut short or finds no memory is
    /// refused.
    pub async fn foresee(&self, files: JsValue, stored: &str, changes: JsValue) -> Js<JsValue> {
        let storage = Storage::parse(stored).map_err(js_error)?;
        let checkpoint = model_files(&files).await?.checkpoint().await.map_err(js_error)?;
        let device = &self.0.base.model.device;
        let usual = to_js(&Settings::defaults(&checkpoint.config, device.software));
        let settings = Object::assign(usual.unchecked_ref::<Object>(), changes.unchecked_ref());
        let settings: Settings = from_js("settings", settings.into())?;
        let Foreseen { storing, settings, memory } =
            Foreseen::of(device, &checkpoint, storage, &settings, device.bytes()).await.map_err(js_error)?;
        Ok(to_js(&serde_json::json!({
            "parameters": parameters(&checkpoint.config),
            "weights": storing.storage,
            "batch": settings.batch,
            "seqLen": settings.seq_len,
            "memory": memory.total(),
        })))
    }

    /// How many parameters full fine-tuning of the model trains.
    #[wasm_bindgen(js_name = fullSize)]
    pub fn full_size(&self) -> f64 {
        Full::size(&self.0.base.model.config) as f64
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

    /// The kept adapter as PEFT's two files, or the weights of the kept checkpoint.
    pub fn adapter(&self) -> Js<JsValue> {
        match self.0.loaded.borrow().as_ref() {
            Some(loaded) => Ok(kept_object(&loaded.kept)),
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
        let is_chat = files.origin().is_ok_and(|origin| origin.is_chat);
        let kept = Kept {
            step: 0,
            loss: None,
            rank: spec.rank(),
            alpha: spec.alpha(),
            targets,
            parameters: 0,
            is_chat,
            warnings,
            files: Files::Adapter(files.clone()),
        };
        self.0.load_adapter(kept, &files).map_err(js_error)
    }

    /// Loads the weights of a checkpoint that full fine-tuning of this base left; `adapter` then returns them.
    #[wasm_bindgen(js_name = setCheckpoint)]
    pub fn set_checkpoint(&self, weights: Vec<u8>) -> Promise {
        let parts = self.0.clone();
        promise(async move {
            let kept = Kept {
                step: 0,
                loss: None,
                rank: 0,
                alpha: 0.0,
                targets: Vec::new(),
                parameters: Full::size(&parts.base.model.config) as usize,
                is_chat: false,
                warnings: Vec::new(),
                files: Files::Checkpoint(weights),
            };
            parts.load(kept).await.map_err(js_error)?;
            Ok(JsValue::UNDEFINED)
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
    fn defaults(&self) -> Settings {
        let model = &self.base.model;
        Settings::defaults(&model.config, model.device.software)
    }

    /// For what starts now: from here on, `stop` and `pause` mean it.
    fn new_control(&self) -> Control {
        let control = Control::default();
        *self.control.borrow_mut() = control.clone();
        control
    }
}
