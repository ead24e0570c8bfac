/** A model in one GGUF file: brought as a text or chosen as a model, it is measured, read by ranges, and trains. */

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  banner,
  chooseSample,
  close,
  download,
  inspect,
  open,
  SMALL,
  startButton,
  trained,
  unzipSync,
} from "./browser.mjs";

const file = fileURLToPath(new URL("../fixtures/gguf/llama.gguf", import.meta.url));

describe("a model in a GGUF file", () => {
  let page;
  let folder;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "tabtune-"));
    page = await open({ hash: `#${SMALL}&steps=4&evalEvery=2&sampleEvery=4`, workers: 2 });
    await page.getByRole("button", { name: "Change: The model" }).waitFor();
  });
  after(async () => {
    rmSync(folder, { recursive: true });
    await close(page);
  });

  const what = () => banner(page, "model").locator(".what");
  const model = () => page.locator("#model").textContent();

  function variant(name, change) {
    const path = join(folder, name);
    writeFileSync(path, change(readFileSync(file)));
    return path;
  }

  const wrong = {
    "cut.gguf": [(bytes) => bytes.subarray(0, 100_000), /cut\.gguf is not a usable GGUF file: its tensors end at byte/],
    "other.gguf": [(bytes) => renamed(bytes, "mamba"), /Model type mamba is not supported/],
    "text.gguf": [() => "Once upon a time", /text\.gguf is not a usable GGUF file: it does not begin with GGUF/],
  };
  for (const [name, [change, says]] of Object.entries(wrong))
    test(`${name} ends in a banner, and the built-in model stays`, async () => {
      await page.locator("#text input[type=file]").setInputFiles(variant(name, change));
      await what().waitFor();
      assert.match(await what().textContent(), says);
      assert.match(await model(), /Built-in story model/);
      await banner(page, "model").getByRole("button", { name: "Close" }).click();
    });

  test("where texts are chosen, it is not taken for one, and card 2 opens with its size", async () => {
    await page.locator("#text input[type=file]").setInputFiles(file);
    await page.getByText("0.28 M parameters, 327 kB on the disk.").waitFor();
    assert.match(await page.locator("#text [role=status]").textContent(), /llama\.gguf is a model, no text: card 2/);
    await page.waitForFunction(() => document.activeElement?.id === "model-title");
    await inspect(page, "gguf-picked");
    await page.getByRole("button", { name: "Never mind" }).click();
  });

  test("of several, one is to be chosen", async () => {
    const second = variant("second.gguf", (bytes) => bytes);
    await page.locator("#model input[type=file]").last().setInputFiles([file, second]);
    await what().waitFor();
    assert.match(await what().textContent(), /These are 2 GGUF files: llama\.gguf, second\.gguf/);
  });

  test("it is loaded by two workers, says how its numbers are stored, and trains", async () => {
    await page.locator("#model input[type=file]").last().setInputFiles(file);
    await page.getByRole("button", { name: "Load llama.gguf" }).click();
    await page.getByText("It comes from your own disk.").waitFor();
    assert.match(await model(), /are stored in another form: Q4_1 as f16, .*Q6_K as f16/);
    assert.match(await model(), /in 2 workers/);
    await inspect(page, "gguf-loaded");
    await page.locator("#model").getByRole("button", { name: "Close" }).click();
    await chooseSample(page);
    await startButton(page).click();
    await trained(page);
    const zip = await download(page, page.getByRole("button", { name: /^Download adapter/ }).first());
    const config = JSON.parse(Buffer.from(unzipSync(zip)["adapter_config.json"]).toString());
    assert.equal(config.base_model_name_or_path, "llama.gguf");
    await page.getByText("0 network requests since the page was ready").waitFor();
    assert.deepEqual(page.faults, []);
  });
});

/** The same file of another architecture, whose name is as long. */
function renamed(bytes, name) {
  const changed = Buffer.from(bytes);
  changed.write(name, changed.indexOf("llama"));
  return changed;
}
