//! What is ready to generate with: the base, and what the last run kept or what was loaded.

use std::rc::Rc;

use js_sys::Function;
use serde::Deserialize;
use wasm_bindgen::prelude::*;

use super::Parts;
use super::convert::{Js, call, js_error, to_js};
use crate::adapter::{Adapter, AdapterFiles};
use crate::error::{Error, Result};
use crate::generate::{Generated, Generator, Reason, Sampling};
use crate::model::{Logits, Transformer};
use crate::plan::Progress;
use crate::run::{Files, Kept};
use crate::text::{Conversation, Prompt};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GenerateOptions {
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

/// What the last run kept or what was loaded, ready to generate with.
pub(super) struct Loaded {
    pub kept: Kept,
    /// Attached to the model; `None` if the model has weights of its own, which full fine-tuning left.
    adapter: Option<Adapter>,
    model: Transformer,
}

impl Parts {
    pub(super) async fn generate(&self, o: GenerateOptions, on_piece: &Function) -> Js<JsValue> {
        // Whoever stops it may do so while the generator is being made.
        let control = self.new_control();
        let generator = self.ready_generator(o.adapter).await.map_err(js_error)?;
        let sampling = Sampling {
            max_tokens: o.max_tokens,
            temperature: o.temperature,
            top_k: o.top_k,
            top_p: o.top_p,
            seed: o.seed,
            strength: if o.adapter { o.strength } else { 0.0 },
        };
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

    pub(super) fn current_model(&self) -> Transformer {
        self.loaded.borrow().as_ref().map_or_else(|| self.base.model.clone(), |loaded| loaded.model.clone())
    }

    /// Makes what a run kept ready to generate with.
    pub(super) async fn load(&self, kept: Kept) -> Result<()> {
        let weights = match &kept.files {
            Files::Checkpoint(weights) => weights.clone(),
            Files::Adapter(files) => {
                let files = files.clone();
                return self.load_adapter(kept, &files);
            }
        };
        // Two sets of weights beside the base's are one too many.
        self.replace(None);
        let model = self.base.with_linears_of(weights).await?;
        self.replace(Some(Loaded { kept, adapter: None, model }));
        Ok(())
    }

    /// Swaps an adapter into the place of the loaded one and its plans, if it fits there and nobody is generating;
    /// otherwise attaches it beside that one, and new plans are made.
    pub(super) fn load_adapter(&self, mut kept: Kept, files: &AdapterFiles) -> Result<()> {
        let spec = files.spec(&self.base.model.config)?;
        let idle = self.generators.borrow()[1].as_ref().is_none_or(|generator| Rc::strong_count(generator) == 1);
        if let Some(loaded) = self.loaded.borrow_mut().as_mut().filter(|_| idle)
            && let Some(adapter) = loaded.adapter.as_mut().filter(|adapter| adapter.has_room_for(&spec))
        {
            adapter.swap(&self.base.model.device, files)?;
            kept.parameters = adapter.parameters();
            loaded.kept = kept;
            return Ok(());
        }
        let (adapter, model) = self.base.load_adapter(files)?;
        kept.parameters = adapter.parameters();
        self.replace(Some(Loaded { kept, adapter: Some(adapter), model }));
        Ok(())
    }

    fn replace(&self, loaded: Option<Loaded>) {
        *self.loaded.borrow_mut() = loaded;
        *self.generators.borrow_mut() = [None, None];
    }

    /// The model to measure: what is loaded, or the base alone, for which an adapter must have the strength 0.
    pub(super) fn model_for(&self, tuned: bool) -> Transformer {
        self.chosen(tuned).0
    }

    fn chosen(&self, tuned: bool) -> (Transformer, usize) {
        match self.loaded.borrow().as_ref() {
            Some(loaded) if tuned || loaded.adapter.is_some() => (loaded.model.clone(), 1),
            Some(_) | None => (self.base.model.clone(), 0),
        }
    }

    /// The generator of what is loaded, or of the base: at a strength of 0 an adapter leaves the base as it is, so one
    /// generator does for both.
    async fn ready_generator(&self, tuned: bool) -> Result<Rc<Generator>> {
        let (model, place) = self.chosen(tuned);
        let ready = self.generators.borrow()[place].clone();
        if let Some(generator) = ready {
            return Ok(generator);
        }
        let generator = Rc::new(Generator::new(&model).await?);
        self.generators.borrow_mut()[place] = Some(generator.clone());
        Ok(generator)
    }
}

pub(super) async fn logits(model: &Transformer, ids: &[u32]) -> Result<Vec<f32>> {
    let rows = ids.len();
    if rows == 0 || rows > model.config.context {
        return Err(Error::PromptTooLong { tokens: rows, context: model.config.context });
    }
    let logits = Logits::record(model, rows, 1, rows, None)?.finish(&mut Progress::silent()).await?;
    let all: Vec<u32> = (0..rows as u32).collect();
    logits.run(ids, &all, 0, 1.0).await
}
