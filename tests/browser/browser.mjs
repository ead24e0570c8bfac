/** What the browser tests share: one server, one Chromium, pages that record everything that goes wrong in them. */

import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before } from "node:test";
import { fileURLToPath } from "node:url";
import { launch } from "../../www/demo/chromium.mjs";
import { serve } from "../../www/demo/serve.mjs";

const installed = createRequire(new URL("../../www/package.json", import.meta.url));
const { AxeBuilder } = installed("@axe-core/playwright");
export const { unzipSync, zipSync } = installed("fflate");

export const artefacts = fileURLToPath(new URL("../../artefacts", import.meta.url));
const screens = join(artefacts, "screens");
mkdirSync(screens, { recursive: true });
/** Where a picture of this name is kept. */
export const screen = (name) => join(screens, `${name}.png`);

/** A page that takes longer over something feels stuck. */
export const LONGEST_TASK_MS = 50;

/** Settings with which a step in software is short: for tests that are not about the training itself. */
export const SMALL = "batch=1&seqLen=32&holdout=0.02&maxTokens=12";

export const samplesFolder = fileURLToPath(new URL("../../www/public/samples", import.meta.url));

/** Long enough for a training run in software on two busy cores. */
const TRAINING_MS = 900_000;
/** Long enough for everything else in software. */
export const PATIENCE_MS = 120_000;

let server;
let browser;

export function sharedBrowser() {
  before(async () => {
    server = await serve();
    browser = await launch();
  });
  after(async () => {
    await browser.close();
    server.close();
  });
}

export const address = () => server.address;

/** An empty page, for which the browser fetches no icon either. */
const NO_ICON = '<link rel="icon" href="data:,">';

/**
 * A page in a context of its own, or another tab `beside` a page. `page.faults` collects errors of the page and
 * violations of its policy. A `blank` one has the address of the page and nothing in it. Without a `device` the
 * processor computes, because the browser's only card is software. `at` is the address of another server, and
 * `proxy` is what stands before it. One that goes `offline` may store a copy of itself. The other choices, such as
 * `device`, go into the page's address.
 */
export async function open({
  hash = "",
  from = browser,
  beside,
  blank = false,
  at,
  proxy,
  offline = false,
  ...choices
} = {}) {
  // What a service worker answers cannot be watched or changed on its way: only pages that go offline have one.
  const serviceWorkers = offline ? "allow" : "block";
  const context =
    beside?.context() ??
    (await from.newContext({ viewport: sizes[0], acceptDownloads: true, serviceWorkers, ...(proxy && { proxy }) }));
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  page.faults = [];
  page.requests = [];
  page.on("pageerror", (error) => page.faults.push(error.message));
  page.on("console", (message) => message.type() === "error" && page.faults.push(message.text()));
  page.on("dialog", (dialog) => dialog.accept());
  context.on("request", (request) => page.requests.push(request.url()));
  const site = at ?? server.address;
  if (blank) await page.route(site, (route) => route.fulfill({ contentType: "text/html", body: NO_ICON }));
  const chosen = Object.entries(choices).filter(([, value]) => value !== undefined);
  const query = String(new URLSearchParams(chosen));
  await page.goto(site + (query && `?${query}`) + hash);
  return page;
}

export async function close(page) {
  await page.context().close();
}

/** From the first visit to the button that starts the training: two clicks. */
export async function chooseSample(page, title = "A captain's log") {
  await page.getByRole("button", { name: title }).click();
  await page.getByRole("button", { name: "Use this text" }).click();
  // On a software card, all shaders are compiled first.
  await startButton(page).waitFor({ timeout: TRAINING_MS });
}

/** Drops files, given as names with contents, on the page. */
export function drop(page, files) {
  return page.evaluate((files) => {
    const dataTransfer = new DataTransfer();
    for (const [name, content] of Object.entries(files)) dataTransfer.items.add(new File([content], name));
    document.querySelector("footer").dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true }));
  }, files);
}

