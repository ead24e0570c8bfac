/** Where a page keeps the engine's files, and what its policies allow: in Chromium. */

import assert from "node:assert/strict";
import { renameSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch } from "../../www/demo/chromium.mjs";
import { install, openPage, serveFolder } from "./installed.mjs";

const scripts = "script-src 'self' 'wasm-unsafe-eval' 'unsafe-inline'; connect-src 'self'; worker-src 'self'";
const trusted = `${scripts}; require-trusted-types-for 'script'; trusted-types`;

let browser;
let server;
let elsewhere;

before(async () => {
  browser = await launch();
  server = await serveFolder(install("hosting", "plain"));
  const moved = install("hosting-elsewhere", "plain");
  const home = join(moved, "node_modules/tabtune");
  for (const file of ["tabtune.wasm", "worker.js"]) renameSync(join(home, file), join(moved, `my-${file}`));
  elsewhere = await serveFolder(moved);
});
after(async () => {
  await browser.close();
  server.close();
  elsewhere.close();
});

test("files that are not beside the script are named in the error, and found where the options say", async () => {
  assert.match(await created(elsewhere.address, "{}"), /^fetch_failed: .*tabtune\.wasm/);
  const urls = `{ wasmUrl: "./my-tabtune.wasm", workerUrl: new URL("./my-worker.js", location.href) }`;
  assert.equal(await created(elsewhere.address, urls), "created");
});

test("a worker that the page started is taken", async () => {
  const worker = `{ worker: new Worker("./node_modules/tabtune/worker.js", { type: "module" }) }`;
  assert.equal(await created(server.address, worker), "created");
});

test("where Trusted Types are enforced, the package's policy or a trusted address is needed", async () => {
  assert.equal(await created(server.address, "{}", `${trusted} tabtune-worker`), "created");
  assert.match(await created(server.address, "{}", `${trusted} mine`), /^worker: the worker cannot be started/);
  const mine = `{ workerUrl: trustedTypes.createPolicy("mine", { createScriptURL: (url) => url })
    .createScriptURL("./node_modules/tabtune/worker.js") }`;
  assert.equal(await created(server.address, mine, `${trusted} mine`), "created");
});

/** What becomes of `LoraModel.create` with these options, in a page with this policy. */
async function created(address, options, policy) {
  const page = await openPage(browser);
  try {
    if (policy) {
      await page.route(address, async (route) => {
        const response = await route.fetch();
        await route.fulfill({ response, headers: { ...response.headers(), "content-security-policy": policy } });
      });
    }
    await page.route("**/page.js", (route) => route.fulfill({ contentType: "text/javascript", body: script(options) }));
    await page.goto(address);
    const output = page.locator("output:not(:empty)");
    await output.waitFor({ state: "attached" });
    return await output.textContent();
  } finally {
    await page.close();
  }
}

const script = (options) => `import { LoraModel } from "tabtune";
import base from "tabtune-base";
const create = async () => LoraModel.create({ model: base, device: "cpu", workers: 1, ...${options} });
const model = await create().catch((error) => error);
const said = model instanceof LoraModel ? "created" : model.code + ": " + model.message;
document.querySelector("output").textContent = said;
`;
