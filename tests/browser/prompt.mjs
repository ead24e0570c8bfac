/** A prompt that is refused: nothing older stands behind it, it is shown shortened, and it stays in its box. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { banner, chooseSample, close, inspect, open, SMALL, startButton, trained, written } from "./browser.mjs";

const LONG = "the sea was wide and ".repeat(500);

describe("a prompt that the model cannot read", () => {
  test("is refused, and no older answer stands behind it", async () => {
    const page = await open({ hash: `#${SMALL}&steps=4&evalEvery=2` });
    await chooseSample(page);
    await startButton(page).click();
    await trained(page);
    const answers = await written(page);
    const box = page.getByLabel("How should it begin?");
    const height = await page.evaluate(() => document.documentElement.scrollHeight);
    await box.fill(LONG);
    await page.getByRole("button", { name: "Write both" }).click();
    await banner(page, "keep").waitFor();
    assert.match(await banner(page, "keep").locator(".what").textContent(), /prompt has \d+ tokens.*at most \d+/);
    for (const [index, column] of (await page.locator(".column").allTextContents()).entries()) {
      assert.match(column, /the sea was wide and .*….*Nothing was written/);
      assert.ok(column.length < 300, `${column.length} characters`);
      assert.ok(!column.includes(answers[index].slice(-20)), `an older answer is still there: ${column}`);
    }
    const grown = (await page.evaluate(() => document.documentElement.scrollHeight)) - height;
    assert.ok(grown < 400, `the page grew by ${grown} px`);
    assert.equal(await box.inputValue(), LONG);
    await inspect(page, "prompt-refused");

    await box.fill("The sea");
    await page.getByRole("button", { name: "Write both" }).click();
    for (const answer of await written(page)) assert.match(answer, /^The sea/);
    assert.equal(await banner(page, "keep").count(), 0);
    assert.deepEqual(page.faults, []);
    await close(page);
  });
});
