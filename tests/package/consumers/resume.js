/** A run in one piece and one in two, in whatever has the packages: each returns plain data. */

import { LoraModel } from "tabtune";
import base from "tabtune-base";

const text = "The sea was calm, and the captain wrote a letter to his daughter about the whales. ".repeat(40);

async function begin() {
  const model = await LoraModel.create({ model: base, device: "cpu", workers: 1, seqLen: 32, batch: 1, lr: 0.01 });
  return { model, data: await model.dataset(text) };
}

/** The losses of all steps, of all evaluations, and a sum over what was kept. */
async function follow(run, model, onStep = () => {}) {
  const losses = [];
  const evaluations = [];
  for await (const event of run) {
    if (event.type === "eval") evaluations.push(event.loss);
    if (event.type !== "step") continue;
    losses.push(event.loss);
    onStep(event.step);
  }
  const weights = await run.adapter.then(
    (adapter) => adapter.weights,
    async () => (await run.checkpoint).files["model.safetensors"],
  );
  model.destroy();
  return { losses, evaluations, kept: await crypto.subtle.digest("SHA-256", weights).then(hex) };
}

const hex = (bytes) => Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");

export async function whole(options) {
  const { model, data } = await begin();
  return follow(model.train(data, options), model);
}

/** Stops after a step. The state is a blob. */
export async function firstPart(options, last) {
  const { model, data } = await begin();
  const run = model.train(data, options);
  const { losses } = await follow(run, model, (step) => step === last && run.stop());
  return { losses, state: await run.state() };
}

/** Asks for the state after a step, and lets the run go on. */
export async function besideIt(options, step) {
  const { model, data } = await begin();
  const run = model.train(data, options);
  let state;
  const { losses } = await follow(run, model, (now) => {
    if (now === step) state = run.state();
  });
  return { losses, state: await state };
}

export async function secondPart(state) {
  const { model, data } = await begin();
  return follow(model.resume(data, state), model);
}

/** In a page: keeps the state in its storage, and reads it there. */
export async function keep(state) {
  const file = await (await navigator.storage.getDirectory()).getFileHandle("state", { create: true });
  const writable = await file.createWritable();
  await writable.write(state);
  await writable.close();
}

export async function kept() {
  return (await (await navigator.storage.getDirectory()).getFileHandle("state")).getFile();
}
