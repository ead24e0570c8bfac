/** The package's README does what it says: its page in Chromium, its script in Node, both on a real text. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { test } from "node:test";
import { launch } from "../../www/demo/chromium.mjs";
import { at, install, screen, serveFolder } from "./installed.mjs";

const { unzipSync } = createRequire(new URL("../../www/package.json", import.meta.url))("fflate");

const PATIENCE_MS = 300_000;
const STEPS = 20;
const readme = readFileSync(at("../../www/package/README.md"), "utf8");
const snippet = (language) => new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, "ms").exec(readme)[1];
const sample = at("../../www/public/samples/captain.txt");
const PEFT = ["adapter_config.json", "adapter_model.safetensors"];

test("the page trains on a file, writes, and offers the adapter", async () => {
  const folder = install("readme-page", "plain");
  writeFileSync(join(folder, "index.html"), snippet("html"));
  const { address, close } = await serveFolder(folder);
  const browser = await launch();
  try {
    const page = await browser.newPage();
    await page.goto(address);
    await page.locator("input").setInputFiles(sample);
    const download = page.getByRole("link", { name: "Download" });
    await download.waitFor({ timeout: PATIENCE_MS });
    const shown = await page.locator("pre").textContent();
    assert.equal(shown.match(/^step \d+: loss \d\.\d\d$/gm).length, STEPS);
    assert.ok(shown.split("\n").slice(STEPS).join("").length > 0, "nothing was written");
    await page.screenshot({ path: screen("package-readme") });
    const [file] = await Promise.all([page.waitForEvent("download"), download.click()]);
    assert.equal(file.suggestedFilename(), "my-style.zip");
    assert.deepEqual(Object.keys(unzipSync(readFileSync(await file.path()))), PEFT);
  } finally {
    await browser.close();
    close();
  }
});

test("the script trains in Node, and leaves the adapter", () => {
  const folder = install("readme-node", "node");
  writeFileSync(join(folder, "main.js"), snippet("js"));
  cpSync(sample, join(folder, "notes.txt"));
  const shown = execFileSync("node", ["main.js"], { cwd: folder, encoding: "utf8" });
  assert.equal(shown.match(/^step \d+: loss \d\.\d\d$/gm).length, STEPS);
  const [before, after] = [...shown.matchAll(/loss: ([\d.]+), tokens: \d+/g)].map(([, loss]) => Number(loss));
  assert.ok(after < before - 0.3, `the loss was ${before} and is ${after}`);
  assert.deepEqual(Object.keys(unzipSync(readFileSync(join(folder, "my-style.zip")))), PEFT);
});
