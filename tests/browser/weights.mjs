/** The model's numbers in fewer bits: they take less memory, learn nearly the same, and a run goes on in as many. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { atStep, chooseSample, close, inspect, open, SMALL, savedLog, startButton, trained } from "./browser.mjs";

const HASH = `#${SMALL}&steps=12&evalEvery=6&sampleEvery=100`;
const continueButton = (page) => page.getByRole("button", { name: /^Continue where you left off/ });

/** A whole run: what its log says, and how many bytes the page says the weights take. */
async function wholeRun(page) {
  await startButton(page).click();
  await trained(page);
  await page.getByRole("button", { name: "Show: Train" }).click();
  const log = await savedLog(page);
  return { log, config: log.find(({ type }) => type === "config"), losses: losses(log) };
}

const losses = (log) => log.filter(({ type }) => type === "eval").map(({ loss }) => loss);

async function sizeOnShow(page) {
  await page.getByRole("button", { name: "Change: The model" }).click();
  const line = await page.getByText(/of weights/).textContent();
  const [, number, unit, bits] = line.match(/([\d.]+) (kB|MB) of weights in (\d+) bits/);
  return { bytes: Number(number) * { kB: 1e3, MB: 1e6 }[unit], bits };
}

describe("the model's numbers", () => {
  test("in 8 and 4 bits take less memory and learn nearly the same, with helpers too", async () => {
    const found = {};
    for (const [weights, workers] of [
      ["f16", 1],
      ["int8", 1],
      ["int8", 2],
      ["int4", 1],
    ]) {
      const page = await open({ hash: `${HASH}&weights=${weights}`, workers });
      await chooseSample(page);
      const { bytes, bits } = await sizeOnShow(page);
      const run = await wholeRun(page);
      assert.equal(run.config.weights, weights);
      assert.equal(bits, weights.replace(/\D/g, ""));
      assert.deepEqual(page.faults, []);
      found[`${weights} ${workers}`] = { bytes, losses: run.losses };
      await close(page);
    }
    const { "f16 1": half, "int8 1": eight, "int8 2": shared, "int4 1": four } = found;
    assert.ok(eight.bytes < 0.75 * half.bytes && four.bytes < 0.8 * eight.bytes, JSON.stringify(found));
    // Of a small model, on a few rows, after steps that differ from the first on.
    eight.losses.forEach((loss, i) => {
      assert.ok(Math.abs(loss - half.losses[i]) < 0.05, `${loss} beside ${half.losses[i]}`);
      assert.ok(Math.abs(loss - shared.losses[i]) < 1e-4, `${loss} beside ${shared.losses[i]}, shared`);
      assert.notEqual(loss, four.losses[i]);
    });
  });

  test("are chosen in the settings, and a run that was cut short goes on with them as they were", async () => {
    const page = await open({ hash: `#${SMALL}&steps=6000&evalEvery=6000&sampleEvery=6000` });
    await chooseSample(page);
    await page.getByRole("button", { name: "Change: The model" }).click();
    await page.getByText("Advanced").click();
    await page.getByLabel("How the numbers of the model are kept").selectOption("int4");
    await page.getByText(/of weights in 4 bits/).waitFor();
    assert.match(await page.evaluate(() => location.hash), /weights=int4/);
    await inspect(page, "weights");
    await startButton(page).click();
    await atStep(page, 3);
    await page.getByRole("button", { name: "Pause" }).click();
    await page.getByText(/Step \d+ is saved, so you may close this tab/).waitFor();
    const other = await open({ beside: page, hash: "#weights=f16" });
    await page.close();
    await continueButton(other).click();
    await atStep(other, 5);
    await other.getByRole("button", { name: "Stop and keep" }).click();
    await trained(other);
    assert.match(await other.evaluate(() => location.hash), /weights=int4/);
    await other.getByRole("button", { name: "Show: Train" }).click();
    assert.equal((await savedLog(other)).find(({ type }) => type === "config").weights, "int4");
    assert.deepEqual(other.faults, []);
    await close(other);
  });
});
