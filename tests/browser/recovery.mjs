/** A lost device and a trap cost nothing but the steps since the last run state, and a lost device not even a click. */

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
  stopClock,
  trained,
  trap,
} from "./browser.mjs";

const faults = {
  "the graphics card is lost and nothing could be saved": {
    device: "gpu",
    what: /The graphics card stopped responding/,
    strike: loseCard,
    full: true,
  },
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
  return page.workers()[0].evaluate(async () => {
    while (!self.seenDevice) await new Promise((resolve) => setTimeout(resolve, 20));
    self.seenDevice.destroy();
  });
}

describe("recovery", () => {
  for (const [name, fault] of Object.entries(faults)) {
    test(`${name}: text, settings and best adapter are kept, and a new run works`, async () => {
      const { device, what, strike, full } = fault;
      const page = await open({ hash: `#${SMALL}&steps=4000&evalEvery=3&sampleEvery=4000&rank=4`, device });
      if (full) await fillDisk(page);
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

  test("the graphics card is lost before the run is saved: an earlier one does not go on in its place", async () => {
    const page = await open({ hash: `#${SMALL}&steps=4000&evalEvery=4000&sampleEvery=4000`, device: "gpu" });
    await chooseSample(page);
    await watchCard(page);
    await startButton(page).click();
    await atStep(page, 3);
    await page.getByRole("button", { name: "Stop and keep" }).click();
    await trained(page);
    await page.getByRole("button", { name: "Change: Your text" }).click();
    await chooseSample(page, "A cook's book");
    // It would be saved after half a minute.
    await stopClock(page.workers()[0]);
    await startButton(page).click();
    await atStep(page, 2);
    await loseCard(page);
    await banner(page, "train").getByText("The graphics card stopped responding").waitFor();
    await banner(page, "train").getByRole("button", { name: "Train on the processor" }).waitFor();
    assert.match(await page.locator("#text .done-line").textContent(), /A cook's book/);
    await page.getByRole("button", { name: /^Continue where you left off/ }).waitFor();
    await close(page);
  });

  test("the graphics card is lost before a cancel is done: nothing of the run stays", async () => {
    const page = await open({ hash: `#${SMALL}&steps=4000&evalEvery=3&sampleEvery=4000`, device: "gpu" });
    await chooseSample(page);
    await watchCard(page);
    // After a minute, the page would ask first.
    await stopClock(page);
    await startButton(page).click();
    await atStep(page, 4);
    // As on a card that hangs: the wish reaches the worker, and no step ends any more.
    await page.evaluate(() => {
      const { postMessage } = Worker.prototype;
      Worker.prototype.postMessage = function (message, ...rest) {
        if (message.call !== "stop") postMessage.call(this, message, ...rest);
      };
    });
    await page.getByRole("button", { name: "Cancel" }).click();
    await loseCard(page);
    await banner(page, "train").getByText("The graphics card stopped responding").waitFor();
    assert.doesNotMatch(await banner(page, "train").textContent(), /adapter so far/);
    assert.equal(await downloadButton(page).count(), 0);
    assert.equal(await page.locator("#keep.waiting").count(), 1);
    await close(page);
  });

  test("the graphics card is lost: the run goes on by itself, three times on it, then without it", async () => {
    // So many that it is far from over while the page is inspected.
    const STEPS = 100;
    const page = await open({ hash: `#${SMALL}&steps=${STEPS}&evalEvery=3&sampleEvery=${STEPS}`, device: "gpu" });
    await chooseSample(page);
    await watchCard(page);
    await startButton(page).click();
    for (const [times, step] of [4, 8, 12, 16].entries()) {
      await atStep(page, step);
      const [worker] = page.workers();
      await loseCard(page);
      const words = times < 3 ? `by itself (${times + 1} of 3 times)` : "4 times, so the processor goes on from step";
      await page.getByText(words).waitFor();
      if (times === 0) await inspect(page, "went-on-by-itself");
      assert.notEqual(page.workers()[0], worker);
      if (times < 3) await watchCard(page);
    }
    await inspect(page, "processor-goes-on");
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

async function fillDisk(page) {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Storage.overrideQuotaForOrigin", { origin: new URL(page.url()).origin, quotaSize: 10_000 });
}

/** The new engine writes with the adapter that was kept. */
async function written(page) {
  await page.waitForFunction(() => {
    const columns = [...document.querySelectorAll(".column[aria-busy=false] .written")];
    return columns.length === 2 && columns.every((column) => column.textContent.length > 20);
  });
}
