/** Gives work up at random moments, again and again, and looks at what is left of it. */

import { LoraModel } from "tabtune";
import base from "tabtune-base";

const text = "The sea was calm, and the captain wrote a letter to his daughter about the whales. ".repeat(40);
const options = { device: "cpu", workers: 1, seqLen: 32, batch: 1 };
/** In this many ms most of the work below is under way or just over. */
const LATEST_MS = 400;

/** What can be given up. Each resolves or rejects with its own promise. */
const works = {
  create: async ({ signal }) => {
    const model = await LoraModel.create({ model: base, ...options, signal });
    model.destroy();
  },
  dataset: async ({ model, signal }) => (await model.dataset(text, { signal })).release(),
  train: async ({ model, data, signal }) => {
    const run = model.train(data, { maxSteps: 3, signal });
    for await (const event of run) if (event.type === "step" && event.step === 1) run.pause();
    return run.adapter;
  },
  generate: async ({ model, adapter, signal }) => {
    for await (const piece of model.generate("The sea", { adapter, maxTokens: 100, signal })) piece.trim();
  },
  evaluate: ({ model, data, adapter, signal }) => model.evaluate(data, { adapter, signal }),
};

/**
 * What happened in so many rounds, how long it took at most from an abort until the work had settled, and until the
 * model had done something else, and what was in use before and after.
 */
export async function giveUp(rounds, seed) {
  const random = randomFrom(seed);
  const model = await LoraModel.create({ model: base, ...options });
  const data = await model.dataset(text);
  const adapter = await model.train(data, { maxSteps: 2 }).adapter;
  const round = async (name, ms) => {
    const controller = new AbortController();
    const { signal } = controller;
    let abortedAt = 0;
    const timer = setTimeout(() => {
      abortedAt = performance.now();
      controller.abort(new Error("enough"));
    }, ms);
    const end = await works[name]({ model, data, adapter, signal }).then(
      () => "finished",
      ({ code, cause, message }) => (code === "aborted" && cause.message === "enough" ? code : `${code}: ${message}`),
    );
    clearTimeout(timer);
    const settledMs = abortedAt && performance.now() - abortedAt;
    // What was given up is over when the next thing can be done.
    await model.generate("The", { maxTokens: 1 }).result;
    return { end, settledMs, freeMs: abortedAt && performance.now() - abortedAt };
  };
  // Plans that are made once and kept are no leak: every kind of work is done once before anything is counted.
  for (const name of Object.keys(works)) await round(name, name === "train" ? 3 * LATEST_MS : 60_000);
  const measured = async () => {
    const { buffers, deviceBytes } = await model.stats();
    return { buffers, deviceBytes };
  };
  const before = await measured();
  const ends = {};
  const longest = { settledMs: 0, freeMs: 0 };
  for (let turn = 0; turn < rounds; turn++) {
    const name = Object.keys(works)[turn % Object.keys(works).length];
    const { end, ...took } = await round(name, random() ** 2 * LATEST_MS);
    ends[`${name} ${end}`] = (ends[`${name} ${end}`] ?? 0) + 1;
    for (const key of Object.keys(longest)) longest[key] = Math.max(longest[key], took[key]);
  }
  const after = await measured();
  const { result } = model.generate("The sea was", { temperature: 0, maxTokens: 8 });
  const { text: written } = await result;
  model.destroy();
  return { ends, longest, before, after, written };
}

/** Numbers from 0 to 1, the same for the same seed. */
function randomFrom(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
