//! The JavaScript surface of the engine: with `device`'s `ahead_web.rs` the only room that knows JavaScript. It forwards;
//! it decides nothing.

mod convert;

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::{Array, Function, Reflect, Uint8Array};
use serde::Deserialize;
use wasm_bindgen::prelude::*;

use convert::{Js, adapter_files, adapter_object, bytes_of, call, clock, from_js, js_error, needed, source, to_js};

use crate::adapter::{Adapter, AdapterFiles};
use crate::device::{Device, DeviceOptions};
use crate::error::{Error, Result};
use crate::generate::{Generated, Generator, Reason, Sampling};
use crate::model::{Logits, Storage, Transformer};
use crate::plan::Progress;
use crate::run::{
    self, Base, BaseFiles, Control, Event, Files, Hooks, Kept, Method, Phase, RunState, SAVE_EVERY_MS, SaveHook,
    Settings, Start, Wish,
};
use crate::text::dataset::{Dataset, PAGE_LIMIT};
use crate::text::formats::Document;
use crate::text::preview::preview;

/// How many rows the page shows as tokens.
const PREVIEWED: usize = 5;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GenerateOptions {
    prompt: String,
    adapter: bool,
    strength: f32,
    seed: u64,
    max_tokens: usize,
    temperature: f64,
    top_k: usize,
    top_p: f64,
}

/// The adapter that the last run kept or that was loaded, attached and ready to generate with.
struct Loaded {
    kept: Kept,
    adapter: Adapter,
    model: Transformer,
}

#[wasm_bindgen]
pub struct Engine {
    base: Base,
    dataset: RefCell<Option<Dataset>>,
    loaded: RefCell<Option<Loaded>>,
    /// The generator with the loaded adapter; without one, the base alone.
    generator: RefCell<Option<Rc<Generator>>>,
    control: RefCell<Control>,
}

#[wasm_bindgen]
impl Engine {
    /// Opens the graphics adapter and loads a checkpoint. `on_event` hears how far loading is.
    pub async fn create(files: JsValue, on_event: Function) -> Js<Engine> {
        std::panic::set_hook(Box::new(|info| web_sys::console::error_1(&info.to_string().into())));
        let name = Reflect::get(&files, &"name".into())?.as_string().unwrap_or_else(|| "model".to_string());
        let (config, tokenizer) = (needed(&files, "config")?, needed(&files, "tokenizer")?);
        let (tokenizer_config, generation_config) =
            (bytes_of(&files, "tokenizerConfig"), bytes_of(&files, "generationConfig"));
        let chat_template = bytes_of(&files, "chatTemplate");
        let weights = source("model.safetensors", &Reflect::get(&files, &"weights".into())?)?;
        let base_files = BaseFiles {
            tokenizer: &tokenizer,
            tokenizer_config: tokenizer_config.as_deref(),
            generation_config: generation_config.as_deref(),
            chat_template: chat_template.as_deref(),
            config: &config,
        };
        let mut progress = |done, total| call(&on_event, &to_js(&Event::Phase { phase: Phase::Loading, done, total }));
        let device = Device::new(DeviceOptions::default()).await.map_err(js_error)?;
        let base = Base::load(&device, &name, &base_files, &weights, Storage::default(), &mut progress)
            .await
            .map_err(js_error)?;
        Ok(Engine {
            base,
            dataset: RefCell::default(),
            loaded: RefCell::default(),
            generator: RefCell::default(),
            control: RefCell::default(),
        })
    }

    /// What the model and the graphics adapter are.
    pub fn info(&self) -> JsValue {
        let (config, device) = (&self.base.model.config, &self.base.model.device);
        to_js(&serde_json::json!({
            "name": self.base.name,
            "sha256": self.base.sha256,
            "modelType": config.family.model_type,
            "parameters": config.parameters(),
            "vocabulary": config.vocabulary,
            "context": config.context,
            "hidden": config.hidden,
            "layers": config.layers,
            "heads": config.heads.query,
            "weightBytes": self.base.model.weight_bytes(),
            "device": { "software": device.software, "name": device.name, "maxBindingBytes": device.max_binding },
        }))
    }