/** Waits until the text of this name has been read. */
export const chosen = (page, name) => page.locator(".counts strong", { hasText: name }).waitFor();

export const startButton = (page) => page.getByRole("button", { name: /^Train, about [\d.,]+ (s|min|hours)$/ });
export const downloadButton = (page) => page.getByRole("button", { name: /^Download adapter/ });
export const trained = (page) => downloadButton(page).waitFor({ timeout: TRAINING_MS });
export const banner = (page, card) => page.locator(`#${card} .banner`);

/** Waits until the numbers of card 3 show this step. */
export async function atStep(page, step) {
  await page.waitForFunction(
    (wanted) => Number.parseInt(document.querySelector("#train .numbers dd")?.textContent ?? "0", 10) >= wanted,
    step,
    { timeout: TRAINING_MS },
  );
}

/** The held-out losses, as the table beside the chart has them. */
export async function heldOutLosses(page) {
  const rows = await page.locator("#train tbody tr").evaluateAll((all) => all.map((row) => row.textContent));
  const cells = await page.locator("#train tbody tr td:last-child").allTextContents();
  assert.equal(rows.length, cells.length);
  return cells.map((cell) => Number.parseFloat(cell));
}

export const sizes = [
  { width: 1280, height: 800 },
  { width: 360, height: 740 },
];

const palettes = {
  light: { colorScheme: "light" },
  dark: { colorScheme: "dark" },
  forced: { forcedColors: "active" },
};
const USUAL = { colorScheme: "light", forcedColors: "none" };

/**
 * Takes six pictures, wide and narrow, in light, dark and forced colours: no axe violation in light or dark, no
 * sideways scrolling, nothing to press that is too small for a finger.
 */
