/** A pause stops the steps within one step, and what comes after it is as honest as before. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  atStep,
  chooseSample,
  close,
  inspect,
  listen,
  open,
  SMALL,
  savedLog,
  startButton,
  trained,
} from "./browser.mjs";

/** A step that was submitted before the click may still arrive. */
const UNDER_WAY = 2;

describe("a pause", () => {
  test("holds the steps until Resume, and costs the run nothing", async () => {
    const page = await open({ hash: `#${SMALL}&steps=60&evalEvery=30&sampleEvery=60` });
    await chooseSample(page);
    const events = await listen(page);
    await startButton(page).click();
    await atStep(page, 8);
    const before = await steps();
    await page.getByRole("button", { name: "Pause" }).click();
    await page.getByText("Paused; nothing is computed until you resume.").waitFor();
    await page.waitForTimeout(3000);
    const held = await steps();
    assert.ok(held.length <= before.length + UNDER_WAY + 1, `${before.length} steps became ${held.length}`);
    await page.waitForTimeout(3000);
    assert.equal((await steps()).length, held.length);
    await inspect(page, "paused");

    await page.getByRole("button", { name: "Resume" }).click();
    await atStep(page, held.length + 4);
    const after = await steps();
    const left = ({ step, etaMs }) => etaMs / (60 - step);
    assert.ok(
      left(after.at(-1)) < 3 * left(held.at(-1)),
      `${left(held.at(-1))} ms a step became ${left(after.at(-1))}`,
    );

    await trained(page);
    await page.getByRole("button", { name: "Show: Train" }).click();
    assert.deepEqual(
      (await steps()).map(({ step }) => step),
      Array.from({ length: 60 }, (_, index) => index + 1),
    );
    assert.deepEqual(await savedLog(page), await events());
    assert.deepEqual(page.faults, []);
    await close(page);

    async function steps() {
      return (await events()).filter(({ type }) => type === "step");
    }
  });

  test("can end in Cancel", async () => {
    const page = await open({ hash: `#${SMALL}&steps=600&evalEvery=600&sampleEvery=600` });
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
