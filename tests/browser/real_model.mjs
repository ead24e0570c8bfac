/**
 * SmolLM2-135M from the disk, in software: that takes minutes, so it runs only on request. The variable SMOLLM2 names
 * the folder in which `tests/parity/check_smollm2.py` left the checkpoints, PEFT's adapter, the text, and what PEFT
 * computed in `page.json`.
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { close, inspect, open, savedLog, trained } from "./browser.mjs";

const folder = process.env.SMOLLM2;
const MINUTES = 60_000;
/** Relative. A norm is of millions of numbers, each summed in another order than PyTorch's. */
const TOLERANCE = { loss: 1e-3, gradNorm: 1e-2 };

describe("SmolLM2-135M", {
  skip: folder ? false : "SKIPPED: the variable SMOLLM2 names no folder",
}, () => {
  const { settings, models, adapter, text, steps } = folder ? JSON.parse(read("page.json")) : { models: {} };

  for (const [storage, { path, size }] of Object.entries(models))
    test(`${storage}: trains on from PEFT's adapter, and its losses are PEFT's`, async (t) => {
      const page = await open({ hash: `#${new URLSearchParams(settings)}` });
      page.setDefaultTimeout(20 * MINUTES);
      await page.locator("#text input[type=file]").first().setInputFiles(join(folder, text));
      await page.getByRole("button", { name: "Use this text" }).click();
      await page.getByRole("button", { name: "Change: The model" }).click();
      await page.getByText("Use another model").click();
      await page.locator("#model input[type=file]").first().setInputFiles(join(folder, path));
      await page.getByText(`135 M parameters, ${size} on the disk.`).waitFor();
      if (storage === "f16") await inspect(page, "real-model-picked");
      const pressed = performance.now();
      await page.getByRole("button", { name: /^Load / }).click();
      await page.locator("#model progress").waitFor();
      if (storage === "f16") await inspect(page, "real-model-loading");
      await page.getByText("It comes from your own disk.").waitFor();
      t.diagnostic(`loaded in ${Math.round((performance.now() - pressed) / 1000)} s`);
      await page.getByRole("button", { name: "Close" }).click();
      const files = ["adapter_config.json", "adapter_model.safetensors"].map((name) => join(folder, adapter, name));
      await page.locator("#keep input[type=file]").setInputFiles(files);
      await page.getByRole("button", { name: "Continue from this adapter" }).first().click();
      await page
        .locator("#train")
        .getByRole("button", { name: /^Continue from this adapter, about/ })
        .click();
      await trained(page);
      await page.getByRole("button", { name: "Show: Train" }).click();
      if (storage === "f16") await inspect(page, "real-model-trained");
      const found = (await savedLog(page)).filter(({ type }) => type === "step");
      assert.equal(found.length, steps.length);
      for (const name of Object.keys(TOLERANCE)) {
        const far = Math.max(...steps.map((step, i) => Math.abs(found[i][name] - step[name]) / step[name]));
        t.diagnostic(`${name}: furthest ${far.toExponential(1)}, relative`);
        assert.ok(
          far <= TOLERANCE[name],
          `${name}: ${found.map((step) => step[name])} beside ${steps.map((step) => step[name])}`,
        );
      }
      assert.deepEqual(page.faults, []);
      await close(page);
    });
});

function read(name) {
  return readFileSync(join(folder, name), "utf8");
}