export async function inspect(page, name) {
  for (const size of sizes)
    for (const [palette, media] of Object.entries(palettes)) {
      await page.setViewportSize(size);
      await page.emulateMedia({ ...USUAL, ...media });
      const where = `${name}-${size.width}-${palette}`;
      await page.screenshot({ path: screen(where), fullPage: true });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wide <= 0, `${where}: the page is ${wide} px too wide`);
      assert.deepEqual(await page.evaluate(smallTargets, LEAST_TARGET_PX), [], where);
      if (size !== sizes[0] || palette === "forced") continue;
      // In the dark, nothing else differs.
      const axe = new AxeBuilder({ page });
      const { violations } = await (palette === "dark" ? axe.withRules("color-contrast") : axe).analyze();
      const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" | ")}`);
      assert.deepEqual(found, [], where);
    }
  await page.setViewportSize(sizes[0]);
  await page.emulateMedia(USUAL);
}

/** WCAG 2.2, success criterion 2.5.8, which exempts links in a sentence. */
const LEAST_TARGET_PX = 24;

function smallTargets(least) {
  const targets = [...document.querySelectorAll("button, summary, select, textarea, input, a[href]")];
  return targets
    .filter((target) => target.checkVisibility() && getComputedStyle(target).display !== "inline")
    .map((target) => [target, (target.closest("label") ?? target).getBoundingClientRect()])
    .filter(([, { width, height }]) => width < least || height < least)
    .map(([target, { width, height }]) => `${target.outerHTML.slice(0, 80)}: ${width} × ${height} px`);
}

/**
 * The longest task of the page's main thread during `act`, in milliseconds of processor time: what other programs on a
 * busy machine take does not count.
 */
export async function longestTask(page, act) {
  const tracer = page.context().browser();
  await tracer.startTracing(page, { categories: ["toplevel"] });
  await act();
  const { traceEvents } = JSON.parse((await tracer.stopTracing()).toString());
  const isPage = (event) => event.name === "thread_name" && event.args.name === "CrRendererMain";
  const isTask = ({ name, tdur }) => name.endsWith("RunTask") && tdur !== undefined;
  const tasksOf = (thread) =>
    traceEvents.filter((event) => isTask(event) && event.pid === thread.pid && event.tid === thread.tid);
  // A browser may start other pages meanwhile, of which nobody sees anything: this one does most.
  const [tasks = []] = traceEvents
    .filter(isPage)
    .map(tasksOf)
    .sort((a, b) => b.length - a.length);
  assert.ok(tasks.length > 20, "the trace holds no tasks");
  return Math.max(...tasks.map((task) => task.tdur)) / 1000;
}

/** The engine in a worker of `page` traps as soon as the processor computes again. */
export function trap(page, worker = 0) {
  return page.workers()[worker].evaluate(() => {
    Date.now = () => {
      throw new WebAssembly.RuntimeError("unreachable executed");
    };
  });
}

/** The worker of `page` that has the engine, which is started a moment after the page is locked. */
export async function engineWorker(page) {
  return page.workers()[0] ?? (await page.waitForEvent("worker"));
}

/** For `place`, a page or a worker, no time passes any more: what waits for a minute to be over waits for ever. */
export function stopClock(place) {
  return place.evaluate(() => {
    const now = performance.now();
    performance.now = () => now;
  });
}

/** From here on, the worker of `page` records every event of a run. Returns a function that reads them. */
export async function listen(page) {
  const worker = await engineWorker(page);
  await worker.evaluate(() => {
    self.heard = [];
    const post = self.postMessage;
    self.postMessage = (message, ...rest) => {
      if (message.note?.type === "event") self.heard.push(message.note.event);
      return post.call(self, message, ...rest);
    };
  });
  return () => worker.evaluate(() => self.heard);
}

/** The log that the page saves, line by line. The run must be on the screen. */
export async function savedLog(page) {
  if (!(await page.getByRole("button", { name: "Save the log" }).isVisible()))
    await page.getByText("Look inside").click();
  const content = await download(page, page.getByRole("button", { name: "Save the log" }));
  return content
    .toString()
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
}

/** Sends a call to the worker as the page's session does, and waits for the result. */
export function askWorker(worker, call, input) {
  return worker.evaluate(
    ([call, input]) =>
      new Promise((resolve, reject) => {
        const id = -1;
        const post = self.postMessage;
        self.postMessage = (message) => {
          if (message.id !== id) return post.call(self, message);
          if (message.type === "note") return;
          self.postMessage = post;
          if (message.type === "result") resolve(message.value);
          else reject(new Error(JSON.stringify(message)));
        };
        self.dispatchEvent(new MessageEvent("message", { data: { id, call, input } }));
      }),
    [call, input],
  );
}

/** What a button downloads. */
export async function download(page, button) {
  const coming = page.waitForEvent("download");
  await button.click();
  return readFileSync(await (await coming).path());
}

/** Both columns of card 4, once both are written to the end. */
export async function written(page) {
  await page
    .waitForFunction(() => document.querySelectorAll(".column[aria-busy=true]").length > 0, null, { timeout: 2000 })
    .catch(() => {});
  await page.waitForFunction(() => {
    const columns = [...document.querySelectorAll(".column[aria-busy=false] .written")];
    return columns.length === 2 && columns.every((column) => column.textContent.length > 20);
  });
  return page.locator(".column .written").allTextContents();
}

/** All that the browser keeps for the address of `page`. */
export function everythingStored(page) {
  return page.evaluate(async () => {
    const files = [];
    const list = async (folder, path) => {
      for await (const handle of folder.values()) {
        if (handle.kind === "file") files.push(path + handle.name);
        else await list(handle, `${path}${handle.name}/`);
      }
    };
    await list(await navigator.storage.getDirectory(), "");
    return {
      files: files.sort(),
      caches: await caches.keys(),
      databases: await indexedDB.databases(),
      local: localStorage.length,
      session: sessionStorage.length,
      serviceWorkers: (await navigator.serviceWorker.getRegistrations()).length,
      cookies: document.cookie,
    };
  });
}

export function keep(name, content) {
  mkdirSync(join(artefacts, name, ".."), { recursive: true });
  writeFileSync(join(artefacts, name), content);
}
