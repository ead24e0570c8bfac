/** The main job on the processor, and what can be done in the middle of a run. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { atStep, chooseSample, close, inspect, open, SMALL, startButton, trained } from "./browser.mjs";
import { job } from "./job.mjs";

job({ device: "cpu", steps: 50, gain: 0.35 });

describe("a run in the middle", () => {
  test("shows chart, numbers and samples; stop keeps the best so far, cancel leaves it alone", async () => {
    const page = await open({
      hash: `#${SMALL}&steps=6000&evalEvery=4&sampleEvery=8`,
    });
    await chooseSample(page);
    await startButton(page).click();
    await atStep(page, 9);
    await inspect(page, "training");
    await page.getByRole("button", { name: "Stop and keep" }).click();
    await trained(page);
    const kept = await page.locator(".download p").textContent();
    assert.match(kept, /kept from step \d+/);
    await page.getByRole("button", { name: "Show: Train" }).click();
    await page.getByRole("button", { name: /^Train again/ }).click();
    await atStep(page, 5);
    await page.getByRole("button", { name: "Cancel" }).click();
    await trained(page);
    assert.equal(await page.locator(".download p").textContent(), kept);
    assert.deepEqual(page.faults, []);
    await close(page);
  });
});
