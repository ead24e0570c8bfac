/** The package's calls, in Node: what is refused before anything starts, where models come from, what adapters do. */

import assert from "node:assert/strict";
import { openAsBlob, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { at, install, serveFolder } from "./installed.mjs";

const base = at("../../www/public/base");
const text = "The sea was calm, and the captain wrote a letter to his daughter about the whales. ".repeat(40);
const refusal = { name: "LoraError", code: "setting" };

let LoraModel;
let LoraAdapter;
let builtIn;
let model;
let data;

before(async () => {
  const folder = join(install("calls", "node"), "node_modules");
  const load = (path) => import(pathToFileURL(join(folder, path)));
  ({ LoraModel, LoraAdapter } = await load("tabtune/node.js"));
  builtIn = (await load("tabtune-base/index.js")).default;
  model = await LoraModel.create({ model: builtIn, seqLen: 32, batch: 1 });
  data = await model.dataset(text);
});
after(() => model.destroy());

const refused = [
  [{ learningRate: 1 }, /no option `learningRate`/],
  [{ steps: 3 }, /no option `steps`/],
  [{ lr: 2 }, /`lr` = 2: expected a finite number, above 0 and at most 1/],
  [{ lr: Number.NaN }, /`lr` = NaN/],
  [{ lr: "0.001" }, /`lr` = "0.001"/],
  [{ rank: 0 }, /`rank` = 0/],
  [{ rank: 8.5 }, /`rank` = 8.5/],
  [{ rank: null }, /`rank` = null/],
  [{ schedule: "zigzag" }, /one of linear, cosine, constant/],
  [{ shuffle: 1 }, /true or false/],
  [{ maxSteps: 0 }, /`maxSteps` = 0/],
  [{ sample: "Dear" }, /`sample` = "Dear": expected an object/],
  [{ sample: { each: 5 } }, /no option `sample.each`/],
  [{ signal: {} }, /an AbortSignal/],
  [{ __proto__: null, constructor: 1 }, /no option `constructor`/],
];

for (const [options, message] of refused)
  test(`a run with ${JSON.stringify(options)} is refused`, () => {
    assert.throws(() => model.train(data, options), { ...refusal, message });
  });

test("what is no text, no rows and no prompt is refused", async () => {
  for (const source of [undefined, null, 5, {}, [], ["text"]]) await assert.rejects(model.dataset(source), refusal);
  for (const rows of [undefined, text, {}]) {
    assert.throws(() => model.train(rows), refusal);
    await assert.rejects(model.evaluate(rows), refusal);
  }
  for (const prompt of [undefined, 5, {}]) assert.throws(() => model.generate(prompt), refusal);
});

test("options are refused before anything is fetched", async () => {
  const nowhere = { model: builtIn, wasmUrl: "file:///nowhere.wasm" };
  await assert.rejects(LoraModel.create({ ...nowhere, lr: 2 }), refusal);
  await assert.rejects(LoraModel.create({ wasmUrl: nowhere.wasmUrl }), refusal);
  for (const ofHub of [{ revision: "main" }, { hub: "https://hub.test" }, { token: "secret" }]) {
    const error = await LoraModel.create({ ...nowhere, ...ofHub }).then(assert.fail, (error) => error);
    assert.equal(error.code, "setting");
    assert.match(error.message, /expected no value for a model that is not of the Hub/);
    assert.doesNotMatch(JSON.stringify([error, error.message]), /secret/);
  }
  await assert.rejects(LoraModel.create({ ...nowhere, worker: {}, workers: 2 }), refusal);
  await assert.rejects(LoraModel.create(nowhere), { name: "LoraError", code: "fetch_failed" });
});

test("what a model takes is known before it is created, and why it cannot be", async () => {
  const fit = await LoraModel.availability({ model: builtIn });
  const { parameters } = model.info;
  const { batch, seqLen } = fit.run;
  assert.deepEqual(fit.run, { parameters, weights: "auto", batch, seqLen });
  assert.equal(fit.bytes.download, 0);
  const other = await LoraModel.create({ model: builtIn, workers: 1, batch, seqLen });
  await other.train(await other.dataset(text.repeat(20)), { maxSteps: 1 }).adapter;
  const { devicePeakBytes } = await other.stats();
  other.destroy();
  const { gpuPeak } = fit.bytes;
  assert.ok(gpuPeak >= devicePeakBytes && gpuPeak < 1.5 * devicePeakBytes, `${gpuPeak} for ${devicePeakBytes}`);

  assert.deepEqual(await LoraModel.availability({ model: { folder: base } }), fit);
  const names = ["config.json", "tokenizer.json", "model.safetensors"];
  const files = names.map((name) => new File([readFileSync(join(base, name))], name));
  assert.deepEqual(await LoraModel.availability({ model: { files } }), fit);
  const small = await LoraModel.availability({ model: { files }, rank: 2, seqLen: 16, batch: 1 });
  assert.deepEqual(small.run, { parameters, weights: "auto", batch: 1, seqLen: 16 });
  const inUse = await LoraModel.create({ model: builtIn, workers: 1, rank: 2, seqLen: 16, batch: 1 });
  await inUse.train(await inUse.dataset(text.repeat(20)), { maxSteps: 1 }).adapter;
  const { devicePeakBytes: used } = await inUse.stats();
  inUse.destroy();
  const { gpuPeak: foreseen } = small.bytes;
  assert.ok(foreseen < gpuPeak && foreseen >= used && foreseen < 1.5 * used, `${foreseen} for ${used}`);
  const tooLong = await LoraModel.availability({ model: { files }, seqLen: 100_000 });
  assert.match(tooLong.reason, /seq-len/);
  const inBits = await LoraModel.availability({ model: { files }, weights: "int4" });
  assert.ok(inBits.bytes.gpuPeak < gpuPeak && inBits.run.weights === "int4");

  assert.deepEqual(await LoraModel.availability({ model: { url: "https://nowhere.test/" } }), {
    state: "available",
    device: "cpu",
    bytes: {},
  });
  assert.deepEqual(await LoraModel.availability(), { state: "available", device: "cpu" });
  const config = JSON.parse(readFileSync(join(base, "config.json"), "utf8"));
  const others = (changes) => [new File([JSON.stringify({ ...config, ...changes })], names[0]), ...files.slice(1)];
  for (const [model, code, reason] of [
    [{ files: files.slice(1) }, "model_files", /config\.json is missing/],
    [{ files: others({ model_type: "rwkv" }) }, "unsupported_model", /rwkv/],
    [{ files: others({ intermediate_size: 96 }) }, "tensor_shape", /expected shape/],
    [{ folder: join(base, "nowhere") }, "io", /nowhere/],
    ["org/name", "unsupported", /Node fetches no model/],
  ]) {
    const unfit = await LoraModel.availability({ model });
    assert.equal(unfit.state, "unavailable");
    assert.equal(unfit.code, code, unfit.reason);
    assert.match(unfit.reason, reason);
    assert.ok(unfit.advice.length > 10);
  }
  const { state, code } = await LoraModel.availability({ model: builtIn, device: "gpu" });
  assert.deepEqual([state, code], ["unavailable", "no_gpu"]);
});

test("the package of the built-in model says how large it is", () => {
  const files = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"];
  assert.equal(
    builtIn.bytes,
    files.reduce((sum, name) => sum + readFileSync(join(base, name)).length, 0),
  );
});

test("rows longer than the model sees are refused with the most that it sees", async () => {
  await assert.rejects(LoraModel.create({ model: builtIn, seqLen: 257 }), { ...refusal, message: /at most 256/ });
});

test("numbers are refused where the engine would refuse them, and only there", async () => {
  const signal = AbortSignal.abort();
  const { ranks, ...limits } = model.limits;
  const otherwise = { steps: (value) => ({ maxSteps: value }) };
  for (const name of ["sampleEvery", "maxTokens"])
    otherwise[name] = (value) => ({ sample: { [name === "maxTokens" ? name : "every"]: value } });
  const code = async (name, value) => {
    const options = { ...(otherwise[name] ?? ((value) => ({ [name]: value })))(value), signal };
    const isOfRows = name === "seqLen" || name === "holdout";
    const call = async () => (isOfRows ? model.dataset(text, options) : model.train(data, options).adapter);
    return call().then(assert.fail, (error) => error.code);
  };
  for (const [name, { whole, from, above, to, below }] of Object.entries(limits)) {
    const step = whole ? 1 : 1e-9;
    const [good, bad] = [[], whole ? [1.5] : []];
    if (from !== undefined) good.push(from) && bad.push(whole || from === 0 ? from - step : from * (1 - step));
    if (above !== undefined) good.push(above + step) && bad.push(above);
    if (to !== undefined) good.push(to) && name !== "seqLen" && bad.push(whole ? to + step : to * (1 + step));
    if (below !== undefined) good.push(below - step) && bad.push(below);
    for (const value of good) assert.equal(await code(name, value), "aborted", `${name} = ${value}`);
    for (const value of bad) assert.equal(await code(name, value), "setting", `${name} = ${value}`);
  }
});

test("a model comes from a folder, from files, and from an address, and is the same", async () => {
  const { address, close } = await serveFolder(base);
  // Hosts say in different ways that there is no such file.
  const others = await Promise.all([200, 403].map((status) => serveFolder(base, status)));
  const names = readdirSync(base).filter((name) => /\.(json|safetensors)$/.test(name));
  const files = names.map((name) => new File([readFileSync(join(base, name))], name));
  try {
    const urls = [address, ...others.map(({ address }) => address)].map((url) => ({ url }));
    for (const source of [{ folder: base }, { files }, ...urls]) {
      const other = await LoraModel.create({ model: source });
      assert.equal(other.info.sha256, model.info.sha256);
      other.destroy();
    }
  } finally {
    close();
    for (const other of others) other.close();
  }
});

test("a GGUF file is a model, too", async () => {
  const gguf = await LoraModel.create({ model: { folder: at("../fixtures/gguf/llama.gguf") } });
  assert.equal(gguf.info.modelType, "llama");
  gguf.destroy();
});

const unopened = {
  "an id of the Hub": ["owner/name", "unsupported"],
  "a folder that is not there": [{ folder: "/nowhere" }, "io"],
  "files that are no model": [{ files: [new File(["{}"], "config.json")] }, "model_files"],
  "an object that says nothing": [{}, "model_files"],
};
for (const [name, [source, code]] of Object.entries(unopened))
  test(`${name} is refused with the code ${code}`, async () => {
    await assert.rejects(LoraModel.create({ model: source }), { name: "LoraError", code });
  });

test("files that Node sends to no thread are refused with what to do", async () => {
  const file = async (name) => Object.assign(await openAsBlob(join(base, name)), { name });
  const files = await Promise.all(["config.json", "tokenizer.json", "model.safetensors"].map(file));
  await assert.rejects(LoraModel.create({ model: { files } }), { code: "unsendable", hint: /folder/ });
});

test("bytes are counted while they arrive", async () => {
  let loaded = 0;
  const monitor = (progress) =>
    progress.addEventListener("downloadprogress", (event) => {
      loaded = event.loaded;
    });
  const { address, close } = await serveFolder(base);
  try {
    const other = await LoraModel.create({ model: { url: address }, monitor });
    assert.ok(loaded > 10_000_000, `${loaded} bytes were counted`);
    other.destroy();
  } finally {
    close();
  }
});

test("an adapter lowers the loss, survives its file, and can be trained on", async () => {
  const adapter = await model.train(data, { maxSteps: 5 }).adapter;
  const opened = await LoraAdapter.from(await adapter.toBlob());
  const [alone, adapted, again] = [
    await model.evaluate(data),
    await model.evaluate(data, { adapter }),
    await model.evaluate(data, { adapter: opened }),
  ];
  assert.ok(adapted.loss < alone.loss - 0.5, `${alone.loss} became ${adapted.loss}`);
  assert.deepEqual(again, adapted);
  assert.deepEqual(await model.evaluate(data, { adapter, strength: 0 }), alone);
  const losses = [];
  for await (const event of model.train(data, { adapter: opened, maxSteps: 2 }))
    if (event.type === "step") losses.push(event.loss);
  assert.ok(losses[0] < alone.loss - 0.5, `the second run starts at ${losses[0]}`);
  const { r, lora_alpha: alpha } = JSON.parse(adapter.config);
  await model.train(data, { adapter, rank: r, alpha, maxSteps: 1 }).adapter;
  for (const other of [{ rank: r + 1 }, { alpha: alpha + 1 }, { targets: "o_proj" }])
    await assert.rejects(model.train(data, { adapter, ...other, maxSteps: 1 }).adapter, refusal);
});

test("a prompt is continued six times in a run where nothing is said, and options of samples add up", async () => {
  const sampled = async (model, options) => {
    const samples = [];
    for await (const event of model.train(await model.dataset(text), options))
      if (event.type === "sample") samples.push(event);
    return samples;
  };
  const samples = await sampled(model, { maxSteps: 6, sample: { prompt: "The sea", maxTokens: 2 } });
  assert.ok(samples.length >= 6, `${samples.length} samples`);
  const other = await LoraModel.create({ model: builtIn, seqLen: 32, batch: 1, sample: { prompt: "My letter" } });
  const [first] = await sampled(other, { maxSteps: 2, sample: { every: 1, maxTokens: 2 } });
  assert.equal(first.prompt, "My letter");
  other.destroy();
});

test("every format of an adapter opens again and computes the same", async () => {
  const adapter = await model.train(data, { maxSteps: 4 }).adapter;
  const measured = await model.evaluate(data, { adapter });
  for (const format of ["peft", "gguf", "mlx"]) {
    const opened = await LoraAdapter.from(await adapter.toBlob({ format }));
    const { loss } = await model.evaluate(data, { adapter: opened });
    assert.ok(Math.abs(loss - measured.loss) < 1e-6, `${format}: ${measured.loss} became ${loss}`);
    const again = await LoraAdapter.from(await opened.toBlob({ model }));
    assert.equal((await model.evaluate(data, { adapter: again })).loss, loss);
    if (format !== "peft") await assert.rejects(opened.toBlob(), { code: "no_model" });
  }
  await assert.rejects(adapter.toBlob({ format: "onnx" }), refusal);
});

test("an adapter can be written after its model's end", async () => {
  const other = await LoraModel.create({ model: builtIn, seqLen: 32, batch: 1 });
  const adapter = await other.train(await other.dataset(text), { maxSteps: 1 }).adapter;
  other.destroy();
  assert.ok((await adapter.toBlob()).size > 100_000);
  await assert.rejects(adapter.toBlob({ format: "gguf" }), { code: "closed" });
});

test("two adapters are swapped in one model, and the base stays what it is", async () => {
  const ask = async (adapter) => (await model.generate("The", { adapter, temperature: 0, maxTokens: 12 }).result).text;
  const alone = await ask();
  const adapters = [];
  for (const seed of [1, 2]) adapters.push(await model.train(data, { maxSteps: 8, lr: 0.02, rank: 4 * seed }).adapter);
  const written = [await ask(adapters[0]), await ask(adapters[1])];
  assert.notEqual(written[0], alone);
  assert.deepEqual([await ask(adapters[0]), await ask(adapters[1])], written);
  assert.equal(await ask(), alone);
});

test("a run pauses, goes on, and stops with its adapter when the loop over its events is left", async () => {
  const run = model.train(data, { maxSteps: 1000 });
  run.pause();
  let last = 0;
  for await (const event of run) {
    if (event.type === "phase" && event.phase === "paused") run.resume();
    if (event.type === "step") last = event.step;
    if (last === 3) break;
  }
  const adapter = await run.adapter;
  assert.ok(adapter.step >= 1 && adapter.step < 1000, `it was kept at step ${adapter.step}`);
});

test("writing ends soon after its reader has left", async () => {
  const writing = model.generate("The", { maxTokens: 200, seed: 3 });
  for await (const piece of writing) if (piece) break;
  const { reason, tokens } = await writing.result;
  assert.equal(reason, "stopped");
  assert.ok(tokens < 200, `${tokens} tokens were written`);
});

test("what waits can be given up without disturbing what is under way", async () => {
  const controller = new AbortController();
  const run = model.train(data, { maxSteps: 3 });
  const waiting = model.generate("The", { signal: controller.signal });
  controller.abort("no longer wanted");
  await assert.rejects(waiting.result, { code: "aborted", cause: "no longer wanted" });
  assert.equal((await run.adapter).step > 0, true);
});

test("after the end, everything is rejected and nothing hangs", async () => {
  const other = await LoraModel.create({ model: builtIn, seqLen: 32, batch: 1 });
  const rows = await other.dataset(text);
  const { adapter } = other.train(rows);
  await other[Symbol.asyncDispose]();
  await assert.rejects(adapter, { name: "LoraError", code: "closed" });
  await assert.rejects(other.dataset(text), { code: "closed" });
  await assert.rejects(other.generate("The").result, { code: "closed" });
});
