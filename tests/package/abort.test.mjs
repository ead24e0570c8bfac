/**
 * Whatever is under way can be given up at any moment: it settles, the model stays usable, and nothing is left behind.
 * In Chromium. `ROUNDS=200` gives up more often, `SEED=7` at other moments.
 */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch } from "../../www/demo/chromium.mjs";
import { install, openPage, serveFolder, workersOf } from "./installed.mjs";

const rounds = Number(process.env.ROUNDS ?? 20);
const seed = Number(process.env.SEED ?? 1);
/** What a page may keep of a model that was destroyed: far less than any of its parts. */
const KEPT_BYTES = 1_000_000;

let browser;
let server;
let page;

before(async () => {
  server = await serveFolder(install("abort", "plain"));
  browser = await launch();
  page = await openPage(browser);
  await page.goto(server.address);
  await page.locator("output:not(:empty)").waitFor({ state: "attached" });
});
after(async () => {
  await browser.close();
  server.close();
});

test(`work is given up at ${rounds} random moments, and nothing is left of it`, async (t) => {
  const first = await giveUp(5);
  const heap = await usedHeap();
  const { ends, longest, before, after, written } = await giveUp(rounds);
  const grown = (await usedHeap()) - heap;
  const counts = Object.entries(ends).map(([end, count]) => `${count} × ${end}`);
  t.diagnostic(`${counts.join(", ")}; at most ${JSON.stringify(longest)}; the page's heap grew by ${grown} bytes`);
  const others = Object.keys(ends).filter((end) => !/^\w+ (aborted|finished)$/.test(end));
  assert.deepEqual(others, []);
  assert.ok(counts.some((count) => count.endsWith("aborted")));
  assert.deepEqual(after, before);
  assert.equal(written, first.written);
  assert.deepEqual(await workersOf(page), []);
  assert.ok(grown < KEPT_BYTES, `the page's heap grew by ${grown} bytes`);
});

function giveUp(times) {
  return page.evaluate(async ([times, seed]) => (await import("./abort.js")).giveUp(times, seed), [times, seed]);
}

async function usedHeap() {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("HeapProfiler.collectGarbage");
  const { usedSize } = await devtools.send("Runtime.getHeapUsage");
  return usedSize;
}
