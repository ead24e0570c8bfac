//! Text generation: a prompt is processed in pieces, then one token at a time, through the same blocks with a KV cache.

use std::cell::RefCell;
use std::rc::Rc;

use crate::device::Tensor;
use crate::error::{Error, Result};
use crate::model::logits::{Logits, LogitsDraft};
use crate::model::{Config, Transformer};
use crate::ops::Cache;
use crate::plan::{Progress, Recorder};
use crate::random::SplitMix64;
use crate::text::{Prompt, StreamDecoder, Tokenizer};

/// How many tokens of a prompt are processed at once.
const PREFILL: usize = 32;
/// Caches are sized in blocks of this many tokens.
const CACHE_BLOCK: usize = 64;

/// How tokens are chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    pub max_tokens: usize,
    /// 0 always chooses the likeliest token.
    pub temperature: f64,
    /// Keeps only the k likeliest tokens; 0 keeps all.
    pub top_k: usize,
    /// Keeps only the likeliest tokens whose probabilities add up to p; 1 keeps all.
    pub top_p: f64,
    pub seed: u64,
    /// Multiplies the adapter's scale; 0 is the base model.
    pub strength: f32,
}

/// Why generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    Eos,
    Length,
    Stopped,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    pub text: String,
    pub tokens: usize,
    pub reason: Reason,
}

/// The recorded plans of a generator, not finished yet.
pub struct GeneratorDraft {
    model: Transformer,
    caches: Vec<Cache>,
    prefill: LogitsDraft,
    decode: LogitsDraft,
}

pub struct Generator {
    model: Transformer,
    /// Taken out while they are made anew.
    plans: RefCell<Option<Rc<Plans>>>,
}

struct Plans {
    /// Room for keys and values, layer by layer.
    caches: Vec<Cache>,
    prefill: Logits,
    decode: Logits,
}

impl Plans {
    /// How many tokens the caches hold.
    fn room(&self) -> usize {
        self.caches.first().map_or(0, |cache| cache.k.rows)
    }
}

impl GeneratorDraft {
    /// The recorders of the prefill plan and the decode plan.
    pub fn recorders(&self) -> [&Recorder; 2] {
        let ([prefill], [decode]) = (self.prefill.recorders(), self.decode.recorders());
        [prefill, decode]
    }

    pub async fn finish(self, progress: &mut Progress<'_>) -> Result<Generator> {
        let model = self.model.clone();
        Ok(Generator { model, plans: RefCell::new(Some(Rc::new(self.plans(progress).await?))) })
    }

    async fn plans(self, progress: &mut Progress<'_>) -> Result<Plans> {
        let GeneratorDraft { caches, prefill, decode, .. } = self;
        let prefill = prefill.finish(progress).await?;
        let decode = decode.finish(progress).await?;
        Ok(Plans { caches, prefill, decode })
    }
}

impl Generator {
    /// Room for the keys and values of this many tokens in whole blocks, layer by layer.
    pub fn caches(model: &Transformer, tokens: usize) -> Result<Vec<Cache>> {
        let Config { context, heads, layers, .. } = model.config;
        let room = tokens.clamp(1, context).next_multiple_of(CACHE_BLOCK).min(context);
        let tensor = |label| Tensor::owned(&model.device, label, room, heads.key * heads.size);
        (0..layers).map(|_| Ok(Cache { k: tensor("keys")?, v: tensor("values")? })).collect()
    }

    /// Records the plans with room for this many tokens, prompt included.
    pub fn record(model: &Transformer, tokens: usize) -> Result<GeneratorDraft> {
        let caches = Generator::caches(model, tokens)?;
        let prefill = Logits::record(model, PREFILL, 1, 1, Some(&caches))?;
        let decode = Logits::record(model, 1, 1, 1, Some(&caches))?;
        Ok(GeneratorDraft { model: model.clone(), caches, prefill, decode })
    }

    /// A generator whose caches grow with what it reads and writes.
    pub async fn new(model: &Transformer) -> Result<Generator> {
        Generator::record(model, 1)?.finish(&mut Progress::silent()).await
    }

    /// Plans whose caches hold at least `tokens`, of which `kept` are there already. Errors: `GpuLimit`, `OutOfMemory`,
    /// and `Internal` if what should be kept is not there.
    async fn plans_for(&self, tokens: usize, kept: usize) -> Result<Rc<Plans>> {
        let plans = self.plans.borrow().clone();
        let old = match plans {
            Some(plans) if tokens <= plans.room() => return Ok(plans),
            Some(plans) => (kept > 0).then(|| plans.caches.clone()),
            // Growing has failed before, or goes on just now: nothing was kept.
            None if kept == 0 => None,
            None => return Err(Error::Internal { what: "the caches of a generation are not there".to_string() }),
        };
        // What nobody needs is freed before more is asked for.
        drop(self.plans.take());
        let draft = Generator::record(&self.model, tokens)?;
        let grown = Rc::new(draft.plans(&mut Progress::silent()).await?);
        let pairs = old.iter().flatten().zip(&grown.caches);
        for (from, to) in pairs.flat_map(|(old, new)| [(&old.k, &new.k), (&old.v, &new.v)]) {
            self.model.device.copy(&from.buffer(), 0, &to.buffer(), 0, from.bytes());
        }
        self.plans.replace(Some(grown.clone()));
        Ok(grown)
    }

