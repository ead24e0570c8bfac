/** The engine itself, without the page and its worker: what it sends has the declared keys, and handles never trap. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { close, open, samplesFolder } from "./browser.mjs";
import * as declared from "./keys.mjs";

const wasm = fileURLToPath(new URL("../../www/worker/wasm", import.meta.url));
const text = readFileSync(join(samplesFolder, "cook.txt"), "utf8").slice(0, 4000);

describe("the engine", () => {
  let page;
  before(async () => {
    page = await open({ blank: true });
    await page.context().route("**/engine/*", (route) => {
      const name = new URL(route.request().url()).pathname.split("/").at(-1);
      return route.fulfill({ path: join(wasm, name) });
    });
    await page.evaluate(load);
  });
  after(() => close(page));

  test("sends objects with the keys that api/types.ts declares", async () => {
    const sent = await page.evaluate(useEverything, text);
    const names = (object) => Object.keys(object).sort();
    const { notice, events, ...single } = declared;
    for (const [name, keys] of Object.entries(single)) assert.deepEqual(sent[name], names(keys), name);
    assert.deepEqual(
      names(sent.events),
      names(events).filter((type) => type !== "warning"),
    );
    for (const [type, keys] of Object.entries(sent.events)) assert.deepEqual(keys, names(events[type]), type);
    for (const keys of sent.warnings) assert.deepEqual(keys, names(notice));
    assert.ok(sent.warnings.length > 0);
  });

  test("foresees what a model takes without loading anything", async () => {
    const [model, foreseen, memory, adapter, counted] = await page.evaluate(async () => {
      const { engine, settings, files, dataset } = self.made;
      let parameters;
      const rows = dataset(settings);
      await engine.train(
        rows,
        settings,
        (event) => {
          if (event.type === "config") parameters = event.parameters;
        },
        () => {},
        {},
      );
      rows.free();
      const { rank, targets } = settings;
      const [foreseen, memory] = [await engine.foresee(files, "auto"), await engine.memory(engine.defaults())];
      return [engine.info().parameters, foreseen, memory.total, parameters, engine.adapterSize(rank, targets)];
    });
    assert.equal(foreseen.parameters, model);
    assert.ok(Math.abs(foreseen.memory / memory - 1) < 0.05, `${foreseen.memory} beside ${memory}`);
    assert.equal(counted, adapter);
  });

  test("foretells the memory of a run within a twentieth, also of one that takes less", async () => {
    const [usual, lean, checkpointed] = await page.evaluate(async () => {
      const { settings, wholeRun } = self.made;
      const lean = { ...settings, lean: true };
      const runs = [];
      for (const wanted of [settings, lean, { ...lean, checkpointing: true }]) runs.push(await wholeRun("cpu", wanted));
      return runs;
    });
    for (const run of [usual, lean, checkpointed]) assertForetold(run);
    assert.ok(checkpointed.taken < lean.taken && lean.taken < usual.taken, `${checkpointed.taken} ${usual.taken}`);
  });

  test("goes on with less memory when the graphics card has none left in the middle of a run", async () => {
    await page.evaluate(pretendCard);
    const [usual, less] = await page.evaluate(async () => {
      const { settings, wholeRun } = self.made;
      const wanted = { ...settings, batch: 8, seqLen: 64 };
      const runs = [await wholeRun("gpu", wanted), await wholeRun("gpu", wanted, () => self.card.isFull(true))];
      self.card.end();
      return runs;
    });
    assertForetold(usual);
    assert.deepEqual([usual.warnings, usual.lean, usual.losses.length], [[], false, 3]);
    assert.match(less.warnings[0]?.message, /no memory left for .*; the run goes on with lean recomputation/);
    assert.ok(less.warnings.every(({ code }) => code === "less_memory") && less.lean);
    assert.equal(less.losses.length, 3);
    for (const [i, loss] of less.losses.entries()) assert.ok(Math.abs(loss / usual.losses[i] - 1) < 1e-5);
    assert.deepEqual(page.faults, []);
  });

  test("trains on although its dataset is freed meanwhile", async () => {
    const losses = await page.evaluate(async () => {
      const { engine, settings, dataset } = self.made;
      const run = (onStep) => {
        const losses = [];
        const rows = dataset(settings);
        const hear = (event) => {
          if (event.type !== "step") return;
          losses.push(event.loss);
          onStep(rows);
        };
        const running = engine.train(rows, settings, hear, () => {}, {});
        return { running: running.then(() => losses), rows };
      };
      const held = run(() => {});
      const expected = await held.running;
      held.rows.free();
      const freedAtOnce = run(() => {});
      freedAtOnce.rows.free();
      const freedAtAStep = run((rows) => rows.__wbg_ptr && rows.free());
      // Both run side by side, which the engine allows.
      return [expected, await freedAtOnce.running, await freedAtAStep.running];
    });
    assert.ok(losses[0].length > 0);
    assert.deepEqual(losses[1], losses[0]);
    assert.deepEqual(losses[2], losses[0]);
  });

  test("refuses a dataset of another engine, a freed one, and rows of another length", async () => {
    const refused = await page.evaluate(async () => {
      const { engine, another, settings, dataset } = self.made;
      const rows = dataset(settings);
      const errors = [];
      const attempt = async (act) => {
        try {
          await act();
          errors.push("accepted");
        } catch (error) {
          errors.push(error instanceof WebAssembly.RuntimeError ? "a trap" : `${error.code}: ${error.message}`);
        }
      };
      const other = await another();
      await attempt(() => other.probe(rows, settings));
      await attempt(() =>
        other.train(
          rows,
          settings,
          () => {},
          () => {},
          {},
        ),
      );
      await attempt(() => engine.probe(rows, { ...settings, seqLen: 16 }));
      rows.free();
      await attempt(() => engine.probe(rows, settings));
      await attempt(() => engine.adapterSize(0, "all-linear"));
      await engine.probe(dataset(settings), settings);
      return errors;
    });
    assert.match(refused[0], /^dataset: .*another engine made it/);
    assert.match(refused[1], /^dataset: .*another engine made it/);
    assert.match(refused[2], /^setting: `seq-len` = 16: expected 32/);
    assert.match(refused[3], /null pointer/);
    assert.match(refused[4], /^setting: `rank` = 0/);
    assert.deepEqual(page.faults, []);
  });
});

function assertForetold({ total, taken }) {
  assert.ok(Math.abs(total / taken - 1) < 0.05, `${total} ${taken}`);
}

/** Makes every card refuse what is more than it holds when it becomes full, as cards do: through error scopes. */
function pretendCard() {
  const { prototype } = GPUDevice;
  const { createBuffer, pushErrorScope, popErrorScope } = prototype;
  const scopes = [];
  let held = 0;
  let limit = Infinity;
  prototype.createBuffer = function (descriptor) {
    const buffer = createBuffer.call(this, descriptor);
    let size = descriptor.size;
    held += size;
    const scope = scopes.findLast(({ filter }) => filter === "out-of-memory");
    if (scope && held > limit) scope.refuses = true;
    buffer.destroy = () => {
      held -= size;
      size = 0;
      GPUBuffer.prototype.destroy.call(buffer);
    };
    return buffer;
  };
  prototype.pushErrorScope = function (filter) {
    scopes.push({ filter, refuses: false });
    pushErrorScope.call(this, filter);
  };
  prototype.popErrorScope = async function () {
    const { refuses } = scopes.pop();
    const error = await popErrorScope.call(this);
    return refuses ? new GPUOutOfMemoryError("pretended") : error;
  };
  self.card = {
    isFull: (full) => {
      limit = full ? held : Infinity;
    },
    end: () => Object.assign(prototype, { createBuffer, pushErrorScope, popErrorScope }),
  };
}

