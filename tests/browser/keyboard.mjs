/** The whole path by keyboard: Tab to a sample, then Enter, because the focus follows the work. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { chooseSample, close, open, SMALL, startButton, trained } from "./browser.mjs";

const FEW = `#${SMALL}&steps=4&evalEvery=2`;

describe("with the keyboard alone", () => {
  test("from the first visit to the downloaded adapter", async () => {
    const page = await open({ hash: FEW });
    await page.getByRole("button", { name: "A captain's log" }).waitFor();
    await tabTo(page, "A captain's log");
    await page.keyboard.press("Enter");
    await focusOn(page, "What the model will read");
    await page.keyboard.press("Enter");
    await focusOn(page, "3 Train");
    await startButton(page).waitFor();
    await page.keyboard.press("Enter");
    await focusOn(page, "4 Try it and keep it");
    await trained(page);
    const coming = page.waitForEvent("download");
    await page.keyboard.press("Enter");
    assert.equal(await (await coming).failure(), null);
    await close(page);
  });

  test("Enter on the title of a card does nothing in another card", async () => {
    const page = await open({ hash: FEW });
    await chooseSample(page);
    await startButton(page).waitFor();
    await page.getByRole("button", { name: "Change: The model" }).press("Enter");
    await focusOn(page, "2 The model");
    await page.keyboard.press("Enter");
    assert.equal(await startButton(page).count(), 1, "the run has begun");
    await page.locator("#train-title").focus();
    await page.keyboard.press("Enter");
    await trained(page);
    await close(page);
  });

  test("Escape closes what opened and gives the focus back", async () => {
    const page = await open();
    await page.getByText("How can I check that?").focus();
    await page.keyboard.press("Enter");
    await page.getByText("After that you can go offline").waitFor();
    await page.keyboard.press("Escape");
    await page.getByText("After that you can go offline").waitFor({ state: "hidden" });
    await focusOn(page, "How can I check that?");
    await page.getByRole("button", { name: "Change: The model" }).press("Enter");
    await focusOn(page, "2 The model");
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "Change: The model" }).waitFor();
    await close(page);
  });
});

async function tabTo(page, name) {
  for (let presses = 0; presses < 30; presses++) {
    await page.keyboard.press("Tab");
    const focused = await page.evaluate(() => document.activeElement?.textContent ?? "");
    if (focused.startsWith(name)) return;
  }
  assert.fail(`Tab never reached "${name}"`);
}

async function focusOn(page, words) {
  await page.waitForFunction((wanted) => document.activeElement?.textContent?.trim() === wanted, words);
}
