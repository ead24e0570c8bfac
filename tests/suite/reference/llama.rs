//! A whole Llama with adapters, forward and backward, assembled from the ops beside it (`LlamaForCausalLM` in
//! transformers).
//!
//! Only the adapters have gradients. Weights are found by their Hugging Face names, adapters by layer and target.

use std::collections::BTreeMap;

use super::*;

/// The linears of a block that may have an adapter.
pub const TARGETS: [&str; 7] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/// A layer and one of `TARGETS`.
pub type Site = (usize, &'static str);

/// (da, db) of every adapter.
pub type Gradients = BTreeMap<Site, (Vec<f64>, Vec<f64>)>;

/// V vocabulary, C hidden size, L layers, H and KV heads, D head size (H · D need not be C), F feed-forward size.
/// `tied` means that the head is the embedding. A token sees the last `window` tokens up to itself.
#[derive(Clone, Debug)]
pub struct Config {
    pub v: usize,
    pub c: usize,
    pub l: usize,
    pub h: usize,
    pub kv: usize,
    pub d: usize,
    pub f: usize,
    pub eps: f64,
    pub theta: f64,
    pub tied: bool,
    pub window: usize,
}

impl Config {
    /// (out, in) of a target's weight.
    pub fn linear(&self, target: &str) -> (usize, usize) {
        match target {
            "q_proj" => (self.h * self.d, self.c),
            "k_proj" | "v_proj" => (self.kv * self.d, self.c),
            "o_proj" => (self.c, self.h * self.d),
            "gate_proj" | "up_proj" => (self.f, self.c),
            "down_proj" => (self.c, self.f),
            _ => panic!("no linear is called {target}"),
        }
    }

    /// The name and shape of every weight the model needs.
    pub fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        let mut shapes = vec![("model.embed_tokens.weight".to_string(), vec![self.v, self.c])];
        for layer in 0..self.l {
            for norm in ["input_layernorm", "post_attention_layernorm"] {
                shapes.push((format!("model.layers.{layer}.{norm}.weight"), vec![self.c]));
            }
            for target in TARGETS {
                let (n_out, n_in) = self.linear(target);
                shapes.push((format!("{}.weight", module_name((layer, target))), vec![n_out, n_in]));
            }
        }
        shapes.push(("model.norm.weight".to_string(), vec![self.c]));
        if !self.tied {
            shapes.push(("lm_head.weight".to_string(), vec![self.v, self.c]));
        }
        shapes
    }
}

/// The module of a site: `model.layers.0.self_attn.q_proj`.
pub fn module_name((layer, target): Site) -> String {
    let part = if matches!(target, "gate_proj" | "up_proj" | "down_proj") { "mlp" } else { "self_attn" };
    format!("model.layers.{layer}.{part}.{target}")
}

/// B rows of T tokens; both lists are [B, T], and `None` marks a position without a loss.
#[derive(Clone, Debug)]
pub struct Batch {
    pub b: usize,
    pub t: usize,
    pub ids: Vec<u32>,
    pub labels: Vec<Option<usize>>,
}

#[derive(Clone, Debug)]
pub struct Llama {
    pub config: Config,
    pub weights: BTreeMap<String, Vec<f64>>,
    pub adapters: BTreeMap<Site, Lora>,
}

/// The results of the forward pass: logits [B, T, V], the sum of the losses, the number of labels, and what the
/// backward pass reads.
pub struct Pass {
    pub logits: Vec<f64>,
    pub loss: f64,
    pub labels: usize,
    blocks: Vec<Block>,
    x: Vec<f64>,
    hidden: Vec<f64>,
}

/// The activations of one block, in the order they are made. q and k are rotated; `mid` is x after attention.
struct Block {
    x: Vec<f64>,
    x_norm: Vec<f64>,
    q: Vec<f64>,
    k: Vec<f64>,
    v: Vec<f64>,
    attended: Vec<f64>,
    mid: Vec<f64>,
    mid_norm: Vec<f64>,
    gate: Vec<f64>,
    up: Vec<f64>,
    act: Vec<f64>,
}

impl Llama {
    pub fn forward(&self, batch: &Batch) -> Pass {
        let Config { v, c, eps, .. } = self.config;
        let mut x = embed_forward(&batch.ids, self.weight("model.embed_tokens"), c);
        let mut blocks = vec![];
        for layer in 0..self.config.l {
            let (block, out) = self.block_forward(layer, x, batch);
            blocks.push(block);
            x = out;
        }
        let (hidden, _) = rms_norm_forward(&x, self.weight("model.norm"), eps);
        let logits = matmul(&hidden, self.head(), batch.ids.len(), c, v);
        let (loss, labels) = cross_entropy_forward(&logits, &batch.labels, v);
        Pass { logits, loss, labels, blocks, x, hidden }
    }

    /// The gradients of `pass.loss · inv_labels`. With 1 / `pass.labels` that is the mean over this batch alone.
    pub fn backward(&self, pass: &Pass, batch: &Batch, inv_labels: f64) -> Gradients {
        let mut gradients = Gradients::new();
        let dhidden = head_backward(&pass.hidden, self.head(), &batch.labels, self.config.c, inv_labels);
        let mut dx = rms_norm_backward(&dhidden, &pass.x, self.weight("model.norm"), self.config.eps);
        for (layer, block) in pass.blocks.iter().enumerate().rev() {
            dx = self.block_backward(layer, block, &dx, batch, &mut gradients);
        }
        gradients
    }

