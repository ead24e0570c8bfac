/** Cancelling a run: a long one asks first, and the page says what is left. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { atStep, chooseSample, close, inspect, open, SMALL, startButton } from "./browser.mjs";

const HASH = `#${SMALL}&steps=60000&evalEvery=60000&sampleEvery=60000`;
const question = (page) => page.getByRole("alertdialog", { name: "Throw this run away?" });
const cancel = (page) => page.getByRole("button", { name: "Cancel", exact: true });
/** The focus moves once the page is drawn. */
const focuses = (page, name) =>
  page.waitForFunction((name) => document.activeElement.textContent === name, name, { polling: 50 });

describe("cancelling", () => {
  test("a short run acts at once, says so, and leaves nothing that looks like a result", async () => {
    const page = await open({ hash: HASH });
    await chooseSample(page);
    await startButton(page).click();
    await atStep(page, 2);
    await cancel(page).click();
    await page.getByText("Cancelled: nothing of this run is kept.").waitFor();
    await page.waitForFunction(() => document.activeElement.textContent.startsWith("Cancelled"));
    assert.equal(await page.locator("#train .numbers, #train .curve, #train progress").count(), 0);
    await inspect(page, "cancelled");
    await page.getByRole("button", { name: /^Train again/ }).click();
    await atStep(page, 1);
    assert.equal(await page.getByText("Cancelled: nothing").count(), 0);
    assert.deepEqual(page.faults, []);
    await close(page);
  });

  test("a run of more than a minute asks first, and Escape keeps it", async () => {
    const page = await open({ hash: HASH });
    await chooseSample(page);
    await page.clock.install();
    await startButton(page).click();
    await atStep(page, 2);
    await page.clock.fastForward(90_000);
    await cancel(page).click();
    await question(page).waitFor();
    assert.match(await question(page).textContent(), /\d+ (s|min) of work would be gone/);
    await focuses(page, "Keep the run");
    await inspect(page, "cancel-question");
    await page.keyboard.press("Escape");
    await question(page).waitFor({ state: "detached" });
    await focuses(page, "Cancel");
    await atStep(page, 4);

    await cancel(page).click();
    await question(page).getByRole("button", { name: "Keep the run" }).click();
    await cancel(page).click();
    await question(page).getByRole("button", { name: "Throw it away" }).click();
    await page.getByText("Cancelled: nothing of this run is kept.").waitFor();
    assert.equal(await question(page).count(), 0);
    assert.deepEqual(page.faults, []);
    await close(page);
  });
});