/** Runs in the page, as the next ones do. */
async function load() {
  const program = await import("./engine/tabtune.js");
  await program.default();
  const bytes = async (name) => new Uint8Array(await (await fetch(`./base/${name}`)).arrayBuffer());
  const weights = await bytes("model.safetensors");
  const files = {
    name: "base",
    config: await bytes("config.json"),
    tokenizer: await bytes("tokenizer.json"),
    weights: { bytes: weights.length, read: async (at, length) => weights.slice(at, at + length) },
  };
  const another = (device = "gpu") => program.Engine.create(files, (event) => seen(event), device, "auto");
  const events = {};
  function seen(event) {
    events[event.type] = Object.keys(event).sort();
  }
  const engine = await another();
  const settings = { ...engine.defaults(), seqLen: 32, batch: 1, steps: 3, evalEvery: 2, sampleEvery: 2 };
  Object.assign(settings, { prompt: "Take", maxTokens: 4, holdout: 0.01 });
  self.made = { engine, another, settings, events, seen, files, wholeRun };

  /** What a run in an engine of its own was foretold to take, what it took, and what it said. */
  async function wholeRun(device, wanted, onStep = () => {}) {
    const engine = await another(device);
    const { total } = await engine.memory(wanted);
    const losses = [];
    const warnings = [];
    let config;
    const hear = (event) => {
      if (event.type === "config") config = event.settings;
      if (event.type === "warning") warnings.push(event);
      if (event.type !== "step") return;
      losses.push(event.loss);
      onStep();
    };
    await engine.train(self.made.datasetOf(engine, wanted), wanted, hear, () => {}, {});
    return { total, taken: engine.stats().devicePeakBytes, losses, warnings, lean: config.lean };
  }
}

