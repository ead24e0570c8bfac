/** Held-out rows without labels: there is no held-out loss, and the page says so wherever it would be. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  chosen,
  close,
  download,
  downloadButton,
  drop,
  inspect,
  open,
  SMALL,
  savedLog,
  startButton,
  trained,
  unzipSync,
} from "./browser.mjs";

describe("held-out rows in which nothing is learnt", () => {
  const pair = (prompt, completion) => JSON.stringify({ prompt, completion });
  const short = Array.from({ length: 20 }, (_, index) => pair(`Where is fox ${index}?`, " At home."));
  const full = pair("The fox ran over the hill and into the wood. ".repeat(9), " It came back.");

  test("are said to be of no use, and no number stands for them anywhere", async () => {
    const page = await open({ hash: `#${SMALL}&steps=8&evalEvery=4&sampleEvery=8` });
    await drop(page, { "pairs.jsonl": [...short, full].join("\n") });
    await chosen(page, "pairs.jsonl");
    const notes = await page.locator("#text .notices li").allTextContents();
    assert.ok(notes.length >= 2, `a list of several: ${notes}`);
    assert.match(notes.join(" "), /Nothing in the held-out part \(1 of 21 rows\) is learnt/);
    assert.match(await page.locator(".counts").textContent(), /1 row is held out, but cannot test the model/);
    await inspect(page, "nothing-measured");
    await page.getByRole("button", { name: "Use this text" }).click();
    await startButton(page).click();
    await trained(page);
    assert.match(await page.locator("#train .done-line").textContent(), /^8 steps in .*; no held-out loss$/);
    await page.getByRole("button", { name: "Show: Train" }).click();
    await page.getByRole("button", { name: "The same numbers as a table" }).click();
    const log = await savedLog(page);
    assert.deepEqual([...new Set(log.filter(({ type }) => type === "eval").map(({ loss }) => loss))], [null]);
    assert.ok(log.some(({ type, code }) => type === "warning" && code === "nothing_measured"));
    const words = await page.locator("#train").textContent();
    assert.doesNotMatch(words, /NaN|null|is learnt|before training|\(best\)/i);
    assert.match(await page.locator(".numbers").textContent(), /no held-out loss/);
    const described = await page.locator(".chart").getAttribute("aria-label");
    assert.match(described, /^No held-out loss; training loss \d+\.\d\d at step 8\.$/);
    assert.equal(await page.locator("#train tbody tr").count(), 8);
    assert.doesNotMatch((await page.locator("#train .note").allTextContents()).join(" "), /held out|examples/);
    await inspect(page, "no-held-out-loss");
    const readme = Buffer.from(unzipSync(await download(page, downloadButton(page)))["README.md"]).toString();
    assert.match(readme, /\| kept from \| step 8, no held-out loss \|/);
    assert.doesNotMatch(readme, /NaN|null/);
    assert.deepEqual(page.faults, []);
    await close(page);
  });
});
