/** This project's engine, through the module that its page uses. */

import { fetchJob } from "./job.mjs";

export async function run({ device, steps }, endStep) {
  const { default: init, Engine } = await import("/tabtune/tabtune.js");
  await init();
  const job = await fetchJob();
  const { files } = job;
  const weights = files["model/model.safetensors"];
  const model = {
    name: "bench",
    config: files["model/config.json"],
    tokenizer: files["model/tokenizer.json"],
    weights: { bytes: weights.length, read: async (offset, length) => weights.subarray(offset, offset + length) },
  };
  const engine = await Engine.create(model, () => {}, device, "f32");
  const settings = {
    ...engine.defaults(),
    seqLen: job.seqLen,
    batch: job.batch,
    accumulate: 1,
    rank: job.rank,
    alpha: job.alpha,
    targets: "attention",
    lr: job.lr,
    weightDecay: job.weightDecay,
    schedule: "constant",
    warmup: 0,
    clip: 0,
    holdout: 0,
    shuffle: false,
    sampleEvery: 0,
    steps,
  };
  const dataset = engine.dataset([{ name: "text.txt", bytes: files["text.txt"] }], settings);
  const adapter = {
    config: new TextDecoder().decode(files["adapter/adapter_config.json"]),
    weights: files["adapter/adapter_model.safetensors"],
  };
  const losses = [];
  const said = [];
  const hear = (event) => {
    if (event.type !== "step") return;
    losses.push(event.loss);
    said.push(endStep());
  };
  await engine.train(dataset, settings, hear, () => {}, { init: adapter });
  await Promise.all(said);
  return { losses, adapter: Array.from(engine.adapter().weights) };
}
