/** The job on jax-js, with its WebAssembly back end. */

import { defaultDevice, init, jit, nn, numpy as np, tree, valueAndGrad } from "@jax-js/jax";
import { fetchJob } from "./job.mjs";
import { ADAM, batchOf, OUTPUT, QKV, ropeTables, shapeOf, weightsOf } from "./llama.mjs";

// An operation takes its arguments over: all uses of a value but the last are of its `ref`.
function forward(shape) {
  const { batch, time, heads, size, rows, hidden } = shape;
  const norm = (x, weight) => {
    const square = np.square(x.ref).mean(-1, { keepdims: true });
    return x.mul(np.reciprocal(np.sqrt(square.add(shape.eps)))).mul(weight.ref);
  };
  const project = (x, weight) => np.matmul(x, weight.ref.transpose());
  const linear = (w, x, name) => {
    const a = w[`${name}.lora_A.weight`];
    if (!a) return project(x, w[`${name}.weight`]);
    const low = project(project(x.ref, a), w[`${name}.lora_B.weight`]);
    return project(x, w[`${name}.weight`]).add(low.mul(shape.scale));
  };
  const rotate = (w, x) => {
    const [cosine, sine] = [w.cosine, w.sine].map((table) => table.ref.reshape([1, time, 1, size]));
    const [low, high] = np.split(x.ref, 2, -1);
    return x.mul(cosine).add(np.concatenate([high.neg(), low], -1).mul(sine));
  };
  return (trained, frozen, ids, labels) => {
    const w = { ...frozen, ...trained };
    let x = np.take(w["model.embed_tokens.weight"].ref, ids, 0);
    for (const layer of shape.layers) {
      const h = norm(x.ref, w[`${layer}input_layernorm.weight`]);
      const [q, k, v] = QKV.map((name) => linear(w, h.ref, layer + name).reshape([batch, time, heads, size]));
      h.dispose();
      const attended = nn.dotProductAttention(rotate(w, q), rotate(w, k), v, { isCausal: true });
      x = x.add(linear(w, attended.reshape([rows, hidden]), layer + OUTPUT));
      const m = norm(x.ref, w[`${layer}post_attention_layernorm.weight`]);
      const gate = nn.silu(linear(w, m.ref, `${layer}mlp.gate_proj`));
      x = x.add(linear(w, gate.mul(linear(w, m, `${layer}mlp.up_proj`)), `${layer}mlp.down_proj`));
    }
    const logits = project(norm(x, w["model.norm.weight"]), w["model.embed_tokens.weight"]);
    const wanted = logits.ref.mul(nn.oneHot(labels, shape.vocabulary)).sum(-1);
    const loss = nn.logsumexp(logits, -1).sub(wanted).mean();
    tree.dispose(trained);
    tree.dispose(frozen);
    return loss;
  };
}

function update({ lr, weightDecay }, loss) {
  const { beta1, beta2, eps } = ADAM;
  return jit(function step(trained, m, v, frozen, ids, labels, bias1, bias2) {
    const [value, grads] = valueAndGrad(loss)(tree.ref(trained), frozen, ids, labels);
    const next = { p: {}, m: {}, v: {} };
    for (const [name, grad] of Object.entries(grads)) {
      next.m[name] = m[name].mul(beta1).add(grad.ref.mul(1 - beta1));
      next.v[name] = v[name].mul(beta2).add(np.square(grad).mul(1 - beta2));
      const spread = np.sqrt(next.v[name].ref.mul(bias2.ref)).add(eps);
      const change = next.m[name].ref.mul(bias1.ref).div(spread).mul(lr);
      next.p[name] = trained[name].mul(1 - lr * weightDecay).sub(change);
    }
    bias1.dispose();
    bias2.dispose();
    return [value, next.p, next.m, next.v];
  });
}

export async function run({ steps }, endStep) {
  await init("wasm");
  defaultDevice("wasm");
  const job = await fetchJob();
  const shape = shapeOf(job);
  const weights = weightsOf(job);
  const arrays = (tensors) => Object.fromEntries(tensors.map(([name, t]) => [name, np.array(t.data, t)]));
  const tables = Object.entries(ropeTables(shape)).map(([name, data]) => [
    name,
    { data, shape: [shape.time, shape.size] },
  ]);
  const frozen = arrays([...weights.frozen, ...tables]);
  const zeros = () => Object.fromEntries(weights.trained.map(([name, { shape }]) => [name, np.zeros(shape)]));
  let [p, m, v] = [arrays(weights.trained), zeros(), zeros()];
  const step = update(job, forward(shape));
  const losses = [];
  for (let n = 0; n < steps; n++) {
    const { ids, labels } = batchOf(job, n);
    const tokens = [ids, labels].map((list) => np.array(list, { shape: [shape.rows] }));
    const biases = [ADAM.beta1, ADAM.beta2].map((beta) => np.array(1 / (1 - beta ** (n + 1))));
    let loss;
    [loss, p, m, v] = step(p, m, v, tree.ref(frozen), ...tokens, ...biases);
    losses.push((await loss.data())[0]);
    await endStep();
  }
  return { losses };
}
