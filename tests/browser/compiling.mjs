/** Compiling, seen from outside: WebGPU's own functions are wrapped inside the worker. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { chooseSample, close, engineWorker, open, SMALL, startButton } from "./browser.mjs";

/** Fewer kernels than this have never been enough to train. */
const LEAST = 30;

describe("pipelines", () => {
  test("are compiled side by side, each once", async () => {
    const { page, seen } = await compiled(undefined);
    assert.ok(seen.started >= LEAST, `${seen.started} pipelines`);
    assert.ok(seen.most > 1, "one was compiled after the other");
    assert.equal(seen.plain, 0);
    await close(page);
  });

  test("that the browser refuses in that way are asked for in the other", async () => {
    const { page, seen } = await compiled(LEAST - 5);
    assert.ok(seen.started >= LEAST, `${seen.started} pipelines`);
    assert.equal(seen.plain, 1);
    assert.deepEqual(page.faults, []);
    await close(page);
  });
});

/** A page that has compiled what it needs to train, and how. The browser refuses pipeline number `refused`. */
async function compiled(refused) {
  const page = await open({ hash: `#${SMALL}`, device: "gpu" });
  await page.getByText("0 network requests since the page was ready").waitFor();
  const worker = await engineWorker(page);
  await worker.evaluate(watch, refused);
  await chooseSample(page);
  await startButton(page).waitFor();
  return { page, seen: await worker.evaluate(() => self.seen) };
}

/** Runs in the worker. */
function watch(refused) {
  self.seen = { started: 0, under: 0, most: 0, plain: 0 };
  const { createComputePipeline, createComputePipelineAsync } = GPUDevice.prototype;
  GPUDevice.prototype.createComputePipeline = function (descriptor) {
    self.seen.plain++;
    return createComputePipeline.call(this, descriptor);
  };
  GPUDevice.prototype.createComputePipelineAsync = function (descriptor) {
    self.seen.started++;
    if (self.seen.started === refused) return Promise.reject(new Error("refused"));
    self.seen.most = Math.max(self.seen.most, ++self.seen.under);
    return createComputePipelineAsync.call(this, descriptor).finally(() => {
      self.seen.under--;
    });
  };
}
