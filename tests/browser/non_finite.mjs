/** Numbers that grow without bound end the run, and the last good adapter is kept. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  atStep,
  banner,
  chooseSample,
  close,
  download,
  downloadButton,
  inspect,
  listen,
  open,
  SMALL,
  startButton,
  trained,
  unzipSync,
} from "./browser.mjs";

describe("a gradient that is not finite", () => {
  test("stops the run, keeps the last finite adapter, and says what to try", async () => {
    const page = await open({ hash: `#${SMALL}&steps=600&evalEvery=600&sampleEvery=600`, device: "gpu" });
    await chooseSample(page);
    const events = await listen(page);
    await startButton(page).click();
    await atStep(page, 4);
    await page.workers()[0].evaluate(spoilGradient);
    await trained(page);
    await banner(page, "train").waitFor();
    assert.match(
      await banner(page, "train").locator(".what").textContent(),
      /grew without bound.*last good adapter is kept/,
    );
    assert.match(await banner(page, "train").textContent(), /learning rate three times lower/);
    await page.getByRole("button", { name: "Show: Train" }).click();
    await inspect(page, "non-finite");

    await banner(page, "train").getByRole("button", { name: "Change the settings" }).click();
    await page.waitForFunction(() => document.activeElement?.id === "lr");

    const heard = await events();
    const done = heard.find(({ type }) => type === "done");
    const last = heard.filter(({ type }) => type === "step").at(-1);
    assert.equal(done.reason, "non_finite");
    assert.ok(done.step < 600);
    assert.ok(Number.isFinite(last.loss) && Number.isFinite(last.gradNorm));

    const files = unzipSync(await download(page, downloadButton(page)));
    const weights = floats(files["adapter_model.safetensors"]);
    assert.ok(weights.length > 1000 && weights.every(Number.isFinite));
    assert.ok(weights.some((weight) => weight !== 0));
    assert.deepEqual(page.faults, []);
    await close(page);
  });
});

/** Runs in the worker: from now on, `Step.inv_targets`, which scales the gradient, is nearly the largest float. */
function spoilGradient() {
  const INV_TARGETS = 32;
  const write = GPUQueue.prototype.writeBuffer;
  GPUQueue.prototype.writeBuffer = function (buffer, at, data, from = 0, length = undefined) {
    if (buffer.label !== "input") return write.call(this, buffer, at, data, from, length);
    const bytes = ArrayBuffer.isView(data)
      ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
      : new Uint8Array(data);
    const copy = bytes.slice(from, length === undefined ? undefined : from + length);
    const view = new DataView(copy.buffer);
    // Evaluations and samples leave it 0.
    if (view.getFloat32(INV_TARGETS, true) > 0) view.setFloat32(INV_TARGETS, 3e38, true);
    return write.call(this, buffer, at, copy);
  };
}

function floats(safetensors) {
  const bytes = Buffer.from(safetensors);
  const begin = 8 + Number(bytes.readBigUInt64LE(0));
  return Array.from({ length: (bytes.length - begin) / 4 }, (_, index) => bytes.readFloatLE(begin + 4 * index));
}
