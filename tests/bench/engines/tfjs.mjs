/** The job on TensorFlow.js, with its WebAssembly back end. */

import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-core/dist/register_all_gradients.js";
import { fetchJob } from "./job.mjs";
import { ADAM, batchOf, OUTPUT, QKV, ropeTables, shapeOf, weightsOf } from "./llama.mjs";

function forward(w, shape) {
  const { batch, time, heads, size, rows, hidden } = shape;
  const tables = Object.values(ropeTables(shape)).map((data) => tf.tensor(data, [1, 1, time, size]));
  const hide = (at) => (at % time > Math.floor(at / time) ? -1e9 : 0);
  const mask = tf.tensor(
    Float32Array.from({ length: time * time }, (_, at) => hide(at)),
    [1, 1, time, time],
  );
  const norm = (x, name) => {
    const square = tf.mean(tf.square(x), -1, true);
    return tf.mul(tf.mul(x, tf.rsqrt(tf.add(square, shape.eps))), w[name]);
  };
  const project = (x, name) => tf.matMul(x, w[name], false, true);
  const linear = (x, name) => {
    const y = project(x, `${name}.weight`);
    if (!w[`${name}.lora_A.weight`]) return y;
    const low = project(project(x, `${name}.lora_A.weight`), `${name}.lora_B.weight`);
    return tf.add(y, tf.mul(low, shape.scale));
  };
  const split = (x) => tf.transpose(tf.reshape(x, [batch, time, heads, size]), [0, 2, 1, 3]);
  const rotate = (x) => {
    const [low, high] = tf.split(x, 2, -1);
    return tf.add(tf.mul(x, tables[0]), tf.mul(tf.concat([tf.neg(high), low], -1), tables[1]));
  };
  return (ids, labels) => {
    let x = tf.gather(w["model.embed_tokens.weight"], ids);
    for (const layer of shape.layers) {
      const h = norm(x, `${layer}input_layernorm.weight`);
      const [q, k, v] = QKV.map((name) => split(linear(h, layer + name)));
      const scores = tf.mul(tf.matMul(rotate(q), rotate(k), false, true), 1 / Math.sqrt(size));
      const attended = tf.transpose(tf.matMul(tf.softmax(tf.add(scores, mask)), v), [0, 2, 1, 3]);
      x = tf.add(x, linear(tf.reshape(attended, [rows, hidden]), layer + OUTPUT));
      const m = norm(x, `${layer}post_attention_layernorm.weight`);
      const gate = linear(m, `${layer}mlp.gate_proj`);
      const both = tf.mul(tf.mul(gate, tf.sigmoid(gate)), linear(m, `${layer}mlp.up_proj`));
      x = tf.add(x, linear(both, `${layer}mlp.down_proj`));
    }
    const logits = project(norm(x, "model.norm.weight"), "model.embed_tokens.weight");
    return tf.losses.softmaxCrossEntropy(tf.oneHot(labels, shape.vocabulary), logits);
  };
}

export async function run({ steps }, endStep) {
  setWasmPaths("/tfjs/");
  if (!(await tf.setBackend("wasm"))) throw new Error("TensorFlow.js has no WebAssembly here");
  const job = await fetchJob();
  const weights = weightsOf(job);
  const w = {};
  for (const [name, { data, shape }] of weights.frozen) w[name] = tf.tensor(data, shape);
  for (const [name, { data, shape }] of weights.trained) w[name] = tf.variable(tf.tensor(data, shape), true, name);
  const trained = weights.trained.map(([name]) => w[name]);
  const loss = forward(w, shapeOf(job));
  const adam = tf.train.adam(job.lr, ADAM.beta1, ADAM.beta2, ADAM.eps);
  const losses = [];
  for (let n = 0; n < steps; n++) {
    const { ids, labels } = batchOf(job, n);
    const value = tf.tidy(() => {
      const tokens = [ids, labels].map((list) => tf.tensor1d(list, "int32"));
      const { value, grads } = tf.variableGrads(() => loss(...tokens), trained);
      // AdamW's decay comes before Adam's change, as in PyTorch.
      for (const matrix of trained) matrix.assign(tf.mul(matrix, 1 - job.lr * job.weightDecay));
      adam.applyGradients(grads);
      return value;
    });
    losses.push((await value.data())[0]);
    value.dispose();
    await endStep();
  }
  return { losses };
}