    /// Counters of the device: for "Look inside" and for tests.
    pub fn stats(&self) -> JsValue {
        let device = &self.base.model.device;
        to_js(&serde_json::json!({
            "gpuBytes": device.bytes(),
            "gpuPeakBytes": device.peak_bytes(),
            "buffers": device.buffer_count(),
            "pipelines": device.pipeline_count(),
        }))
    }

    /// The default settings for this model on this device.
    pub fn defaults(&self) -> JsValue {
        to_js(&Settings::defaults(&self.base.model.config, self.base.model.device.software))
    }

    /// Turns `[{ name, bytes }]` into rows and keeps them for `train`. Answers counts, warnings and five rows as
    /// tokens.
    pub fn dataset(&self, documents: Array, settings: JsValue) -> Js<JsValue> {
        let settings: Settings = from_js("settings", settings)?;
        let document = |value: JsValue| {
            let name = Reflect::get(&value, &"name".into())?.as_string().unwrap_or_default();
            Ok(Document { name, bytes: needed(&value, "bytes")? })
        };
        let documents = documents.iter().map(document).collect::<Js<Vec<_>>>()?;
        let options = settings.dataset_options(PAGE_LIMIT);
        let tokenizer = &self.base.tokenizer;
        let data = Dataset::from_documents(tokenizer, &documents, None, &options).map_err(js_error)?;
        let summary = serde_json::json!({
            "characters": data.characters,
            "tokens": data.tokens,
            "rows": data.rows.len() + data.held_out.len(),
            "heldOut": data.held_out.len(),
            "labels": data.labels(),
            "tokensPerCharacter": data.tokens as f64 / data.characters.max(1) as f64,
            "defaultSteps": settings.default_steps(data.rows.len()),
            "warnings": data.warnings,
            "preview": preview(tokenizer, &data.rows, PREVIEWED),
        });
        *self.dataset.borrow_mut() = Some(data);
        Ok(to_js(&summary))
    }

    /// Times two steps that are then forgotten.
    pub async fn probe(&self, settings: JsValue) -> Js<JsValue> {
        let settings: Settings = from_js("settings", settings)?;
        let data = self.take_dataset()?;
        let answer = run::probe(&self.base, &data, &settings, &clock()).await;
        *self.dataset.borrow_mut() = Some(data);
        let ms = answer.map_err(js_error)?;
        let tokens = (settings.batch * settings.seq_len * settings.accumulate) as f64;
        Ok(to_js(
            &serde_json::json!({ "msPerStep": ms, "tokensPerSecond": tokens / ms * 1000.0, "etaMs": ms * f64::from(settings.steps) }),
        ))
    }

