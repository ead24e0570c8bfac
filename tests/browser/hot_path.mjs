/** The hot path, seen from outside: WebGPU's own functions are wrapped inside the worker. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  chooseSample,
  close,
  engineWorker,
  LONGEST_TASK_MS,
  longestTask,
  open,
  SMALL,
  startButton,
  trained,
} from "./browser.mjs";

const STEPS = 12;

describe("a training step", () => {
  test("creates nothing after step 2, waits for no loss, and never blocks the page", async () => {
    // Small rows, so that a step is short; no evaluation in between, because that waits for its own loss.
    const page = await open({
      hash: `#${SMALL}&steps=${STEPS}&evalEvery=${STEPS}&sampleEvery=${STEPS}`,
      device: "gpu",
    });
    await chooseSample(page);
    const worker = await engineWorker(page);
    await worker.evaluate(watchGpu, 60);
    const longest = await longestTask(page, async () => {
      await startButton(page).click();
      await trained(page);
    });
    assert.ok(longest <= LONGEST_TASK_MS, `a task of the page took ${longest} ms`);
    const log = await worker.evaluate(() => self.gpuLog);
    await close(page);

    const from = log.findIndex((entry) => entry.what === "step" && entry.id === 2);
    const to = log.findIndex((entry) => entry.what === "done");
    assert.ok(from > 0 && to > from, "the run was not seen");
    const created = log.slice(from, to).filter((entry) => entry.what.startsWith("create"));
    assert.deepEqual(created, []);

    // A run state holds everything of one step, so saving it waits for that step.
    const saved = new Set(log.filter(({ what }) => what === "checkpoint").map(({ id }) => id));
    const others = Array.from({ length: STEPS - 4 }, (_, index) => index + 3).filter((step) => !saved.has(step));
    assert.ok(others.length > STEPS / 3, `run states were saved at ${[...saved]}`);
    for (const step of others) assert.ok(overlaps(log, step), `step ${step + 1} waited for loss ${step}`);
  });
});

/** Was anything submitted between asking for the loss of this step and getting it? */
function overlaps(log, step) {
  const told = log.findIndex((entry) => entry.what === "step" && entry.id === step);
  const got = log.findLastIndex((entry, index) => index < told && entry.what === "mapped");
  const asked = log.findIndex((entry) => entry.what === "map" && entry.id === log[got].id);
  return log.slice(asked, got).some((entry) => entry.what === "submit");
}

/** Runs in the worker. WebGPU demands a new command encoder for every submission, and nothing else. */
function watchGpu(delayMs) {
  const log = [];
  self.gpuLog = log;
  const wrap = (prototype, name, around) => {
    const original = prototype[name];
    prototype[name] = function (...inputs) {
      return around(() => original.apply(this, inputs));
    };
  };
  for (const name of Object.getOwnPropertyNames(GPUDevice.prototype)) {
    if (!name.startsWith("create") || name === "createCommandEncoder") continue;
    wrap(GPUDevice.prototype, name, (run) => {
      log.push({ what: name });
      return run();
    });
  }
  wrap(GPUQueue.prototype, "submit", (run) => {
    log.push({ what: "submit" });
    return run();
  });
  let maps = 0;
  wrap(GPUBuffer.prototype, "mapAsync", async (run) => {
    const id = ++maps;
    log.push({ what: "map", id });
    await run();
    await new Promise((resolve) => setTimeout(resolve, delayMs));
    log.push({ what: "mapped", id });
  });
  const post = self.postMessage;
  self.postMessage = (message, ...rest) => {
    const event = message.note?.event;
    if (["step", "checkpoint", "done"].includes(event?.type)) log.push({ what: event.type, id: event.step });
    return post.call(self, message, ...rest);
  };
}
