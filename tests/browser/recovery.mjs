/** A lost device and a trap cost nothing but the steps since the last evaluation, and the processor can go on. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  atStep,
  banner,
  chooseSample,
  close,
  downloadButton,
  inspect,
  open,
  SMALL,
  savedLog,
  startButton,
  trained,
  trap,
} from "./browser.mjs";

const faults = {
  "the graphics card is lost": { device: "gpu", what: /The graphics card stopped responding/, strike: loseCard },
  "the engine traps": { device: "cpu", what: /The program behind the page stopped/, strike: trap },
};

/** Lets `loseCard` find the device that the engine of `page` uses. */
function watchCard(page) {
  return page.workers()[0].evaluate(() => {
    const original = GPUDevice.prototype.createCommandEncoder;
    GPUDevice.prototype.createCommandEncoder = function (...inputs) {
      self.seenDevice = this;
      return original.apply(this, inputs);
    };
  });
}

function loseCard(page) {
  return page.workers()[0].evaluate(() => self.seenDevice.destroy());
}

describe("recovery", () => {
  for (const [name, fault] of Object.entries(faults)) {
    test(`${name}: text, settings and best adapter are kept, and a new run works`, async () => {
      const { device, what, strike } = fault;
      const page = await open({ hash: `#${SMALL}&steps=4000&evalEvery=3&sampleEvery=4000&rank=4`, device });
      await chooseSample(page);
      const [worker] = page.workers();
      await watchCard(page);
      await startButton(page).click();
      await atStep(page, 7);
      await strike(page);

      await banner(page, "train").waitFor();
      assert.match(await banner(page, "train").textContent(), what);
      assert.match(await banner(page, "train").textContent(), /best adapter so far \(step \d+\)/);
      assert.match(await page.locator("#text .done-line").textContent(), /A captain's log/);
      assert.match(page.url(), /rank=4/);
      await written(page);
      await inspect(page, name.replaceAll(" ", "-"));

      const coming = page.waitForEvent("download");
      await downloadButton(page).click();
      assert.equal(await (await coming).failure(), null);
      assert.notEqual(page.workers()[0], worker);

      await page.getByRole("button", { name: /^Train again/ }).click();
      await banner(page, "train").waitFor({ state: "detached" });
      await atStep(page, 4);
      assert.equal(await banner(page, "train").count(), 0);
      await page.getByRole("button", { name: "Stop and keep" }).click();
      await trained(page);
      await page.getByText("0 network requests since the page was ready").waitFor();
      await close(page);
    });
  }

  test("the graphics card is lost: the processor continues the run to its end", async () => {
    const STEPS = 24;
    const page = await open({ hash: `#${SMALL}&steps=${STEPS}&evalEvery=4&sampleEvery=${STEPS}`, device: "gpu" });
    await chooseSample(page);
    await watchCard(page);
    await startButton(page).click();
    await atStep(page, 6);
    await loseCard(page);
    await banner(page, "train").waitFor();
    assert.equal(await page.getByText(/^No graphics card is used/).count(), 0);
    await banner(page, "train").getByRole("button", { name: "Continue on the processor" }).click();
    await trained(page);
    assert.match(await page.locator("#train .done-line").textContent(), new RegExp(`^${STEPS} steps in`));
    assert.match(await page.locator("#model .done-line").textContent(), /on your processor/);
    assert.match(await page.locator(".strip").textContent(), /your processor does it, about [\d,]+ tokens a second/);
    assert.match(page.url(), /device=cpu/);
    await page.getByRole("button", { name: "Show: Train" }).click();
    const log = await savedLog(page);
    const steps = log.filter(({ type }) => type === "step").map(({ step }) => step);
    assert.deepEqual(
      steps,
      Array.from({ length: STEPS }, (_, index) => index + 1),
    );
    assert.equal(await page.locator(".banner").count(), 0);
    await page.getByText("0 network requests since the page was ready").waitFor();
    await close(page);
  });
});

/** The new engine writes with the adapter that was kept. */
async function written(page) {
  await page.waitForFunction(() => {
    const columns = [...document.querySelectorAll(".column[aria-busy=false] .written")];
    return columns.length === 2 && columns.every((column) => column.textContent.length > 20);
  });
}
