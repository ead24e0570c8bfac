/** A run that a closed tab cut short continues at the right step, whatever was torn, and can be deleted for good. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  atStep,
  chooseSample,
  close,
  engineWorker,
  inspect,
  listen,
  open,
  SMALL,
  savedLog,
  startButton,
  stopClock,
  trained,
} from "./browser.mjs";

const STEPS = 120;
const ALL = new RegExp(`^${STEPS} steps in`);
const HASH = `#${SMALL}&steps=${STEPS}&evalEvery=20&sampleEvery=20`;
const continueButton = (page) => page.getByRole("button", { name: /^Continue where you left off/ });

describe("a closed tab", () => {
  test("costs no more than the steps since the last run state, and the run ends as if whole", async () => {
    const whole = await open({ hash: HASH });
    await chooseSample(whole);
    await startButton(whole).click();
    await trained(whole);
    await whole.getByRole("button", { name: "Show: Train" }).click();
    const expected = await savedLog(whole);
    assert.deepEqual(await stored(whole), []);
    await close(whole);

    const first = await open({ hash: HASH });
    await chooseSample(first);
    await startButton(first).click();
    await pauseAt(first, 3);
    await first.getByRole("button", { name: "Resume" }).click();
    await pauseAt(first, 7);
    await first.getByRole("button", { name: "Resume" }).click();
    const step = await pauseAt(first, 11);
    const older = Math.min(...(await stored(first)).flatMap(({ step }) => step ?? []));
    assert.deepEqual((await stored(first)).map(({ name }) => name).sort(), ["run", "state-a", "state-b"]);
    const second = await open({ beside: first });
    await first.close();

    await continueButton(second).waitFor();
    assert.equal(await stepOffered(second), step);
    assert.match(await second.locator(".offer").textContent(), /A captain's log/);
    assert.equal(await second.locator("button.primary").count(), 1);
    await inspect(second, "unfinished-run");

    // As after a kill in the middle of the next write, by a page that had older names for its files.
    await tear(second);
    await giveOldNames(second);
    await second.reload();
    await continueButton(second).waitFor();
    assert.equal(await stepOffered(second), older);

    const events = await listen(second);
    await continueButton(second).click();
    await atStep(second, older + 1);
    const heard = await events();
    const told = heard.findIndex(({ type, phase }) => type === "phase" && phase === "training");
    assert.equal(heard.slice(told).find(({ type }) => type === "step").step, older + 1);
    await trained(second);
    assert.match(await second.locator("#train .done-line").textContent(), ALL);
    assert.match(await second.locator("#text .done-line").textContent(), /A captain's log/);
    await second.getByRole("button", { name: "Show: Train" }).click();
    const log = await savedLog(second);
    for (const type of ["step", "eval", "sample"]) assert.deepEqual(facts(log, type), facts(expected, type), type);
    assert.deepEqual(await stored(second), []);
    assert.equal(await continueButton(second).count(), 0);
    assert.deepEqual(second.faults, []);
    await close(second);
  });

  test("with nothing whole left, there is no offer, and the text is gone too", async () => {
    const page = await open({ hash: HASH });
    await chooseSample(page);
    await startButton(page).click();
    await pauseAt(page, 3);
    await flip(page);
    await page.reload();
    await page.getByText("0 network requests since the page was ready").waitFor();
    await page.waitForFunction(async () => {
      const root = await navigator.storage.getDirectory();
      for await (const _ of root.keys()) return false;
      return true;
    });
    assert.equal(await continueButton(page).count(), 0);
    await close(page);
  });
});

describe("a run under way", () => {
  test("can go on after a reload from its first evaluation on, without anybody having saved it", async () => {
    const page = await open({ hash: `#${SMALL}&steps=6000&evalEvery=10&sampleEvery=6000` });
    await chooseSample(page);
    // It would be saved after half a minute, too.
    await stopClock(await engineWorker(page));
    await startButton(page).click();
    await saved(page);
    await page.reload();
    await continueButton(page).waitFor();
    const step = await stepOffered(page);
    assert.ok(step >= 10);
    await continueButton(page).click();
    await atStep(page, step + 1);
    await page.getByRole("button", { name: "Stop and keep" }).click();
    await trained(page);
    assert.deepEqual(page.faults, []);
    await close(page);
  });

  for (const signal of ["visibilitychange", "freeze", "pagehide"])
    test(`is saved at the event ${signal} of a page that is hidden`, async () => {
      const page = await open({ hash: `#${SMALL}&steps=60000&evalEvery=60000&sampleEvery=60000` });
      await chooseSample(page);
      await startButton(page).click();
      await atStep(page, 3);
      const shown = await page.evaluate((signal) => {
        Object.defineProperty(document, "visibilityState", { value: "hidden", configurable: true });
        document.dispatchEvent(new Event(signal, { bubbles: true }));
        return Number.parseInt(document.querySelector("#train .numbers dd").textContent, 10);
      }, signal);
      // What is saved anyway comes half a minute or sixty steps after the start.
      const { step } = await saved(page);
      assert.ok(step >= shown && step <= shown + 40, `hidden at step ${shown}, saved at ${step}`);
      await close(page);
    });
});

describe("a run that was stopped", () => {
  test("can continue at once, or be forgotten", async () => {
    const page = await open({ hash: `#${SMALL}&steps=6000&evalEvery=100&sampleEvery=6000` });
    await chooseSample(page);
    await startButton(page).click();
    await atStep(page, 4);
    await page.getByRole("button", { name: "Stop and keep" }).click();
    await trained(page);
    await continueButton(page).waitFor();
    const step = await stepOffered(page);
    await inspect(page, "stopped");
    await continueButton(page).click();
    await atStep(page, step + 1);
    await page.getByRole("button", { name: "Stop and keep" }).click();
    await trained(page);
    assert.ok((await stored(page)).length > 0);
    await page.getByRole("button", { name: "Forget it" }).click();
    await page.locator(".offer").waitFor({ state: "detached" });
    assert.deepEqual(await stored(page), []);
    assert.deepEqual(page.faults, []);
    await close(page);
  });

  test("is deleted when it is cancelled", async () => {
    const page = await open({ hash: HASH });
    await chooseSample(page);
    await startButton(page).click();
    await pauseAt(page, 3);
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.getByRole("button", { name: /^Train again/ }).waitFor();
    assert.deepEqual(await stored(page), []);
    assert.equal(await continueButton(page).count(), 0);
    await close(page);
  });
});

describe("a full disk", () => {
  test("is reported, and the run goes on", async () => {
    const page = await open({ hash: HASH });
    const devtools = await page.context().newCDPSession(page);
    await devtools.send("Storage.overrideQuotaForOrigin", { origin: new URL(page.url()).origin, quotaSize: 100_000 });
    await chooseSample(page);
    await startButton(page).click();
    await atStep(page, 3);
    await page.getByRole("button", { name: "Pause" }).click();
    await page.getByText("This run could not be saved").waitFor();
    await inspect(page, "not-saved");
    await page.getByRole("button", { name: "Resume" }).click();
    await trained(page);
    assert.match(await page.locator("#train .done-line").textContent(), ALL);
    assert.deepEqual(page.faults, []);
    await close(page);
  });
});

/** Waits for the first run state, and returns what its header says. */
async function saved(page) {
  for (let tries = 0; tries < 600; tries++) {
    const state = (await stored(page)).find(({ generation }) => generation > 0);
    if (state) return state;
    await page.waitForTimeout(100);
  }
  assert.fail(`no run state: ${await page.locator("#train").textContent()}`);
}

