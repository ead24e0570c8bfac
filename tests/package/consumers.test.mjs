/**
 * Everybody who installs the packages from their tarballs, builds with a tool of their own, and trains five steps: in
 * Chromium, and in Node. The numbers are the same everywhere. `HEAVY=1` takes the tools that are large, too.
 */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { launch } from "../../www/demo/chromium.mjs";
import { install, npm, openPage, screen, serveFolder } from "./installed.mjs";

const quick = ["vite", "esbuild"];
const heavy = ["webpack", "next"];

let browser;
let losses;

before(async () => {
  browser = await launch();
  const folder = install("node");
  losses = JSON.parse(execFileSync("node", ["main.js"], { cwd: folder, encoding: "utf8" }));
});
after(() => browser.close());

test("Node trains on the processor, and ends by itself", () => {
  assert.equal(losses.length, 5);
  assert.ok(losses.at(-1) < losses[0] - 0.5, `the losses are ${losses}`);
});

test("a page with an import map, and no tool", () => trainsIn("plain", install("plain")));

for (const name of process.env.HEAVY ? [...quick, ...heavy] : quick)
  test(`${name} builds a page that trains`, async () => {
    const folder = install(name);
    npm(folder, "run", "build");
    await trainsIn(name, join(folder, "dist"));
  });

test("vite's development server serves a page that trains", async () => {
  const folder = install("vite-dev", "vite");
  const { createServer } = await import(pathToFileURL(join(folder, "node_modules/vite/dist/node/index.js")));
  const vite = await createServer({ root: folder, logLevel: "error", server: { host: "127.0.0.1" } });
  await vite.listen();
  const address = `http://127.0.0.1:${vite.httpServer.address().port}/`;
  await trainsAt("vite-dev", address).finally(() => vite.close());
});

async function trainsIn(name, folder) {
  const { address, close } = await serveFolder(folder);
  await trainsAt(name, address).finally(close);
}

async function trainsAt(name, address) {
  const page = await openPage(browser);
  try {
    const faults = [];
    page.on("pageerror", (error) => faults.push(error.message));
    await page.goto(address);
    const output = page.locator("output:not(:empty)");
    await output.waitFor({ state: "attached" });
    assert.deepEqual(JSON.parse(await output.textContent()), losses);
    assert.deepEqual(faults, []);
    await page.screenshot({ path: screen(`package-${name}`) });
  } finally {
    await page.close();
  }
}
