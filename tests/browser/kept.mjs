/** My adapters: they stay in this browser until their owner deletes them, whatever happens to the tab. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  address,
  atStep,
  chooseSample,
  close,
  download,
  downloadButton,
  engineWorker,
  everythingStored,
  inspect,
  open,
  SMALL,
  savedLog,
  startButton,
  trained,
  unzipSync,
  written,
} from "./browser.mjs";

const HASH = `#${SMALL}&steps=12&evalEvery=6&sampleEvery=12`;
/** Long enough to be cancelled. */
const LONGER = `#${SMALL}&steps=200&evalEvery=100&sampleEvery=200`;
const button = (page) => page.getByRole("button", { name: /^My adapters/ });
const shelf = (page) => page.getByRole("region", { name: "My adapters" });
const entries = (page) => shelf(page).getByRole("listitem");
const press = (page, name, index = 0) => entries(page).nth(index).getByRole("button", { name }).click();
const downloadKept = (page) => entries(page).getByRole("button", { name: "Download" });
const listed = (page, n) =>
  button(page)
    .filter({ hasText: n === 0 ? /^My adapters$/ : `(${n})` })
    .waitFor();

describe("my adapters", () => {
  test("an adapter is there after a reload; trying it and downloading it give what the run gave", async () => {
    const page = await open({ hash: HASH });
    await button(page).click();
    await shelf(page).getByText("None yet.").waitFor();
    await inspect(page, "my-adapters-none");
    await page.keyboard.press("Escape");
    await trainOn(page);
    await page.getByText("until you delete it, even if you close the tab").waitFor();
    const ofTheRun = weightsIn(await download(page, downloadButton(page)));
    const beside = await open({ hash: HASH, beside: page });
    await listed(beside, 1);

    assert.deepEqual(await reload(page), []);
    await listed(page, 1);
    assert.equal(await page.locator("button.primary").textContent(), "Choose a file…");
    await button(page).click();
    assert.match(
      await entries(page).textContent(),
      /kBLearnt from A captain's log \(\d+ kB\), .*; step \d+, held-out loss \d.* Its model: .*, hash [0-9a-f]{8}…/,
    );
    await inspect(page, "my-adapters");
    const coming = page.waitForEvent("download");
    const ofTheShelf = weightsIn(await download(page, downloadKept(page)));
    assert.ok(ofTheShelf.equals(ofTheRun), "both downloads hold the same weights");
    assert.equal((await coming).suggestedFilename(), "A-captain-s-log.zip");

    await press(page, "Try it");
    await written(page);
    assert.equal(await page.locator("button.primary").count(), 1);
    assert.deepEqual(await reload(page), []);

    await button(page).click();
    await press(page, "Rename");
    await inspect(page, "my-adapters-rename");
    await page.keyboard.type("The captain <b>");
    await page.keyboard.press("Enter");
    await entries(page).getByText("The captain <b>", { exact: true }).waitFor();
    await button(beside).click();
    await entries(beside).getByText("The captain <b>", { exact: true }).waitFor();
    assert.equal((await stored(page)).length, 1);

    await press(page, "Delete");
    await inspect(page, "my-adapters-delete");
    await page.keyboard.press("Enter");
    await listed(page, 1);
    await press(page, "Delete");
    await page.getByRole("alertdialog").getByRole("button", { name: "Delete" }).click();
    await listed(page, 0);
    await listed(beside, 0);
    assert.deepEqual(await stored(page), []);
    assert.deepEqual([...page.faults, ...beside.faults], []);
    await close(page);
  });

  test("survive a crash of the tab, and can be had without an engine", async () => {
    const page = await open({ hash: HASH });
    await trainOn(page);
    const beside = await open({ beside: page, blank: true });
    const devtools = await page.context().newCDPSession(page);
    devtools.send("Page.crash").catch(() => {});
    await page.waitForEvent("crash");
    await beside.unrouteAll();
    await beside.addInitScript(() => delete Navigator.prototype.gpu);
    await beside.goto(`${address()}?device=gpu`);
    await button(beside).click();
    await beside.getByText("asks for a graphics card, and there is none to use").waitFor();
    for (const name of ["Try it", "Train on it", "Rename"])
      assert.ok(await entries(beside).getByRole("button", { name }).isDisabled(), name);
    await inspect(beside, "my-adapters-no-engine");
    const files = unzipSync(await download(beside, downloadKept(beside)));
    assert.equal(JSON.parse(Buffer.from(files["adapter_config.json"])).peft_type, "LORA");
    await close(page);
  });

  test("a cancelled run leaves none, a finished one takes nobody's place, and one can be trained on", async () => {
    const page = await open({ hash: LONGER });
    await trainOn(page);
    const [first] = await stored(page);
    await button(page).click();
    await press(page, "Train on it");
    await page.getByRole("button", { name: /^Continue from this adapter, about/ }).click();
    await atStep(page, 7);
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.getByText("Your earlier adapter is still here").waitFor();
    assert.deepEqual(await stored(page), [first]);

    await page.getByRole("button", { name: /^Continue from this adapter, about/ }).click();
    await atStep(page, 7);
    await trained(page);
    await listed(page, 2);
    const names = await shelf(page).locator("li strong bdi").allTextContents();
    assert.deepEqual(names, ["A captain's log 2", "A captain's log"]);
    await inspect(page, "my-adapters-two");
    await page.getByRole("button", { name: "Show: Train" }).click();
    const config = (await savedLog(page)).find(({ type }) => type === "config");
    assert.match(config.initSha256, /^[0-9a-f]{64}$/);
    assert.deepEqual(page.faults, []);
    await close(page);
  });

  test("that of a run which was stopped and went on is one, and keeps its name", async () => {
    const page = await open({ hash: `#${SMALL}&steps=120&evalEvery=40&sampleEvery=400` });
    await chooseSample(page);
    await startButton(page).click();
    await atStep(page, 5);
    await page.getByRole("button", { name: "Stop and keep" }).click();
    await trained(page);
    assert.deepEqual(await reload(page), []);
    await button(page).click();
    await press(page, "Rename");
    await page.keyboard.type("Half-way");
    await page.keyboard.press("Enter");
    await entries(page).getByText("Half-way", { exact: true }).waitFor();
    assert.equal(await page.locator("button.primary").count(), 1);
    await inspect(page, "my-adapters-and-a-run");
    await page.getByRole("button", { name: /^Continue where you left off/ }).click();
    await trained(page);
    await entries(page)
      .getByText(/step \d+, held-out/)
      .waitFor();
    assert.deepEqual(await shelf(page).locator("li strong bdi").allTextContents(), ["Half-way"]);
    await close(page);
  });

  test("one that is tried after a run is printed without that run", async () => {
    const page = await open({ hash: HASH });
    await trainOn(page);
    assert.match(await printed(page), /How it learnt/);
    await button(page).click();
    await press(page, "Try it");
    await page.waitForFunction(() => document.activeElement.id === "keep-title");
    const words = await printed(page);
    assert.match(words, /A language model and its adapter/);
    assert.doesNotMatch(words, /How it learnt/);
    await close(page);
  });

  test("one from a file is kept when the visitor asks", async () => {
    const page = await open({ hash: HASH });
    await trainOn(page);
    const zip = await download(page, downloadButton(page));
    await button(page).click();
    await press(page, "Delete");
    await page.getByRole("alertdialog").getByRole("button", { name: "Delete" }).click();
    await listed(page, 0);
    const file = { name: "a friend's.zip", mimeType: "application/zip", buffer: zip };
    await page.locator("#keep input[type=file]").first().setInputFiles(file);
    await page.getByText("opened from a friend's.zip").waitFor();
    await listed(page, 0);
    await page.getByRole("button", { name: "Keep it in My adapters" }).click();
    await listed(page, 1);
    assert.deepEqual(await reload(page), []);
    await button(page).click();
    await entries(page)
      .getByText(/^Opened from a friend's\.zip, .*\d{4}/)
      .waitFor();
    assert.ok(weightsIn(await download(page, downloadKept(page))).equals(weightsIn(zip)));
    await close(page);
  });

  test("what an older version of the page kept is among them", async () => {
    const page = await open({ hash: HASH });
    await trainOn(page);
    await makeOld(page);
    assert.deepEqual(await reload(page), []);
    await listed(page, 1);
    await button(page).click();
    await press(page, "Rename");
    await page.keyboard.type("From before");
    await page.keyboard.press("Enter");
    await entries(page).getByText("From before", { exact: true }).waitFor();
    await press(page, "Try it");
    await written(page);
    assert.deepEqual(
      (await everythingStored(page)).files.filter((path) => path.startsWith("kept-adapter/")),
      [],
    );
    assert.deepEqual(page.faults, []);
    await close(page);
  });

  test("a damaged one is said to be damaged, and a half-written one goes", async () => {
    const page = await open({ hash: HASH });
    await trainOn(page);
    await damage(page);
    await reload(page);
    await button(page).click();
    await press(page, "Download");
    await shelf(page)
      .getByText(/can no longer be read: it was deleted, or its file is damaged/)
      .waitFor();
    await inspect(page, "my-adapters-damaged");
    await cutShort(page);
    await reload(page);
    await listed(page, 0);
    for (let tries = 0; tries < 100 && (await stored(page)).length > 0; tries++) await page.waitForTimeout(50);
    assert.deepEqual(await stored(page), []);
    await close(page);
  });
});

describe("a full disk", () => {
  test("is told beside the adapter, leaving asks, and what was kept before stays", async () => {
    const page = await open({ hash: HASH });
    await trainOn(page);
    const before = await stored(page);
    const devtools = await page.context().newCDPSession(page);
    const { usage } = await page.evaluate(() => navigator.storage.estimate());
    await devtools.send("Storage.overrideQuotaForOrigin", {
      origin: new URL(page.url()).origin,
      quotaSize: usage + 20_000,
    });
    await page.getByRole("button", { name: "Show: Train" }).click();
    await page.getByRole("button", { name: /^Train again/ }).click();
    await page.getByText("It is only in this tab: download it before you close the tab.").waitFor();
    await page.getByRole("button", { name: "Show: Train" }).click();
    await page.getByText("Your adapter could not be kept in this browser (the browser's storage is full)").waitFor();
    assert.deepEqual(await stored(page), before);
    await inspect(page, "not-kept");
    assert.deepEqual(await reload(page), ["beforeunload"]);
    await listed(page, 1);
    await close(page);
  });
});

describe("a storage that does not answer", () => {
  test("holds up no run: its adapter is there, and it is said that it is not kept", async () => {
    const page = await open({ hash: HASH });
    await (await engineWorker(page)).evaluate(() => {
      FileSystemFileHandle.prototype.createSyncAccessHandle = () => new Promise(() => {});
      const wait = self.setTimeout;
      self.setTimeout = (act, ms) => wait(act, ms >= 60_000 ? 500 : ms);
    });
    await trainOn(page);
    await page.getByText("It is only in this tab: download it before you close the tab.").waitFor();
    await page.getByRole("button", { name: "Show: Train" }).click();
    await page
      .getByText("Your adapter could not be kept in this browser (the browser's storage does not answer)")
      .waitFor();
    assert.deepEqual(page.faults, []);
    await close(page);
  });
});

describe("delete everything", () => {
  test("asks, leaves nothing of the page in the browser, and everything of other pages of the host", async () => {
    const page = await open({ hash: HASH });
    await trainOn(page);
    await page.evaluate(async () => {
      localStorage.setItem("a", "b");
      sessionStorage.setItem("a", "b");
      await caches.open("a");
      const root = await navigator.storage.getDirectory();
      const file = await (await root.getDirectoryHandle("a", { create: true })).getFileHandle("b", { create: true });
      await (await file.createWritable()).close();
      await new Promise((resolve) => {
        indexedDB.open("a").onsuccess = ({ target }) => {
          target.result.close();
          resolve();
        };
      });
    });
    const before = await everythingStored(page);
    assert.ok(before.files.length === 2 && before.caches.includes("a") && before.databases.length === 1);
    await button(page).click();
    await shelf(page)
      .getByText(/takes [\d.,]+ kB; this browser allows about [\d.,]+ GB/)
      .waitFor();
    await page.getByRole("button", { name: "Delete everything…" }).click();
    await page.locator("[role=alertdialog] :focus").waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("alertdialog").waitFor({ state: "detached" });
    assert.equal(await page.evaluate(() => document.activeElement.id), "kept-title");
    await page.getByRole("button", { name: "Delete everything…" }).click();
    await inspect(page, "delete-everything");
    await page.getByRole("alertdialog").getByRole("button", { name: "Delete" }).click();
    await page.getByText("Everything is deleted.").waitFor();
    await inspect(page, "deleted-everything");
    const others = { ...before, files: ["a/b"] };
    assert.deepEqual(await everythingStored(page), others);
    await page.getByText("It is only in this tab: download it before you close the tab.").waitFor();
    assert.deepEqual(page.faults, []);
    await close(page);
  });
});

async function trainOn(page) {
  await chooseSample(page);
  await startButton(page).click();
  await trained(page);
}

/** Reloads, and returns the kinds of questions that were asked. */
async function reload(page) {
  const asked = [];
  page.on("dialog", (dialog) => asked.push(dialog.type()));
  await page.reload();
  await page.getByText("0 network requests since the page was ready").waitFor();
  return asked;
}

/** The words of the sheet. */
async function printed(page) {
  await page.evaluate(() => window.dispatchEvent(new Event("beforeprint")));
  const words = await page.locator(".sheet").textContent();
  await page.evaluate(() => window.dispatchEvent(new Event("afterprint")));
  return words;
}

/** The files that hold adapters. */
async function stored(page) {
  return (await everythingStored(page)).files.filter((path) => path.startsWith("adapters/"));
}

const weightsIn = (zip) => Buffer.from(unzipSync(zip)["adapter_model.safetensors"]);

/** The one adapter, as an older version of the page wrote it. */
function makeOld(page) {
  return page.evaluate(async () => {
    const root = await navigator.storage.getDirectory();
    const [[name, handle]] = await Array.fromAsync((await root.getDirectoryHandle("adapters")).entries());
    const bytes = new Uint8Array(await (await handle.getFile()).arrayBuffer());
    const bodyAt = 44 + new DataView(bytes.buffer).getUint32(40, true);
    const { header, lengths } = JSON.parse(new TextDecoder().decode(bytes.subarray(44, bodyAt)));
    const { id: _, name: __, textBytes: ___, ...old } = header;
    const head = new TextEncoder().encode(JSON.stringify({ header: old, lengths }));
    const rest = new Uint8Array(
      await new Blob([Uint32Array.of(head.length), head, bytes.subarray(bodyAt)]).arrayBuffer(),
    );
    const hash = await crypto.subtle.digest("SHA-256", rest);
    const folder = await root.getDirectoryHandle("kept-adapter", { create: true });
    const file = await (await folder.getFileHandle(name, { create: true })).createWritable();
    await file.write(new Blob(["tabtune1", hash, rest]));
    await file.close();
    await root.removeEntry("adapters", { recursive: true });
  });
}

const damage = (page) => change(page, { type: "write", data: "xxx" });
const cutShort = (page) => change(page, { type: "truncate" });

/** Changes the file of the one adapter, near its end. */
function change(page, how) {
  return page.evaluate(async (how) => {
    const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("adapters");
    for await (const handle of folder.values()) {
      const near = (await handle.getFile()).size - 1000;
      const writable = await handle.createWritable({ keepExistingData: true });
      await writable.write({ ...how, position: near, size: near });
      await writable.close();
    }
  }, how);
}