/** Pauses after `step`, and returns the step that is saved then. */
async function pauseAt(page, step) {
  await atStep(page, step);
  await page.getByRole("button", { name: "Pause" }).click();
  const words = await page.getByText(/Step \d+ is saved, so you may close this tab/).textContent();
  return Number(words.match(/Step (\d+) is saved/)[1]);
}

async function stepOffered(page) {
  return Number((await continueButton(page).textContent()).match(/step (\d+) of [\d,]+/)[1]);
}

/** The files that the page keeps, and what their headers say; nothing yet of one that is being written just now. */
function stored(page) {
  return page.evaluate(async () => {
    const root = await navigator.storage.getDirectory();
    const folder = await root.getDirectoryHandle("unfinished-run").catch(() => null);
    const files = [];
    for await (const handle of folder?.values() ?? []) {
      const file = await handle.getFile();
      const bytes = await file.arrayBuffer().catch(() => new ArrayBuffer());
      const length = bytes.byteLength >= 44 ? new DataView(bytes).getUint32(40, true) : 0;
      const head =
        length && bytes.byteLength >= 44 + length ? new TextDecoder().decode(new Uint8Array(bytes, 44, length)) : "{}";
      files.push({ name: handle.name, ...JSON.parse(head).header });
    }
    return files;
  });
}

/** Flips the bits of one byte in every run state. */
function flip(page) {
  return page.evaluate(async () => {
    const root = await navigator.storage.getDirectory();
    const folder = await root.getDirectoryHandle("unfinished-run");
    for await (const handle of folder.values()) {
      if (!handle.name.startsWith("state-")) continue;
      const file = await handle.getFile();
      const position = file.size - 1000;
      const [byte] = new Uint8Array(await file.slice(position, position + 1).arrayBuffer());
      const writable = await handle.createWritable({ keepExistingData: true });
      await writable.write({ type: "write", position, data: Uint8Array.of(byte ^ 0xff) });
      await writable.close();
    }
  });
}

/** Cuts the newest run state short. */
async function tear(page) {
  const files = (await stored(page)).filter(({ generation }) => generation > 0);
  const newest = files.reduce((a, b) => (a.generation > b.generation ? a : b));
  await page.evaluate(async (name) => {
    const root = await navigator.storage.getDirectory();
    const folder = await root.getDirectoryHandle("unfinished-run");
    const handle = await folder.getFileHandle(name);
    const half = (await handle.getFile()).size >> 1;
    const writable = await handle.createWritable({ keepExistingData: true });
    await writable.truncate(half);
    await writable.close();
  }, newest.name);
}

function giveOldNames(page) {
  return page.evaluate(async () => {
    const root = await navigator.storage.getDirectory();
    const folder = await root.getDirectoryHandle("unfinished-run");
    for (const name of ["a", "b"]) await (await folder.getFileHandle(`state-${name}`)).move(`checkpoint-${name}`);
  });
}

/** Events of a type, without what depends on the clock. */
function facts(log, type) {
  return log.filter((event) => event.type === type).map(({ tokensPerSecond: _, etaMs: __, ...rest }) => rest);
}