/** Returns the keys of everything that the engine sends. */
async function useEverything(text) {
  const keys = (object) => Object.keys(object).sort();
  const { engine, settings, events, seen } = self.made;
  self.made.datasetOf = (engine, settings, content = text) =>
    engine.dataset([{ name: "cook.txt", bytes: new TextEncoder().encode(content) }], settings);
  self.made.dataset = (...of) => self.made.datasetOf(engine, ...of);
  const rows = self.made.dataset(settings);
  const summary = rows.summary();
  const foreign = self.made.dataset(settings, "Το καράβι έφυγε από το λιμάνι με τον άνεμο στα πανιά. ".repeat(20));
  const { warnings } = foreign.summary();
  foreign.free();
  const probe = await engine.probe(rows, settings);
  const profile = await engine.profile(settings);
  let adapter;
  const keep = (files) => {
    adapter = files;
  };
  await engine.train(rows, settings, seen, keep, { onRunState: () => {} });
  // A run that is stopped saves its state, and says so.
  const stop = (event) => {
    seen(event);
    if (event.type === "step") engine.stop(true);
  };
  await engine.train(rows, { ...settings, steps: 50 }, stop, keep, { onRunState: () => {} });
  rows.free();
  const options = { prompt: "Take", adapter: true, strength: 1, seed: 0, maxTokens: 3 };
  const generated = await engine.generate({ ...options, temperature: 0, topK: 0, topP: 1 }, () => {});
  return {
    events,
    warnings: warnings.map(keys),
    settings: keys(engine.defaults()),
    limits: keys(engine.limits()),
    modelInfo: keys(engine.info()),
    device: keys(engine.info().device),
    datasetSummary: keys(summary),
    previewRow: keys(summary.preview[0]),
    previewToken: keys(summary.preview[0].tokens[0]),
    probe: keys(probe),
    profile: keys(profile),
    kernelTime: keys(profile.kernels[0]),
    adapterFiles: keys(adapter),
    generated: keys(generated),
    memory: keys(await engine.memory(settings)),
    stats: keys(engine.stats()),
  };
}
