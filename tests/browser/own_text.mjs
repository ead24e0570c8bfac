/** A text of one's own: pasted, dropped, or more than one file. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { askWorker, banner, chosen, close, drop, engineWorker, open, SMALL, samplesFolder } from "./browser.mjs";

const cook = readFileSync(join(samplesFolder, "cook.txt"), "utf8");

describe("a text of one's own", () => {
  let page;
  before(async () => {
    page = await open({ hash: `#${SMALL}` });
  });
  after(() => close(page));

  test("is read from the paste box", async () => {
    await page.getByLabel("Or paste it here").fill(cook.slice(0, 3000));
    await page.getByRole("button", { name: "Read the pasted text" }).click();
    await chosen(page, "Pasted text");
  });

  test("is read at once when a long one is pasted, without filling the box", async () => {
    await page.getByLabel("Or paste it here").fill("");
    await page.getByLabel("Or paste it here").evaluate((box, text) => {
      const clipboardData = new DataTransfer();
      clipboardData.setData("text/plain", text);
      box.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
    }, cook.repeat(3));
    await page.getByText("45,").first().waitFor();
    await chosen(page, "Pasted text");
    assert.equal(await page.getByLabel("Or paste it here").inputValue(), "");
  });

  test("can be dropped anywhere, as JSONL and as several files", async () => {
    const line = JSON.stringify({ text: cook.slice(0, 900) });
    await drop(page, { "notes.jsonl": `${line}\n${line}\n` });
    await chosen(page, "notes.jsonl");
    await drop(page, { "one.txt": cook.slice(0, 2000), "two.md": cook.slice(2000, 4000) });
    await chosen(page, "2 files");
    assert.equal(await banner(page, "text").count(), 0);
    assert.deepEqual(page.faults, []);
  });

  test("is released when another one is taken, and then it is refused by name", async () => {
    const worker = await engineWorker(page);
    await worker.evaluate(() => {
      self.made = [];
      self.released = [];
      self.addEventListener("message", ({ data: { call, input } }) => {
        if (call === "dataset") self.made.push(input.id);
        if (call === "release") self.released.push(input);
      });
    });
    await drop(page, { "three.txt": cook.slice(0, 3000) });
    await chosen(page, "three.txt");
    await drop(page, { "four.txt": cook.slice(3000, 6000) });
    await chosen(page, "four.txt");
    const { made, released } = await worker.evaluate(async () => {
      // A message may still be on its way.
      for (let tries = 0; !self.released.includes(self.made[0]) && tries < 100; tries++)
        await new Promise((resolve) => setTimeout(resolve, 50));
      return { made: self.made, released: self.released };
    });
    assert.equal(made.length, 2);
    // Also released is what was made before.
    assert.deepEqual(
      released.filter((id) => made.includes(id)),
      made.slice(0, 1),
    );
    for (const call of ["probe", "train"])
      await assert.rejects(askWorker(worker, call, { dataset: made[0], settings: {} }), /"code":"dataset".*released/);
    await assert.rejects(askWorker(worker, "release", made[0]), /"code":"dataset"/);
    assert.deepEqual(page.faults, []);
  });
});
