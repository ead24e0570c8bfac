/** Bad input, by name: a banner in the right card, what to do, and nothing of the visitor's lost. */

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { banner, close, inspect, open, samplesFolder } from "./browser.mjs";

const good = readFileSync(join(samplesFolder, "cook.txt"), "utf8");
const line = JSON.stringify({ text: good.slice(0, 800) });

const files = {
  "empty.txt": { content: "", code: "text_empty", says: /empty/ },
  "short.txt": { content: "Too short to learn from.", code: "text_too_short", says: /\d+ tokens, one row needs \d+/ },
  "latin.txt": { content: Buffer.from([...Buffer.from(good), 0xe9, 0x20]), code: "text_not_utf8", says: /UTF-8/ },
  "huge.txt": {
    content: Buffer.alloc(52_000_000, "a fine day "),
    code: "text_too_large",
    says: /52 MB, the limit is 8 MB/,
  },
  "train.parquet": { content: Buffer.from("PAR1\0\x15\0PAR1"), code: "not_text", says: /is a Parquet file/ },
  "broken.jsonl": { content: `${line}\n${line}\n{"text": \n${line}\n`, code: "data_line", says: /line 3/ },
};

describe("a text that cannot be used", () => {
  let page;
  let folder;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "tabtune-"));
    page = await open();
    await page.getByRole("button", { name: "A cook's book" }).click();
    await page.getByRole("heading", { name: "What the model will read" }).waitFor();
    await page.getByLabel("Or paste it here").fill("half a thought");
  });
  after(async () => {
    rmSync(folder, { recursive: true });
    await close(page);
  });

  for (const [name, { content, code, says }] of Object.entries(files)) {
    test(`${name} ends in ${code}, and nothing is lost`, async () => {
      writeFileSync(join(folder, name), content);
      await page.locator("#text input[type=file]").setInputFiles(join(folder, name));
      await banner(page, "text").waitFor();
      assert.match(await banner(page, "text").locator(".what").textContent(), says);
      assert.ok((await banner(page, "text").locator("p").nth(1).textContent()).length > 10);
      await page.getByText("Details").click();
      assert.match(await banner(page, "text").locator("pre").textContent(), new RegExp(`"code": "${code}"`));
      assert.doesNotMatch(await banner(page, "text").locator("pre").textContent(), /cook|half a thought/i);
      assert.match(await page.locator(".counts").textContent(), /A cook's book/);
      assert.equal(await page.getByLabel("Or paste it here").inputValue(), "half a thought");
      if (name === "short.txt") await inspect(page, "text-too-short");
      await banner(page, "text").getByRole("button", { name: "Close" }).click();
      assert.equal(await banner(page, "text").count(), 0);
    });
  }

  test("a pasted text that is too short stays in its box", async () => {
    await page.getByRole("button", { name: "Read the pasted text" }).click();
    await banner(page, "text").waitFor();
    assert.equal(await page.getByLabel("Or paste it here").inputValue(), "half a thought");
  });

  test("a language the base has never seen is a warning, not an error", async () => {
    const words = "Το καράβι έφυγε από το λιμάνι με τον άνεμο στα πανιά και κανείς δεν ήξερε πότε θα γυρίσει. ";
    writeFileSync(join(folder, "greek.txt"), words.repeat(40));
    await page.locator("#text input[type=file]").setInputFiles(join(folder, "greek.txt"));
    await page.getByText("greek.txt").first().waitFor();
    await page.locator(".note").waitFor();
    assert.match(await page.locator(".note").textContent(), /token/);
    assert.equal(await banner(page, "text").count(), 0);
    assert.deepEqual(page.faults, []);
  });
});