    /// Trains on the dataset. Events go to `on_event`, every better adapter to `on_adapter`; resolves when the run is
    /// over. `options` may hold `init: { config, weights }`, an adapter to train on from; `resume`, the bytes of a
    /// checkpoint, whose settings then count; and `onCheckpoint`, which gets such bytes every half minute, at a pause
    /// and at a stop.
    pub async fn train(&self, settings: JsValue, on_event: Function, on_adapter: Function, options: JsValue) -> Js<()> {
        let mut settings: Settings = from_js("settings", settings)?;
        let option = |name: &str| {
            Reflect::get(&options, &name.into()).ok().filter(|value| !value.is_undefined() && !value.is_null())
        };
        let init = option("init").map(|init| adapter_files(&init)).transpose()?;
        let start = match (bytes_of(&options, "resume"), &init) {
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
        let data = self.take_dataset()?;
        let control = Control::default();
        *self.control.borrow_mut() = control.clone();
        let mut emit = |event: Event| call(&on_event, &to_js(&event));
        let mut keep = |kept: &Kept| call(&on_adapter, &adapter_object(kept));
        let on_checkpoint = option("onCheckpoint").and_then(|hook| hook.dyn_into::<Function>().ok());
        let mut save = |bytes: Vec<u8>| {
            if let Some(hook) = &on_checkpoint {
                call(hook, &Uint8Array::from(bytes.as_slice()));
            }
        };
        let save = on_checkpoint.is_some().then_some(SaveHook { every_ms: SAVE_EVERY_MS, save: &mut save });
        let hooks = Hooks { emit: &mut emit, keep: &mut keep, save };
        let answer = run::train(&self.base, &data, &settings, start, &control, &clock(), hooks).await;
        *self.dataset.borrow_mut() = Some(data);
        if let Some(kept) = answer.map_err(js_error)?.kept {
            self.load(kept)?;
        }
        Ok(())
    }

    /// Ends a run or a generation within one step: keeping the adapter, or not.
    pub fn stop(&self, keep: bool) {
        self.control.borrow().set(if keep { Wish::Stop } else { Wish::Cancel });
    }

    /// Holds the running training after the step under way, or lets it go on.
    pub fn pause(&self, paused: bool) {
        let control = self.control.borrow();
        if !control.ends() {
            control.set(if paused { Wish::Pause } else { Wish::GoOn });
        }
    }

    /// Continues a prompt; every piece of text goes to `on_piece`.
    pub async fn generate(&self, options: JsValue, on_piece: Function) -> Js<JsValue> {
        let o: GenerateOptions = from_js("options", options)?;
        let generator = self.ready_generator().await.map_err(js_error)?;
        let sampling = Sampling {
            max_tokens: o.max_tokens,
            temperature: o.temperature,
            top_k: o.top_k,
            top_p: o.top_p,
            seed: o.seed,
            strength: if o.adapter { o.strength } else { 0.0 },
        };
        let control = Control::default();
        *self.control.borrow_mut() = control.clone();
        let mut emit = |piece: &str| call(&on_piece, &piece.into());
        let go_on = || !control.ends();
        let generated = generator
            .generate(&self.base.tokenizer, &o.prompt, &sampling, &mut emit, &go_on)
            .await
            .map_err(js_error)?;
        let Generated { text, tokens, reason } = generated;
        let reason = match reason {
            Reason::Eos => "eos",
            Reason::Length => "length",
            Reason::Stopped => "stopped",
        };
        Ok(to_js(&serde_json::json!({ "text": text, "tokens": tokens, "reason": reason })))
    }

    /// The kept adapter as PEFT's two files.
    pub fn adapter(&self) -> Js<JsValue> {
        match self.loaded.borrow().as_ref() {
            Some(loaded) => Ok(adapter_object(&loaded.kept)),
            None => {
                Err(js_error(Error::Adapter { file: "adapter".to_string(), reason: "there is none yet".to_string() }))
            }
        }
    }

    /// Loads an adapter from PEFT's two files.
    #[wasm_bindgen(js_name = setAdapter)]
    pub fn set_adapter(&self, config: String, weights: Vec<u8>) -> Js<()> {
        let files = AdapterFiles { config, weights };
        let spec = files.spec(&self.base.model.config).map_err(js_error)?;
        let targets = spec.target_names(&self.base.model.config);
        self.load(Kept {
            step: 0,
            loss: None,
            rank: spec.rank(),
            alpha: spec.alpha(),
            targets,
            parameters: 0,
            files: Files::Adapter(files),
        })
    }

    /// Logits [ids.length, V] of base and kept adapter, row by row.
    pub async fn logits(&self, ids: Vec<u32>) -> Js<Vec<f32>> {
        let model = self.current_model();
        let rows = ids.len();
        if rows == 0 || rows > model.config.context {
            return Err(js_error(Error::PromptTooLong { tokens: rows, context: model.config.context }));
        }
        let draft = Logits::record(&model, rows, 1, rows, None).map_err(js_error)?;
        let logits = draft.finish(&mut Progress::silent()).await.map_err(js_error)?;
        let all: Vec<u32> = (0..rows as u32).collect();
        logits.run(&ids, &all, 0, 1.0).await.map_err(js_error)
    }
}

impl Engine {
    /// The dataset leaves its cell for the time of a run, so that nothing is borrowed across an await.
    fn take_dataset(&self) -> Js<Dataset> {
        self.dataset.borrow_mut().take().ok_or_else(|| js_error(Error::TextEmpty))
    }

    fn current_model(&self) -> Transformer {
        self.loaded.borrow().as_ref().map_or_else(|| self.base.model.clone(), |loaded| loaded.model.clone())
    }

    /// Puts an adapter where the loaded one is, with its plans, if it has room there and nobody is generating; else
    /// beside it, with new plans.
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
