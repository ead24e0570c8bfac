/** The model with the adapter in it, streamed to the disk in either way; `make parity-merge` looks at the files. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import {
  banner,
  chooseSample,
  close,
  download,
  downloadButton,
  inspect,
  keep,
  open,
  SMALL,
  startButton,
  trained,
  unzipSync,
} from "./browser.mjs";

const HASH = `#${SMALL}&steps=6&evalEvery=3&sampleEvery=6`;
const OUT = "merged_job";
const NAMES = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];

describe("the model with the adapter in it", () => {
  let page;
  const downloadMerged = () => page.getByRole("button", { name: /^Download the merged model, [\d.]+ MB$/ });
  /** Stands for the dialog of the browser, which no test can answer. `act` gets what it was asked. */
  const dialog = (act) => page.evaluate(`window.showSaveFilePicker = ${act}`);

  before(async () => {
    page = await open({ hash: HASH });
    await chooseSample(page);
    await startButton(page).click();
    await trained(page);
    keep(join(OUT, "adapter.zip"), await download(page, downloadButton(page)));
    await page.getByText("Use it elsewhere").click();
    await page.getByRole("button", { name: "Merge it into the model…" }).click();
  });
  after(() => close(page));

  test("where no dialog asks, a checkpoint goes to the disk by way of the browser's storage", async () => {
    await dialog("undefined");
    await downloadMerged().waitFor();
    await inspect(page, "merged");
    const zip = await download(page, downloadMerged());
    keep(join(OUT, "tabtune-merged.zip"), zip);
    assert.deepEqual(Object.keys(unzipSync(zip)).sort(), NAMES);
    await page.getByText("Your browser has it among its downloads.").waitFor();
    assert.deepEqual(await stored(), ["tabtune-merged.zip"]);
    const other = await open({ hash: HASH, beside: page });
    await other.getByText("network requests since the page was ready").waitFor();
    assert.deepEqual(await stored(), ["tabtune-merged.zip"], "another tab leaves it to this one");
    await other.close();
  });

  test("where a dialog asks, the file is written where the visitor says, in the form that was chosen", async () => {
    await dialog(`async ({ suggestedName }) =>
      (await navigator.storage.getDirectory()).getFileHandle(suggestedName, { create: true })`);
    await page.getByLabel("Made for").selectOption("gguf");
    const sizes = [];
    for (const type of ["f16", "q8_0"]) {
      await page.getByLabel("Each number in").selectOption(type);
      if (type === "q8_0") await page.getByText(/rows of no whole blocks of Q8_0/).waitFor();
      await downloadMerged().click();
      await page.getByText("Written to tabtune-merged.gguf.").waitFor();
      const { magic, size } = await page.evaluate(async () => {
        const handle = await (await navigator.storage.getDirectory()).getFileHandle("tabtune-merged.gguf");
        const file = await handle.getFile();
        return { magic: await file.slice(0, 4).text(), size: file.size };
      });
      assert.equal(magic, "GGUF");
      const said = Number(/, ([\d.]+) MB$/.exec(await downloadMerged().textContent())[1]);
      assert.ok(Math.abs(said / (size / 1e6) - 1) < 0.05, `${said} MB are ${size} bytes`);
      sizes.push(size);
    }
    assert.ok(sizes[1] < 0.8 * sizes[0], `${sizes}`);
    await inspect(page, "merged-gguf");
  });

  test("a closed dialog changes nothing, and what is given up leaves nothing", async () => {
    await dialog(`async () => { throw new DOMException("no", "AbortError"); }`);
    await downloadMerged().click();
    await downloadMerged().waitFor();
    await dialog(`async () => ({ name: "slow", createWritable: async () => ({
      write: () => new Promise((done) => setTimeout(done, 3000)),
      close: async () => { window.ended = "closed"; },
      abort: async () => { window.ended = "aborted"; },
    }) })`);
    await downloadMerged().click();
    await page.getByText(/^Written: \d+\.\d of \d+\.\d MB/).waitFor();
    await inspect(page, "merged-writing");
    await page.getByRole("button", { name: "Give up" }).click();
    await downloadMerged().waitFor();
    assert.equal(await page.evaluate(() => window.ended), "aborted");
    assert.equal(await banner(page, "keep").count(), 0);
  });

  test("a full disk ends in a banner that says what to do", async () => {
    await dialog(`async () => ({ name: "full", createWritable: async () => ({
      write: async () => { throw new DOMException("full", "QuotaExceededError"); },
      close: async () => {},
      abort: async () => {},
    }) })`);
    await downloadMerged().click();
    await banner(page, "keep")
      .getByText(/there is no room for the merged model, which has \d/i)
      .waitFor();
    await inspect(page, "merged-full");
    await banner(page, "keep").getByRole("button", { name: "Close" }).click();
    assert.deepEqual(page.faults, []);
  });

  test("what the storage held for the download goes with the tab", async () => {
    await page.getByText("1 network request since the page was ready, for parts of the page").waitFor();
    await page.reload();
    await page.getByText("0 network requests since the page was ready").waitFor();
    await page.waitForFunction(async () => {
      const names = [];
      for await (const name of (await navigator.storage.getDirectory()).keys()) names.push(name);
      return !names.includes("merged-model");
    });
  });

  const stored = () =>
    page.evaluate(async () => {
      const names = [];
      const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("merged-model");
      for await (const name of folder.keys()) names.push(name);
      return names;
    });
});
