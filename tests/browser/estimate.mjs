/** The time on the button is the sum of everything that the run then does. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { chooseSample, close, engineWorker, listen, open, startButton, trained } from "./browser.mjs";

const SHORT = "batch=1&seqLen=32&maxTokens=12&steps=6";

describe("the estimate", () => {
  for (const [device, every, evaluations, samples] of [
    ["gpu", "holdout=0.02&evalEvery=6&sampleEvery=0", 1, 0],
    ["cpu", "holdout=0.05&evalEvery=1&sampleEvery=2", 6, 3],
  ])
    test(`counts steps, evaluations, adapters and samples (${device}, ${every})`, async () => {
      const page = await open({ hash: `#${SHORT}&${every}`, device });
      await page.getByText(/network requests? since the page was ready/).waitFor();
      const worker = await engineWorker(page);
      await worker.evaluate(watch);
      await chooseSample(page);
      const label = await startButton(page).textContent();
      const { probe, pipelines } = await worker.evaluate(() => self.seen);
      const parts = [
        [6, probe.msPerStep],
        // The base is evaluated, too, but not kept.
        [evaluations + 1, probe.msPerEvaluation],
        [evaluations, probe.msPerKeep],
        [samples, probe.msPerSample],
      ];
      for (const [times, ms] of parts) assert.equal(ms > 0, times > 0, JSON.stringify(probe));
      const sum = parts.reduce((sum, [times, ms]) => sum + times * ms, 0);
      assert.ok(Math.abs(probe.etaMs - sum) < 1e-6 * sum, `${probe.etaMs} ms instead of ${sum}`);
      const [, number, unit] = label.match(/about (\d+) (s|min)$/);
      const shown = number * { s: 1, min: 60 }[unit];
      const rounded = unit === "min" ? 30 : shown < 20 ? 0.5 : 2.5;
      // Minutes are rounded from whole seconds, of which there is at least one.
      const seconds = Math.max(1, unit === "min" ? Math.round(sum / 1000) : sum / 1000);
      assert.ok(Math.abs(shown - seconds) <= rounded, `${label}: ${sum} ms`);

      const events = await listen(page);
      await startButton(page).click();
      await trained(page);
      const count = async (type) => (await events()).filter((event) => event.type === type).length;
      assert.equal(await count("step"), 6);
      assert.equal(await count("eval"), evaluations + 1);
      assert.equal(await count("sample"), samples);
      // What had to be compiled was compiled before the button showed a time.
      assert.equal((await worker.evaluate(() => self.seen)).pipelinesAtEnd, pipelines);
      const left = (await events()).filter(({ type }) => type === "step").map(({ etaMs }) => etaMs);
      assert.ok(left.at(-1) > 0, "the last evaluation is still to come at the last step");
      assert.deepEqual(page.faults, []);
      await close(page);
    });
});

/** Runs in the worker. */
function watch() {
  self.seen = { probe: null, pipelines: 0, pipelinesAtEnd: null };
  const post = self.postMessage;
  self.postMessage = (message, ...rest) => {
    if (message.value?.msPerStep) self.seen.probe = message.value;
    if (message.note?.event?.type === "done") self.seen.pipelinesAtEnd = self.seen.pipelines;
    return post.call(self, message, ...rest);
  };
  const compile = GPUDevice.prototype.createComputePipelineAsync;
  GPUDevice.prototype.createComputePipelineAsync = function (descriptor) {
    self.seen.pipelines++;
    return compile.call(this, descriptor);
  };
}
