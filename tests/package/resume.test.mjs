/** A run that ends in the middle goes on from its state as if it had never stopped: in Node, and in Chromium. */

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { launch } from "../../www/demo/chromium.mjs";
import { install, serveFolder } from "./installed.mjs";

const STEPS = 24;
const methods = {
  "an adapter": { maxSteps: STEPS, evalEvery: 8 },
  "a whole model": { method: "full", maxSteps: STEPS, evalEvery: 8, lr: 0.001 },
};

const folder = install("resume", "node");
const { whole, firstPart, besideIt, secondPart } = await import(pathToFileURL(join(folder, "resume.js")));
const { LoraModel } = await import(pathToFileURL(join(folder, "node_modules/tabtune/node.js")));
const base = (await import(pathToFileURL(join(folder, "node_modules/tabtune-base/index.js")))).default;
const text = "The sea was calm, and the captain wrote a letter to his daughter about the whales. ".repeat(40);

/** In one piece, by the names of the methods. */
const expected = {};

before(async () => {
  for (const [name, options] of Object.entries(methods)) expected[name] = await whole(options);
});

for (const [name, options] of Object.entries(methods)) {
  test(`Node: ${name} that stops at step 5 goes on in a new model, and ends as if whole`, async () => {
    assert.equal(expected[name].losses.length, STEPS);
    const { losses, state } = await firstPart(options, 5);
    assert.ok(losses.length >= 5 && losses.length < STEPS, `it stopped at step ${losses.length}`);
    const path = join(folder, "state");
    writeFileSync(path, Buffer.from(await state.arrayBuffer()));
    assert.deepEqual(await secondPart(new Blob([readFileSync(path)])), expected[name]);
  });

  test(`Node: the state of ${name} that goes on is told, and is as good`, async () => {
    const { losses, state } = await besideIt(options, 3);
    assert.deepEqual(losses, expected[name].losses);
    assert.deepEqual(await secondPart(state), expected[name]);
  });

  test(`Chromium: ${name} goes on after a reload, and ends as if whole`, () =>
    inPage(async (page) => {
      const first = await page.evaluate(
        async ([options]) => {
          const { firstPart, keep } = await import("./resume.js");
          const { losses, state } = await firstPart(options, 5);
          await keep(state);
          return losses.length;
        },
        [options],
      );
      assert.ok(first >= 5 && first < STEPS, `it stopped at step ${first}`);
      await page.reload();
      const rest = await page.evaluate(async () => {
        const { kept, secondPart } = await import("./resume.js");
        return secondPart(await kept());
      });
      assert.deepEqual(rest, expected[name]);
    }));
}

test("a paused run tells its state at once, and one that is over or has not begun has none", async () => {
  const model = await LoraModel.create({ model: base, seqLen: 32, batch: 1 });
  const data = await model.dataset(text);
  const run = model.train(data, { maxSteps: 60 });
  let paused;
  for await (const event of run) {
    if (event.type === "step" && event.step === 2) run.pause();
    if (event.type !== "phase" || event.phase !== "paused") continue;
    paused = await run.state();
    run.resume();
  }
  assert.ok(paused.size > 100_000);
  const none = { name: "LoraError", code: "run_state" };
  await assert.rejects(run.state(), { ...none, message: /it is over \(finished\)/ });
  const stopped = model.train(data);
  const state = stopped.state();
  stopped.stop();
  await assert.rejects(state, none);
  const others = await model.dataset(text.replaceAll("captain", "cook"));
  await assert.rejects(model.resume(others, paused).adapter, { ...none, message: /different text/ });
  await assert.rejects(model.resume(data, new Blob(["no state"])).adapter, { name: "LoraError" });
  assert.throws(() => model.resume(data, "state"), { code: "setting" });
  const failed = model.train(data, { maxSteps: 60 });
  const read = async () => {
    for await (const event of failed) {
      if (event.type === "step" && event.step === 2) failed.pause();
      if (event.type === "phase" && event.phase === "paused") model.destroy();
    }
  };
  await assert.rejects(read(), { code: "closed" });
  assert.ok((await failed.state()).size > 100_000);
});

test("a whole model is asked as it is, opens as a model of its own, and is no adapter", async () => {
  const model = await LoraModel.create({ model: base, seqLen: 32, batch: 1 });
  const data = await model.dataset(text);
  const before = await model.evaluate(data);
  const run = model.train(data, { method: "full", maxSteps: 8, lr: 0.002 });
  const checkpoint = await run.checkpoint;
  await assert.rejects(run.adapter, { code: "adapter", hint: /run\.checkpoint/ });
  const tuned = await model.evaluate(data, { checkpoint });
  assert.ok(tuned.loss < before.loss - 0.3, `${before.loss} became ${tuned.loss}`);
  assert.deepEqual(await model.evaluate(data), before);
  const greedy = { maxTokens: 8, temperature: 0 };
  const written = (await model.generate("The sea", { ...greedy, checkpoint }).result).text;

  const other = await LoraModel.create({ model: checkpoint, seqLen: 32, batch: 1 });
  const opened = await other.evaluate(await other.dataset(text));
  assert.ok(Math.abs(opened.loss - tuned.loss) < 1e-4, `${tuned.loss} became ${opened.loss}`);
  assert.equal((await other.generate("The sea", greedy).result).text, written);
  other.destroy();
  const size = Object.values(checkpoint.files).reduce((sum, bytes) => sum + bytes.length, 0);
  assert.ok((await checkpoint.toBlob()).size > size);

  const { adapter } = model.train(data, { maxSteps: 1 });
  assert.throws(() => model.train(data, { method: "full", rank: 4 }), { code: "setting", message: /`rank` = 4/ });
  assert.throws(() => model.generate("The", { checkpoint, strength: 2 }), { code: "setting" });
  assert.throws(() => model.train(data, { method: "half" }), { code: "setting" });
  assert.throws(() => model.generate("The", { checkpoint: 5 }), { code: "setting" });
  const last = await adapter;
  await assert.rejects(model.train(data, { maxSteps: 1 }).checkpoint, { code: "checkpoint" });
  await assert.rejects(model.evaluate(data, { checkpoint, adapter: last }), { code: "setting" });
  model.destroy();
});

let browser;
let server;
before(async () => {
  browser = await launch();
  server = await serveFolder(install("resume-page", "plain"));
});
after(async () => {
  await browser.close();
  server.close();
});

async function inPage(act) {
  const page = await browser.newPage();
  try {
    await page.goto(server.address);
    await page.locator("output:not(:empty)").waitFor({ state: "attached", timeout: 120_000 });
    await act(page);
  } finally {
    await page.close();
  }
}
