/**
 * `npm run demo:headless -- --text FILE --out DIR [--device auto|gpu|cpu] [--workers N]`: does the whole job on the
 * real page, as a person would, without a display. Leaves the downloaded zip, its files and a picture of the page in
 * DIR; the exit status is 1 if a step fails.
 */

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { unzipSync } from "fflate";
import { launch } from "./chromium.mjs";
import { serve } from "./serve.mjs";

/** npm runs this in the folder www/; a person means the folder they are in. */
const here = process.env.INIT_CWD ?? process.cwd();
const HOUR = 3_600_000;

const DEVICES = ["auto", "gpu", "cpu"];

const text = { type: "string" };
const choice = { type: "string", default: "auto" };
const { values } = parseArgs({ options: { text, out: text, device: choice, workers: choice } });
if (!values.text || !values.out || !DEVICES.includes(values.device)) {
  console.error("usage: npm run demo:headless -- --text FILE --out DIR [--device auto|gpu|cpu] [--workers N]");
  process.exit(2);
}
const { device, workers } = values;
const query = new URLSearchParams({ device, workers });
await run(resolve(here, values.text), resolve(here, values.out), query).catch((error) => {
  console.error(`demo: ${error.message}`);
  process.exitCode = 1;
});

async function run(text, out, query) {
  await readFile(text);
  await mkdir(out, { recursive: true });
  const server = await serve();
  const browser = await launch();
  try {
    const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
    page.setDefaultTimeout(HOUR);
    const broken = new Promise((_, reject) => page.on("pageerror", reject));
    await Promise.race([broken, complaint(page), drive(page, `${server.address}?${query}`, text, out)]);
    await page.screenshot({ path: join(out, "page.png"), fullPage: true });
    console.log(`the adapter is in ${out}`);
  } finally {
    await browser.close();
    server.close();
  }
}

async function drive(page, address, text, out) {
  await page.goto(address);
  const choosing = page.waitForEvent("filechooser");
  await page.getByRole("button", { name: "Choose a file" }).click();
  await (await choosing).setFiles(text);
  await page.getByRole("button", { name: "Use this text" }).click();
  console.log(`text: ${await page.locator("#text .done-line").textContent()}`);
  const start = page.getByRole("button", { name: /^Train, about/ });
  await start.waitFor();
  console.log(`model: ${await page.locator("#model .done-line").textContent()}`);
  console.log(`button: ${await start.textContent()}`);
  await start.click();
  const pressed = performance.now();
  const since = () => `${((performance.now() - pressed) / 1000).toFixed(1)} s`;
  await page.locator("#train .numbers dd", { hasText: /^[1-9]\d* of/ }).waitFor();
  console.log(`first step: ${since()} after the button was pressed`);
  const download = page.getByRole("button", { name: /^Download adapter/ });
  await follow(page, download);
  console.log(`run: ${since()} from the button to the adapter`);
  console.log(`result: ${await page.locator("#train .done-line").textContent()}`);
  const coming = page.waitForEvent("download");
  await download.click();
  const zip = join(out, "tabtune-adapter.zip");
  await (await coming).saveAs(zip);
  for (const [name, content] of Object.entries(unzipSync(await readFile(zip))))
    await writeFile(join(out, name), content);
  await page.locator(".column[aria-busy=false]").nth(1).waitFor();
}

/** Prints from time to time how far the run is. */
async function follow(page, end) {
  while (!(await end.isVisible())) {
    const step = page.locator("#train .numbers dd").first();
    if (await step.isVisible()) console.log(`step ${await step.textContent({ timeout: 1000 }).catch(() => "…")}`);
    await Promise.race([end.waitFor(), new Promise((next) => setTimeout(next, 15_000))]);
  }
}

/** A banner is a failure: its words become the error. */
async function complaint(page) {
  const banner = page.locator(".banner, .strip.warning").first();
  await banner.waitFor();
  throw new Error((await banner.locator("> p").allTextContents()).join(" "));
}
