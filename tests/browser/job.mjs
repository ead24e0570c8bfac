/**
 * The main job on one device: a sample text, a run, before beside after, an adapter on disk. The parity tests read what
 * it leaves in artefacts/main_job/. With `STEPS=150` it is as long as the page makes it by default.
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import {
  artefacts,
  askWorker,
  atStep,
  close,
  downloadButton,
  heldOutLosses,
  inspect,
  keep,
  LONGEST_TASK_MS,
  longestTask,
  open,
  startButton,
  trained,
  unzipSync,
} from "./browser.mjs";

const PROBE_IDS = Array.from({ length: 24 }, (_, index) => 10 + 37 * index);

/** On the rows the model never learns from, `gain` is what it must gain at least, in nats per token. */
export function job({ device, steps: few, gain }) {
  describe(`the main job, device=${device}`, () => {
    const steps = Number(process.env.STEPS ?? few);
    const out = join("main_job", device);
    /** The page looks the same on both. */
    const look = (name) => device === "cpu" && inspect(page, name);
    let page;
    let requestsWhenReady;
    before(async () => {
      page = await open({ hash: `#steps=${steps}`, device });
      await page.getByText("0 network requests since the page was ready").waitFor();
      requestsWhenReady = page.requests.length;
    });
    after(() => close(page));

    test("a sample shows its counts and five real rows, and the button says how long", async () => {
      await page.getByRole("button", { name: "A captain's log" }).click();
      await page.getByRole("heading", { name: "What the model will read" }).waitFor();
      assert.match(await page.locator(".counts").textContent(), /[\d,]+ characters in [\d,]+ tokens/);
      assert.equal(await page.locator(".rows > li").count(), 5);
      await look("text-chosen");
      await page.getByRole("button", { name: "Use this text" }).click();
      await startButton(page).waitFor();
      await look("ready-to-train");
    });

    test("the steps go by, and near the end, when the chart is fullest, no task blocks the page", async (t) => {
      const pressed = performance.now();
      await startButton(page).click();
      await atStep(page, 1);
      t.diagnostic(`first step ${Math.round(performance.now() - pressed)} ms after the button`);
      await atStep(page, steps - 15);
      const longest = await longestTask(page, () => trained(page));
      assert.ok(longest <= LONGEST_TASK_MS, `a task took ${longest} ms`);
      const line = await page.locator("#train .done-line").textContent();
      assert.match(line, new RegExp(`^${steps} steps in .*; \\d+ % less surprised`));
    });

    test("a picture of the finished run is taken: docs/screenshot.png is one, of 150 steps", async () => {
      await written(page);
      await page.screenshot({ path: join(artefacts, out, "screenshot.png"), fullPage: true });
    });

    test("the held-out loss falls clearly below the base's", async () => {
      await page.getByRole("button", { name: "Show: Train" }).click();
      const [base, ...later] = await heldOutLosses(page);
      const best = Math.min(...later);
      assert.ok(later.length >= 10, `${later.length} evaluations`);
      assert.ok(base - best >= gain, `${base} became ${best}`);
      assert.ok((await page.locator(".timeline li").count()) >= 3);
      for (const more of ["The same numbers as a table", "Look inside", "Use it elsewhere"])
        await page.getByText(more).click();
      await look("everything-open");
      await page.keyboard.press("Escape");
    });

    test("before and after are shown side by side, and strength 0 is the base", async () => {
      await written(page);
      const [base, tuned] = await columns(page);
      assert.ok(base.length > 20 && tuned.length > 20);
      assert.notEqual(base, tuned);
      await look("before-and-after");
      await page.getByLabel(/^Strength/).fill("0");
      await written(page);
      assert.deepEqual(await columns(page), [base, base]);
      await page.getByLabel(/^Strength/).fill("1");
      await written(page);
      assert.deepEqual(await columns(page), [base, tuned]);
      await page.getByRole("button", { name: "New seed" }).click();
      await written(page);
      assert.notDeepEqual(await columns(page), [base, tuned]);
    });

    test("the download holds the two PEFT files and a README", async () => {
      const coming = page.waitForEvent("download");
      await downloadButton(page).click();
      const download = await coming;
      assert.equal(download.suggestedFilename(), "tabtune-adapter.zip");
      await download.saveAs(join(artefacts, out, "tabtune-adapter.zip"));
      const files = unzipSync(readFileSync(join(artefacts, out, "tabtune-adapter.zip")));
      assert.deepEqual(Object.keys(files).sort(), ["README.md", "adapter_config.json", "adapter_model.safetensors"]);
      for (const [name, content] of Object.entries(files)) keep(join(out, "adapter", name), content);
      const config = JSON.parse(Buffer.from(files["adapter_config.json"]));
      assert.equal(config.peft_type, "LORA");
      const readme = Buffer.from(files["README.md"]).toString();
      assert.match(readme, /PeftModel\.from_pretrained/);
      assert.match(readme, /can contain phrases of the text it learnt from/);
    });

    test("the engine's own logits are kept for the comparison with PEFT", async () => {
      const logits = Array.from(await askWorker(page.workers()[0], "logits", PROBE_IDS));
      assert.equal(logits.length % PROBE_IDS.length, 0);
      const width = logits.length / PROBE_IDS.length;
      const rows = PROBE_IDS.map((_, row) => logits.slice(row * width, (row + 1) * width));
      keep(join(out, "probe.json"), JSON.stringify({ ids: PROBE_IDS, logits: rows }));
    });

    test("nothing was sent anywhere", async () => {
      // A browser fetches the manifest when it has time for it.
      const later = page.requests.slice(requestsWhenReady).filter((url) => !url.endsWith("/manifest.webmanifest"));
      assert.deepEqual(later, []);
      await page.getByText("0 network requests since the page was ready").waitFor();
      assert.deepEqual(page.faults, []);
    });
  });
}

async function written(page) {
  await page
    .waitForFunction(() => document.querySelectorAll(".column[aria-busy=true]").length > 0, null, { timeout: 2000 })
    .catch(() => {});
  await page.waitForFunction(() => document.querySelectorAll(".column[aria-busy=false]").length === 2);
}

const columns = (page) => page.locator(".column .written").allTextContents();
