/** What the peers' models share: weights by name, the names of a layer, and the tables of RoPE. */

import { tensorsOf } from "../tensors.mjs";

export const QKV = ["q", "k", "v"].map((name) => `self_attn.${name}_proj`);
export const OUTPUT = "self_attn.o_proj";

/** The frozen weights and the adapter's matrices, both by the names that the model uses. */
export function weightsOf({ files }) {
  const adapter = tensorsOf(files["adapter/adapter_model.safetensors"]);
  return {
    frozen: tensorsOf(files["model/model.safetensors"]),
    trained: adapter.map(([name, tensor]) => [name.replace("base_model.model.", ""), tensor]),
  };
}

/** The shape and the constants of the model, under short names. */
export function shapeOf({ config, batch, seqLen, alpha, rank }) {
  const { hidden_size: hidden, num_attention_heads: heads } = config;
  return {
    layers: Array.from({ length: config.num_hidden_layers }, (_, i) => `model.layers.${i}.`),
    hidden,
    heads,
    size: hidden / heads,
    vocabulary: config.vocab_size,
    eps: config.rms_norm_eps,
    theta: config.rope_parameters?.rope_theta ?? config.rope_theta,
    batch,
    time: seqLen,
    rows: batch * seqLen,
    scale: alpha / rank,
  };
}

/** cos and sin of the angle of each position and each number of a head, [time, size]. */
export function ropeTables({ time, size, theta }) {
  const angles = Float64Array.from({ length: time * size }, (_, at) => {
    const [t, i] = [Math.floor(at / size), (at % size) % (size / 2)];
    return t * theta ** ((-2 * i) / size);
  });
  return { cosine: Float32Array.from(angles, Math.cos), sine: Float32Array.from(angles, Math.sin) };
}

/** The inputs and the labels of a step, flat. */
export function batchOf({ inputs, labels, batch }, step) {
  const flat = (rows) => Int32Array.from(rows.slice(step * batch, (step + 1) * batch).flat());
  return { ids: flat(inputs), labels: flat(labels) };
}

/** AdamW as in PyTorch. */
export const ADAM = { beta1: 0.9, beta2: 0.999, eps: 1e-8 };
