/**
 * SmolLM2-135M from the disk, in software: minutes, so it runs only where it is asked for, with the checkpoint's folder in the
 * variable SMOLLM2.
 */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { chooseSample, close, inspect, open, savedLog, startButton, trained } from "./browser.mjs";

const folder = process.env.SMOLLM2;
const MINUTES = 60_000;

describe("SmolLM2-135M", { skip: folder ? false : "SKIPPED: the variable SMOLLM2 names no checkpoint" }, () => {
  test("loads from the disk and learns in three steps", async (t) => {
    const page = await open({
      hash: "#batch=1&seqLen=32&steps=3&evalEvery=3&sampleEvery=3&maxTokens=4&holdout=0.02&lr=0.001",
    });
    page.setDefaultTimeout(20 * MINUTES);
    await chooseSample(page);
    await page.getByRole("button", { name: "Change: The model" }).click();
    await page.getByText("Use another model").click();
    await page.locator("#model input[type=file]").first().setInputFiles(folder);
    await page.getByText("135 M parameters, 269 MB on the disk.").waitFor();
    await inspect(page, "real-model-picked");
    const pressed = performance.now();
    await page.getByRole("button", { name: /^Load / }).click();
    await page.locator("#model progress").waitFor();
    await inspect(page, "real-model-loading");
    await page.getByText("It comes from your own disk.").waitFor();
    t.diagnostic(`loaded in ${Math.round((performance.now() - pressed) / 1000)} s`);
    await page.getByRole("button", { name: "Close" }).click();
    await startButton(page).waitFor();
    await startButton(page).click();
    await trained(page);
    await page.getByRole("button", { name: "Show: Train" }).click();
    await inspect(page, "real-model-trained");
    const log = await savedLog(page);
    const [before, after] = log.filter(({ type }) => type === "eval").map(({ loss }) => loss);
    t.diagnostic(`held-out loss ${before} became ${after}`);
    // A model that was loaded wrongly knows as little as chance does, which is ln 49152 = 10.8.
    assert.ok(before < 6 && after < before, `${before} became ${after}`);
    assert.deepEqual(
      log.filter(({ type }) => type === "step").map(({ step }) => step),
      [1, 2, 3],
    );
    assert.deepEqual(page.faults, []);
    await close(page);
  });
});
