/** Full fine-tuning: the layers learn in two workers, and a whole model goes home, which `make parity-page` loads. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, test } from "node:test";
import {
  askWorker,
  atStep,
  chooseSample,
  close,
  download,
  heldOutLosses,
  inspect,
  keep,
  open,
  startButton,
  unzipSync,
  written,
} from "./browser.mjs";

const HASH = "#method=full&batch=2&seqLen=32&maxTokens=12&steps=48&evalEvery=16&sampleEvery=48";
const OUT = "full_job";
const PROBE_IDS = Array.from({ length: 24 }, (_, index) => 10 + 37 * index);
/** Long enough for the run on two busy cores. */
const TRAINING_MS = 600_000;
const downloadModel = (page) => page.getByRole("button", { name: /^Download model/ });

describe("full fine-tuning", () => {
  test("says what learns, survives a closed tab, and leaves a whole model", async () => {
    const first = await open({ hash: HASH, workers: 2 });
    await chooseSample(first);
    assert.match(await first.locator("#model .done-line").textContent(), /; [\d.]+ M parameters learn/);
    await first.getByRole("button", { name: "Change: The model" }).click();
    await first.getByText("Advanced").click();
    assert.equal(await first.getByLabel("What learns", { exact: true }).inputValue(), "full");
    assert.equal(await first.getByLabel("Rank", { exact: true }).count(), 0);
    await first.getByText("The layers of the model themselves learn").waitFor();
    await inspect(first, "full-settings");
    await first.getByLabel("What learns", { exact: true }).selectOption("lora");
    assert.equal(await first.getByLabel("Rank", { exact: true }).count(), 1);
    const rate = first.getByLabel("Learning rate", { exact: true });
    const usual = Number(await rate.inputValue());
    await first.getByLabel("What learns", { exact: true }).selectOption("full");
    assert.ok(Math.abs(Number(await rate.inputValue()) / usual - 0.3) < 1e-9);
    await startButton(first).click();
    await atStep(first, 3);
    await first.getByRole("button", { name: "Pause" }).click();
    await first.getByText("is saved, so you may close this tab").waitFor();
    const page = await open({ hash: HASH, workers: 2, beside: first });
    await first.close();

    await page.getByRole("button", { name: /^Continue where you left off/ }).click();
    await downloadModel(page).waitFor({ timeout: TRAINING_MS });
    await page.getByRole("button", { name: "Show: Train" }).click();
    const losses = await heldOutLosses(page);
    assert.ok(losses.length === 4 && losses[0] - Math.min(...losses) > 0.1, `${losses}`);
    const [base, tuned] = await written(page);
    assert.notEqual(base, tuned);
    assert.equal(await page.getByLabel(/^Strength/).count(), 0);
    assert.equal(await page.getByRole("button", { name: /^Continue from/ }).count(), 0);
    await page.getByText("Use it elsewhere").click();
    await inspect(page, "full-done");

    const logits = Array.from(await askWorker(page.workers()[0], "logits", PROBE_IDS));
    const { method, step, loss, parameters } = await askWorker(page.workers()[0], "adapter");
    assert.equal(method, "full");
    keep(join(OUT, "probe.json"), JSON.stringify({ ids: PROBE_IDS, logits, step, loss, parameters }));

    // The browser keeps it: in another tab it is offered, tried and saved.
    const prompt = await page.locator("#prompt").inputValue();
    const other = await open({ hash: HASH, beside: page });
    await other.getByRole("button", { name: "My adapters (1)" }).click();
    const offer = other.getByRole("region", { name: "My adapters" }).getByRole("listitem");
    await offer.getByText(/^a whole model, /).waitFor();
    await inspect(other, "full-kept");
    await offer.getByRole("button", { name: "Try it" }).click();
    await other.locator("#prompt").fill(prompt);
    await other.getByRole("button", { name: "Write both" }).click();
    assert.deepEqual(await written(other), [base, tuned]);
    const zip = await download(other, downloadModel(other));
    keep(join(OUT, "tabtune-model.zip"), zip);
    const files = unzipSync(zip);
    const names = ["README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
    assert.deepEqual(Object.keys(files).sort(), names);
    assert.equal(JSON.parse(Buffer.from(files["config.json"])).torch_dtype, "float32");
    assert.deepEqual([...page.faults, ...other.faults], []);
    await close(page);
  });
});