    /// The logits of the last of `ids`, which begin at `position`, after what the cache already holds.
    pub async fn feed(&self, ids: &[u32], position: usize, strength: f32) -> Result<Vec<f32>> {
        assert!(!ids.is_empty(), "there are no logits without a token");
        let plans = self.plans_for(position + ids.len(), position).await?;
        if let [id] = ids {
            return plans.decode.run(&[*id], &[0], position as u32, strength).await;
        }
        let mut logits = Vec::new();
        for (i, piece) in ids.chunks(PREFILL).enumerate() {
            logits =
                plans.prefill.run(piece, &[piece.len() as u32 - 1], (position + i * PREFILL) as u32, strength).await?;
        }
        Ok(logits)
    }

    /// Continues `prompt`. `emit` gets every piece of text as soon as it is final; `go_on` is asked before each token.
    /// Errors: `PromptTooLong`, `Setting`, `DeviceLost`,
    /// and those of a prompt.
    pub async fn generate(
        &self,
        tokenizer: &Tokenizer,
        prompt: impl Into<Prompt<'_>>,
        sampling: &Sampling,
        emit: &mut dyn FnMut(&str),
        go_on: &dyn Fn() -> bool,
    ) -> Result<Generated> {
        sampling.check()?;
        let mut ids = prompt.into().ids(tokenizer)?;
        if ids.is_empty() {
            ids.extend(tokenizer.eos().or(Some(0)));
        }
        let context = self.model.config.context;
        if ids.len() > context {
            return Err(Error::PromptTooLong { tokens: ids.len(), context });
        }
        self.plans_for(ids.len().saturating_add(sampling.max_tokens).min(context), 0).await?;
        let mut random = SplitMix64(sampling.seed);
        let mut decoder = StreamDecoder::new(tokenizer);
        let mut text = String::new();
        let mut tokens = 0;
        let mut position = 0;
        let reason = loop {
            if tokens == sampling.max_tokens {
                break Reason::Length;
            }
            if !go_on() {
                break Reason::Stopped;
            }
            let logits = self.feed(&ids, position, sampling.strength).await?;
            position += ids.len();
            let id = choose(&logits, sampling, &mut random);
            if tokenizer.is_stop(id) {
                break Reason::Eos;
            }
            tokens += 1;
            let piece = decoder.push(id)?;
            emit(&piece);
            text.push_str(&piece);
            if position == context {
                break Reason::Length;
            }
            ids = vec![id];
        };
        let rest = decoder.finish()?;
        emit(&rest);
        text.push_str(&rest);
        Ok(Generated { text, tokens, reason })
    }
}

impl Sampling {
    fn check(&self) -> Result<()> {
        let wrong = |name: &str, value: f64, expected: &str| Error::Setting {
            name: name.to_string(),
            value: value.to_string(),
            expected: expected.to_string(),
        };
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return Err(wrong("temperature", self.temperature, "0 or a positive number"));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return Err(wrong("top-p", self.top_p, "a number above 0 and at most 1"));
        }
        if !self.strength.is_finite() {
            return Err(wrong("strength", f64::from(self.strength), "a finite number"));
        }
        Ok(())
    }
}

/// Chooses the next token. Ties go to the smaller id, so that equal logits give the same choice on every machine.
pub fn choose(logits: &[f32], sampling: &Sampling, random: &mut SplitMix64) -> u32 {
    assert!(!logits.is_empty(), "there is no token to choose from");
    let mut ranked: Vec<u32> = (0..logits.len() as u32).collect();
    let at = |id: u32| logits[id as usize];
    let better = |a: &u32, b: &u32| at(*b).total_cmp(&at(*a)).then(a.cmp(b));
    if sampling.temperature == 0.0 {
        return ranked.into_iter().min_by(better).expect("there is a token");
    }
    ranked.sort_by(better);
    if sampling.top_k > 0 {
        ranked.truncate(sampling.top_k);
    }
    let first = ranked[0];
    let weight = |id: u32| ((f64::from(at(id)) - f64::from(at(first))) / sampling.temperature).exp();
    let weights: Vec<f64> = ranked.iter().map(|&id| weight(id)).collect();
    let total: f64 = weights.iter().sum();
    let mut reach = 0.0;
    let kept = weights.iter().position(|w| {
        reach += w / total;
        reach >= sampling.top_p
    });
    let kept = kept.map_or(weights.len(), |last| last + 1);
    let mut left = random.unit() * weights[..kept].iter().sum::<f64>();
    for (id, weight) in ranked.iter().zip(&weights[..kept]) {
        left -= weight;
        if left < 0.0 {
            return *id;
        }
    }
    ranked[kept - 1]
}
