/** "Look inside" measures what the device does in a step, and no run is different for it. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  banner,
  chooseSample,
  close,
  engineWorker,
  inspect,
  listen,
  open,
  SMALL,
  startButton,
  trained,
  written,
} from "./browser.mjs";

const RUN = `#${SMALL}&steps=4&evalEvery=4&sampleEvery=0`;

describe("the measurement of the device", () => {
  for (const device of ["gpu", "cpu"])
    test(`says what a step uses and what takes the time, and changes no run (${device})`, async (t) => {
      const page = await open({ hash: RUN, device });
      await engineWorker(page);
      const events = await listen(page);
      await chooseSample(page);
      await startButton(page).click();
      await trained(page);
      await page.getByRole("button", { name: "Show: Train" }).click();
      await lookInside(page);
      const pressed = performance.now();
      await page.getByRole("button", { name: "Measure this device" }).click();
      await again(page).waitFor();
      t.diagnostic(`${device}: measured in ${Math.round(performance.now() - pressed)} ms`);
      const { facts, rows, words } = await measured(page);
      t.diagnostic(JSON.stringify({ ...facts, rows }));

      assert.match(facts["Speed of the run"], /^[\d,]+ tokens\/s$/);
      const fact = (name) => number(facts[Object.keys(facts).find((known) => name.test(known))]);
      const [step, products, rate] = [/^A step/, /GFLOP\)/, /GFLOP\/s/].map(fact);
      for (const value of [step, products, rate]) assert.ok(value > 0, JSON.stringify(facts));
      // Each is rounded to two digits.
      assert.ok(Math.abs(rate / (products / (step / 1000)) - 1) < 0.15, JSON.stringify(facts));
      if (device === "gpu") {
        const [most, share] = [/^The most that/, /^So a step uses/].map(fact);
        assert.ok(Math.abs(share / ((100 * rate) / most) - 1) < 0.15, JSON.stringify(facts));
      } else assert.match(words, /is measured on graphics cards only/);
      assert.equal(rows.length, 3);
      const [times, shares] = [rows.map(({ ms }) => ms), rows.map(({ share }) => share)];
      assert.deepEqual(
        times,
        times.toSorted((a, b) => b - a),
      );
      assert.ok(shares.every((part) => part > 0) && shares.reduce((sum, part) => sum + part) <= 101, `${shares}`);
      // Nothing takes as long as the matrices do, however they are multiplied.
      assert.match(rows[0].name, /^Multiplying matrices matmul$/);
      assert.ok(rows.every(({ calls }) => calls > 0));
      assert.match(words, /Each program ran by itself/);
      await inspect(page, `inside-measured-${device}`);

      await page.getByRole("button", { name: /^Train again/ }).click();
      while ((await events()).filter(({ type }) => type === "done").length < 2) await page.waitForTimeout(200);
      await trained(page);
      const losses = (await events()).filter(({ type }) => type === "step" || type === "eval").map(({ loss }) => loss);
      assert.equal(losses.length, 2 * 6);
      assert.deepEqual(losses.slice(6), losses.slice(0, 6), "the same run, bit for bit");
      assert.deepEqual(page.faults, []);
      await close(page);
    });

  test("can be had before a run, and ends when it is told to or when a run begins", async () => {
    const page = await open({ hash: RUN, device: "cpu" });
    await chooseSample(page);
    await lookInside(page);
    await page.getByRole("button", { name: "Measure this device" }).click();
    await page.getByRole("button", { name: "Stop measuring" }).click();
    await page.getByText("The measurement was stopped before its end.").waitFor();
    await inspect(page, "inside-stopped");
    await page.getByRole("button", { name: "Measure this device" }).click();
    await again(page).waitFor();
    assert.equal((await measured(page)).rows.length, 3);
    assert.equal(await page.getByText("The measurement was stopped before its end.").count(), 0);

    await again(page).click();
    await page.getByRole("button", { name: "Stop measuring" }).waitFor();
    await startButton(page).click();
    await trained(page);
    await page.getByRole("button", { name: "Show: Train" }).click();
    await lookInside(page);
    await again(page).waitFor();
    assert.equal(await banner(page, "train").count(), 0);
    assert.deepEqual(page.faults, []);
    await close(page);
  });
});

test("a measurement that waits for texts to be written is stopped, and they are written to their end", async () => {
  const page = await open({ hash: `${RUN}&maxTokens=60`, device: "cpu" });
  await chooseSample(page);
  await startButton(page).click();
  await trained(page);
  const texts = await written(page);
  await page.getByRole("button", { name: "Show: Train" }).click();
  await lookInside(page);
  await page.getByRole("button", { name: "Write both" }).click();
  await page.getByRole("button", { name: "Measure this device" }).click();
  await page.getByRole("button", { name: "Stop measuring" }).click();
  await page.getByText("The measurement was stopped before its end.").waitFor();
  assert.deepEqual(await written(page), texts);
  assert.deepEqual(page.faults, []);
  await close(page);
});

const lookInside = (page) => page.getByText("Look inside").click();
const again = (page) => page.getByRole("button", { name: "Measure it again" });
const number = (words) => Number(words.replace(/,/g, "").match(/[\d.]+/)[0]);

/** What "Look inside" shows of the measurement. */
async function measured(page) {
  const fold = page.locator("details", { has: page.getByText("Look inside") });
  const lists = await fold.locator("dl").last().locator("dt, dd").allTextContents();
  const facts = Object.fromEntries(lists.flatMap((word, index) => (index % 2 ? [] : [[word, lists[index + 1]]])));
  const cells = await fold
    .locator("tbody tr")
    .evaluateAll((all) => all.map((row) => [...row.children].map(({ textContent }) => textContent)));
  const rows = cells.map(([name, calls, ms, share]) => ({
    name,
    calls: number(calls),
    ms: number(ms),
    share: number(share),
  }));
  return { facts, rows, words: await fold.textContent() };
}
