/** A pause stops the steps within one step, and what comes after it is as honest as before. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  atStep,
  chooseSample,
  close,
  engineWorker,
  inspect,
  listen,
  open,
  SMALL,
  savedLog,
  startButton,
  trained,
} from "./browser.mjs";

const STEPS = 80;
/** A step that was submitted before the click may still arrive. */
const UNDER_WAY = 2;
const HOUR_MS = 3_600_000;

describe("a pause", () => {
  test("holds the steps until Resume, and costs the run nothing", async () => {
    const page = await open({ hash: `#${SMALL}&steps=${STEPS}&evalEvery=20&sampleEvery=${STEPS}` });
    await chooseSample(page);
    const events = await listen(page);
    const before = await watchPause(page);
    const worker = await engineWorker(page);
    await worker.evaluate(lendClock);
    await startButton(page).click();
    await atStep(page, 8);
    await page.getByRole("button", { name: "Pause" }).click();
    await page.getByText("Paused; nothing is computed until you resume.").waitFor();
    const held = await steps();
    assert.ok(held.length <= (await before()) + UNDER_WAY, `${await before()} steps became ${held.length}`);
    await page.waitForTimeout(1000);
    assert.equal((await steps()).length, held.length);
    await inspect(page, "paused");
    await worker.evaluate((ms) => self.advance(ms), HOUR_MS);

    await page.getByRole("button", { name: "Resume" }).click();
    await atStep(page, held.length + 4);
    const { step, etaMs } = (await steps())[held.length];
    // However slow this machine is, the hour would make it more.
    assert.ok(etaMs / (STEPS - step) < 60_000, `${etaMs} ms are left at step ${step}`);

    await trained(page);
    await page.getByRole("button", { name: "Show: Train" }).click();
    assert.deepEqual(
      (await steps()).map(({ step }) => step),
      Array.from({ length: STEPS }, (_, index) => index + 1),
    );
    assert.deepEqual(await savedLog(page), await events());
    assert.deepEqual(page.faults, []);
    await close(page);

    async function steps() {
      return (await events()).filter(({ type }) => type === "step");
    }
  });

  test("can end in Cancel", async () => {
    const page = await open({ hash: `#${SMALL}&steps=60000&evalEvery=60000&sampleEvery=60000` });
    await chooseSample(page);
    await startButton(page).click();
    await atStep(page, 2);
    await page.getByRole("button", { name: "Pause" }).click();
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.getByRole("button", { name: /^Train again/ }).waitFor();
    assert.deepEqual(page.faults, []);
    await close(page);
  });
});

/** Runs in the worker: makes its clock one that can be advanced. */
function lendClock() {
  const now = performance.now.bind(performance);
  let ahead = 0;
  performance.now = () => now() + ahead;
  self.advance = (ms) => {
    ahead += ms;
  };
}

/** Returns a function that says after how many steps the worker of `page`, which is listened to, was asked to pause. */
async function watchPause(page) {
  const worker = await engineWorker(page);
  await worker.evaluate(() => {
    self.addEventListener("message", ({ data }) => {
      if (data.call === "pause" && data.paused) self.before = self.heard.filter(({ type }) => type === "step").length;
    });
  });
  return () => worker.evaluate(() => self.before);
}
