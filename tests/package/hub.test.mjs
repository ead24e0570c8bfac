/** A model of the Hub through the package: fetched in Chromium from a server that behaves as the Hub does. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { launch } from "../../www/demo/chromium.mjs";
import { hubServer } from "../browser/hub_server.mjs";
import { at, install, openPage, serveFolder, workersOf } from "./installed.mjs";

const paths = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"];
const commit = "76543210fedcba9876543210fedcba9876543210";

const folder = install("hub", "plain");

let browser;
let hub;
let server;
let page;

before(async () => {
  const story = { folder: at("../../www/public/base"), paths, commit };
  hub = await hubServer({ "tabtune/story": story });
  server = await serveFolder(folder);
  browser = await launch();
  page = await openPage(browser);
  await page.goto(server.address);
  await page.locator("output:not(:empty)").waitFor({ state: "attached" });
});
after(async () => {
  await browser.close();
  server.close();
  hub.close();
});

const losses = async () => JSON.parse(await page.locator("output").textContent());
/** What came of it, and what is stored once its workers have closed their files. */
const create = async (options) => {
  const outcome = await page.evaluate(trainOnHub, { model: "tabtune/story", hub: hub.address, ...options });
  assert.deepEqual(await workersOf(page), []);
  return { ...outcome, stored: await page.evaluate(async () => (await import("tabtune")).listStored()) };
};

test("an abort settles and keeps what arrived; the next call goes on, over a cut, and learns the same", async (t) => {
  hub.slow = 300;
  const stopped = await create({ abortAt: 3_000_000 });
  assert.equal(stopped.error.code, "aborted");
  t.diagnostic(`it settled after ${stopped.settledMs.toFixed(0)} ms`);
  assert.equal(stopped.stored.length, 1);
  assert.equal(stopped.stored[0].commit, commit);
  assert.ok(stopped.stored[0].done >= 3_000_000 && stopped.stored[0].done < stopped.stored[0].bytes);

  hub.slow = 0;
  hub.log.length = 0;
  hub.faults = { "model.safetensors": [{ cut: 0.37 }] };
  const { losses: learnt, last, stored } = await create({});
  t.diagnostic(hub.log.join("; "));
  assert.deepEqual(learnt, await losses());
  assert.ok(last.kept && last.done === last.total);
  assert.equal(stored[0].done, stored[0].bytes);
  assert.equal(hub.log.filter((line) => line.startsWith("hub")).length, 0, "what was there was fetched again");
});

test("a stored commit is opened without a request, until it is deleted", async () => {
  hub.log.length = 0;
  const { losses: learnt, last } = await create({ revision: commit });
  assert.deepEqual(learnt, await losses());
  assert.ok(last.done > 0 && last.done === last.total);
  assert.deepEqual(hub.log, []);
  assert.deepEqual(await page.evaluate(deleteAll), []);
  await create({ revision: commit });
  assert.equal(hub.log.length, 5);
});

test("what a model takes is known before it is fetched, and of what is there, without a request", async (t) => {
  const size = paths.reduce((sum, path) => sum + readFileSync(at(`../../www/public/base/${path}`)).length, 0);
  const ask = (options) => page.evaluate(fitOf, { model: "tabtune/story", hub: hub.address, ...options });
  await page.evaluate(deleteAll);
  hub.log.length = 0;
  const packaged = await page.evaluate(fitOf, {});
  assert.equal(packaged.bytes.download, size);
  const fit = await ask();
  assert.deepEqual(fit, packaged);
  t.diagnostic(JSON.stringify(fit));
  assert.deepEqual(hub.log, [
    "api tabtune/story main",
    `hub config.json bytes=0-${readFileSync(at("../../www/public/base/config.json")).length - 1}`,
    "storage model.safetensors bytes=0-131071",
  ]);
  hub.slow = 300;
  const { stored } = await create({ abortAt: 3_000_000 });
  hub.slow = 0;
  assert.equal((await ask()).bytes.download, size - stored[0].done);
  await create({});
  hub.log.length = 0;
  assert.deepEqual(await ask({ revision: commit }), { ...fit, bytes: { ...fit.bytes, download: 0 } });
  assert.deepEqual(hub.log, []);
  const { state, code, advice } = await ask({ model: "tabtune/nothing" });
  assert.deepEqual([state, code], ["unavailable", "hub_missing"]);
  assert.match(advice, /Check how it is written/);
  assert.deepEqual(await workersOf(page), []);
});

test("errors have a code and say what to do", async () => {
  const { error } = await create({ model: "tabtune/nothing" });
  assert.equal(error.code, "hub_missing");
  assert.match(error.hint, /Check how it is written/);
  assert.equal((await create({ model: "some words" })).error.code, "hub_id");
  assert.equal((await create({ hub: 7 })).error.code, "setting");
});

/** In the page: five steps on a model of the Hub, as every consumer takes them on the built-in one. */
async function trainOnHub({ abortAt = Number.POSITIVE_INFINITY, ...options }) {
  const { LoraModel } = await import("tabtune");
  const controller = new AbortController();
  let last;
  let aborted = 0;
  const monitor = (progress) =>
    progress.addEventListener("downloadprogress", ({ download }) => {
      last = download ?? last;
      if (!aborted && last?.done >= abortAt) {
        aborted = performance.now();
        controller.abort();
      }
    });
  try {
    const run = { device: "cpu", workers: 1, seqLen: 32, batch: 1 };
    const model = await LoraModel.create({ ...run, ...options, monitor, signal: controller.signal });
    const text = "The sea was calm, and the captain wrote a letter to his daughter about the whales. ".repeat(40);
    const losses = [];
    for await (const event of model.train(await model.dataset(text), { maxSteps: 5 }))
      if (event.type === "step") losses.push(event.loss);
    model.destroy();
    return { losses, last };
  } catch ({ code, message, hint }) {
    return { error: { code, message, hint }, settledMs: performance.now() - aborted };
  }
}

/** In the page: of the packaged model where no other is named. */
async function fitOf(options) {
  const [{ LoraModel }, { default: base }] = await Promise.all([import("tabtune"), import("tabtune-base")]);
  return LoraModel.availability({ model: base, device: "cpu", ...options });
}

/** In the page. */
async function deleteAll() {
  const { deleteStored, listStored } = await import("tabtune");
  for (const model of await listStored()) await deleteStored(model);
  return listStored();
}
