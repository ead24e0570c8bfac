/** Runs an engine in a fresh headless Chromium, from a page that holds nothing else. */

import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { context } from "esbuild";
import { launch } from "../../www/demo/chromium.mjs";
import { meter } from "./meter.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const folder = here("../../artefacts/bench/page");
const PAGE = '<!doctype html><title>bench</title><link rel="icon" href="data:,">';

/** Bundles the engines and serves them beside the job and the two programs in WebAssembly. */
export async function serve(job) {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "index.html"), PAGE);
  cpSync(job, join(folder, "job"), { recursive: true, dereference: true });
  cpSync(here("../../www/worker/wasm"), join(folder, "tabtune"), { recursive: true });
  cpSync(here("../../artefacts/bench/products"), join(folder, "products"), { recursive: true });
  cpSync(here("node_modules/@tensorflow/tfjs-backend-wasm/dist"), join(folder, "tfjs"), {
    recursive: true,
    filter: (path) => !/\.\w+$/.test(path) || path.endsWith(".wasm"),
  });
  const bundler = await context({
    entryPoints: ["tabtune", "jaxjs", "tfjs", "products"].map((name) => here(`engines/${name}.mjs`)),
    bundle: true,
    format: "esm",
    splitting: true,
    external: ["/tabtune/*", "/products/*", "node:*"],
    outdir: folder,
    logLevel: "error",
  });
  await bundler.rebuild();
  const { port } = await bundler.serve({ servedir: folder, host: "127.0.0.1" });
  return { address: `http://127.0.0.1:${port}/`, close: () => bundler.dispose() };
}

/** Calls `run` of an engine. `also` names another that is run in the same browser after it. */
export async function runInBrowser(address, engine, options, also) {
  const browser = await launch();
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(0);
    page.on("console", (message) => message.type() === "error" && console.error(`${engine}: ${message.text()}`));
    const protocol = await browser.newBrowserCDPSession();
    const { processInfo } = await protocol.send("SystemInfo.getProcessInfo");
    const gpu = processInfo.filter(({ type }) => type === "GPU").map(({ id }) => id);
    let meters = meter();
    await page.exposeFunction("endStep", async () => {
      const { processInfo } = await protocol.send("SystemInfo.getProcessInfo");
      meters.end([...gpu, ...processInfo.filter(({ type }) => type === "renderer").map(({ id }) => id)]);
    });
    await page.goto(address);
    const call = ([engine, options]) => import(`/${engine}.js`).then(({ run }) => run(options, () => self.endStep()));
    const result = await page.evaluate(call, [engine, options]);
    const run = { ...result, cpu: meters.cpu(), wall: meters.wall() };
    if (run.adapter) run.adapter = Uint8Array.from(run.adapter);
    if (!also) return run;
    meters = meter();
    const other = await page.evaluate(call, [also, options]);
    return { ...run, also: { ...other, cpu: meters.cpu(), wall: meters.wall() } };
  } finally {
    await browser.close();
  }
}