    fn block_forward(&self, layer: usize, x: Vec<f64>, batch: &Batch) -> (Block, Vec<f64>) {
        let Config { h, kv, d, eps, .. } = self.config;
        let (rope, positions) = self.rope(batch);
        let [ln_1, ln_2] = self.norms(layer);
        let (x_norm, _) = rms_norm_forward(&x, ln_1, eps);
        let q = rope_forward(&self.linear((layer, "q_proj"), &x_norm), &rope, &positions, h, d);
        let k = rope_forward(&self.linear((layer, "k_proj"), &x_norm), &rope, &positions, kv, d);
        let v = self.linear((layer, "v_proj"), &x_norm);
        let (attended, _) = attention_forward(&q, &k, &v, self.attention(batch));
        let mid = add_forward(&x, &self.linear((layer, "o_proj"), &attended));
        let (mid_norm, _) = rms_norm_forward(&mid, ln_2, eps);
        let gate = self.linear((layer, "gate_proj"), &mid_norm);
        let up = self.linear((layer, "up_proj"), &mid_norm);
        let act = swiglu_forward(&gate, &up);
        let out = add_forward(&mid, &self.linear((layer, "down_proj"), &act));
        (Block { x, x_norm, q, k, v, attended, mid, mid_norm, gate, up, act }, out)
    }

    /// `block_forward` read from the last line to the first. Returns dx.
    fn block_backward(
        &self,
        layer: usize,
        block: &Block,
        dout: &[f64],
        batch: &Batch,
        gradients: &mut Gradients,
    ) -> Vec<f64> {
        let Config { h, kv, d, eps, .. } = self.config;
        let (rope, positions) = self.rope(batch);
        let [ln_1, ln_2] = self.norms(layer);
        let mut linear = |target, dy: &[f64], x: &[f64]| self.linear_backward((layer, target), dy, x, gradients);

        let (dmid, ddown) = add_backward(dout);
        let dact = linear("down_proj", &ddown, &block.act);
        let (dgate, dup) = swiglu_backward(&dact, &block.gate, &block.up);
        let dmid_norm =
            add_forward(&linear("gate_proj", &dgate, &block.mid_norm), &linear("up_proj", &dup, &block.mid_norm));
        let dmid = add_forward(&dmid, &rms_norm_backward(&dmid_norm, &block.mid, ln_2, eps));

        let (dx, dattention) = add_backward(&dmid);
        let dattended = linear("o_proj", &dattention, &block.attended);
        let (dq, dk, dv) = attention_backward(&dattended, &block.q, &block.k, &block.v, self.attention(batch));
        let dq = rope_backward(&dq, &rope, &positions, h, d);
        let dk = rope_backward(&dk, &rope, &positions, kv, d);
        let dqk = add_forward(&linear("q_proj", &dq, &block.x_norm), &linear("k_proj", &dk, &block.x_norm));
        let dx_norm = add_forward(&dqk, &linear("v_proj", &dv, &block.x_norm));
        add_forward(&dx, &rms_norm_backward(&dx_norm, &block.x, ln_1, eps))
    }

    fn linear(&self, site: Site, x: &[f64]) -> Vec<f64> {
        let (n_out, n_in) = self.config.linear(site.1);
        let (w, rows) = (self.weight(&module_name(site)), x.len() / n_in);
        match self.adapters.get(&site) {
            Some(lora) => lora_forward(x, w, lora, rows, n_in, n_out),
            None => matmul(x, w, rows, n_in, n_out),
        }
    }

    fn linear_backward(&self, site: Site, dy: &[f64], x: &[f64], gradients: &mut Gradients) -> Vec<f64> {
        let (n_out, n_in) = self.config.linear(site.1);
        let (w, rows) = (self.weight(&module_name(site)), x.len() / n_in);
        let Some(lora) = self.adapters.get(&site) else {
            return matmul_nn(dy, w, rows, n_in, n_out);
        };
        let (dx, da, db) = lora_backward(dy, x, w, lora, rows, n_in, n_out);
        gradients.insert(site, (da, db));
        dx
    }

    fn weight(&self, module: &str) -> &[f64] {
        &self.weights[&format!("{module}.weight")]
    }

    fn head(&self) -> &[f64] {
        self.weight(if self.config.tied { "model.embed_tokens" } else { "lm_head" })
    }

    fn norms(&self, layer: usize) -> [&[f64]; 2] {
        ["input_layernorm", "post_attention_layernorm"].map(|norm| self.weight(&format!("model.layers.{layer}.{norm}")))
    }

    /// The tables, and the position of every row of the batch within its sequence.
    fn rope(&self, batch: &Batch) -> (RopeTables, Vec<usize>) {
        let positions = (0..batch.ids.len()).map(|row| row % batch.t).collect();
        (rope_tables(batch.t, self.config.d, self.config.theta), positions)
    }

    fn attention(&self, batch: &Batch) -> AttentionShape {
        let Config { h, kv, d, window, .. } = self.config;
        AttentionShape { b: batch.b, t: batch.t, h, kv, d, window }
    }
}
