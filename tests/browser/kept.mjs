/** A finished adapter is kept until its owner has downloaded or forgotten it, whatever happens to the tab. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  address,
  atStep,
  chooseSample,
  close,
  download,
  downloadButton,
  inspect,
  open,
  SMALL,
  startButton,
  trained,
  unzipSync,
  written,
} from "./browser.mjs";

const HASH = `#${SMALL}&steps=12&evalEvery=6&sampleEvery=12`;
/** Long enough to be cancelled. */
const LONGER = `#${SMALL}&steps=200&evalEvery=100&sampleEvery=200`;
const offer = (page) => page.getByRole("region", { name: "An adapter of yours" });
const offered = (page, name) => offer(page).getByRole("button", { name });

describe("an adapter that was not downloaded", () => {
  test("is offered after a reload; trying it and downloading it give what the run gave", async () => {
    const page = await open({ hash: HASH });
    await trainOn(page);
    await page.getByText("even if you close the tab").waitFor();
    assert.equal(await offer(page).count(), 0);
    const beside = await open({ hash: HASH, beside: page });
    await offer(beside).waitFor();

    const asked = await reload(page);
    assert.deepEqual(asked, []);
    assert.match(await offer(page).textContent(), /A captain's log \d+ s ago \(step \d+, held-out loss \d\.\d\d\)/);
    assert.equal(await page.locator("button.primary").count(), 1);
    await inspect(page, "kept-adapter");

    await offered(page, "Try it").click();
    await written(page);
    assert.equal(await offer(page).count(), 0);
    assert.equal(await page.locator("button.primary").count(), 1);
    assert.equal((await stored(page)).length, 1);
    await setAside(page);
    const tried = await download(page, downloadButton(page));
    await nothingStored(page);
    await offer(beside).waitFor({ state: "detached" });
    assert.ok(unzipSync(tried)["adapter_model.safetensors"].length > 10_000);
    assert.match(Buffer.from(unzipSync(tried)["README.md"]).toString(), /kept from \| step \d+, held-out loss/);

    await putBack(page);
    assert.deepEqual(await reload(page), []);
    const direct = await download(page, offered(page, /^Download adapter/));
    assert.ok(direct.equals(tried), "both downloads hold the same bytes");
    await offered(page, "Download again").waitFor();
    assert.equal(await page.locator("button.primary").textContent(), "Choose a file…");
    await inspect(page, "kept-adapter-downloaded");
    assert.deepEqual(await reload(page), []);
    assert.equal(await offer(page).count(), 0);
    assert.deepEqual([...page.faults, ...beside.faults], []);
    await close(page);
  });

  test("survives a crash of the tab, and can be had without an engine", async () => {
    const page = await open({ hash: HASH });
    await trainOn(page);
    const beside = await open({ beside: page, blank: true });
    const devtools = await page.context().newCDPSession(page);
    devtools.send("Page.crash").catch(() => {});
    await page.waitForEvent("crash");
    await beside.unrouteAll();
    await beside.addInitScript(() => delete Navigator.prototype.gpu);
    await beside.goto(`${address()}?device=gpu`);
    await offer(beside).waitFor();
    await beside.getByText("asks for a graphics card, and there is none to use").waitFor();
    assert.ok(await offered(beside, "Try it").isDisabled());
    await inspect(beside, "kept-adapter-no-engine");
    const files = unzipSync(await download(beside, offered(beside, /^Download adapter/)));
    assert.equal(JSON.parse(Buffer.from(files["adapter_config.json"])).peft_type, "LORA");
    await nothingStored(beside);
    await close(page);
  });

  test("makes room for the one of a later run only when that is over, and goes once it is forgotten", async () => {
    const page = await open({ hash: LONGER });
    await trainOn(page);
    const [first] = await stored(page);
    await page.getByRole("button", { name: "Show: Train" }).click();
    await page.getByText("takes the place of your adapter of step").waitFor();
    await inspect(page, "train-again");
    await page.getByRole("button", { name: /^Train again/ }).click();
    await atStep(page, 7);
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.getByText("Your earlier adapter is still here").waitFor();
    await page.waitForFunction(() => document.activeElement.textContent.startsWith("Cancelled"));
    assert.deepEqual(await stored(page), [first]);

    await page.getByRole("button", { name: /^Train again/ }).click();
    await atStep(page, 7);
    assert.deepEqual(await stored(page), [first]);
    await trained(page);
    const [second, ...others] = await stored(page);
    assert.ok(second > first && others.length === 0);

    await reload(page);
    await offer(page).waitFor();
    await offered(page, "Forget it").click();
    await offer(page).waitFor({ state: "detached" });
    await nothingStored(page);
    assert.deepEqual(page.faults, []);
    await close(page);
  });

  test("does not come back once it was downloaded, also after a run that was cancelled", async () => {
    const page = await open({ hash: LONGER });
    await trainOn(page);
    await download(page, downloadButton(page));
    await page.getByRole("button", { name: "Show: Train" }).click();
    await page.getByRole("button", { name: /^Train again/ }).click();
    await atStep(page, 7);
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.getByText("Your earlier adapter is still here").waitFor();
    assert.equal(await page.getByText("It is only in this tab").count(), 0);
    assert.deepEqual(await reload(page), []);
    assert.equal(await offer(page).count(), 0);
    await close(page);
  });

  test("is kept beside its run, if that was stopped and can go on", async () => {
    const page = await open({
      hash: `#${SMALL}&steps=6000&evalEvery=4&sampleEvery=60000`,
    });
    await chooseSample(page);
    await startButton(page).click();
    await atStep(page, 5);
    await page.getByRole("button", { name: "Stop and keep" }).click();
    await trained(page);
    assert.deepEqual(await reload(page), []);
    await offer(page).waitFor();
    await page.getByRole("button", { name: /^Continue where you left off/ }).waitFor();
    assert.equal(await page.locator("button.primary").count(), 1);
    await inspect(page, "kept-adapter-and-run");
    await close(page);
  });
});

describe("a full disk", () => {
  test("is told beside the adapter, and leaving asks", async () => {
    const page = await open({ hash: HASH });
    const devtools = await page.context().newCDPSession(page);
    await devtools.send("Storage.overrideQuotaForOrigin", {
      origin: new URL(page.url()).origin,
      quotaSize: 50_000,
    });
    await trainOn(page);
    await page.getByText("It is only in this tab: download it before you close the tab.").waitFor();
    await page.getByRole("button", { name: "Show: Train" }).click();
    await page.getByText("Your adapter could not be kept in this browser (the browser's storage is full)").waitFor();
    await inspect(page, "not-kept");
    assert.deepEqual(await reload(page), ["beforeunload"]);
    assert.equal(await offer(page).count(), 0);
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

async function nothingStored(page) {
  for (let tries = 0; tries < 100 && (await stored(page)).length > 0; tries++) await page.waitForTimeout(50);
  assert.deepEqual(await stored(page), []);
}

/** Copies the kept adapter to a place where the page does not look, so that it can be put back. */
function setAside(page) {
  return page.evaluate(async () => {
    const root = await navigator.storage.getDirectory();
    const folder = await root.getDirectoryHandle("kept-adapter");
    for await (const handle of folder.values()) {
      const copy = await (await root.getFileHandle(handle.name, { create: true })).createWritable();
      await copy.write(await handle.getFile());
      await copy.close();
    }
  });
}

function putBack(page) {
  return page.evaluate(async () => {
    const root = await navigator.storage.getDirectory();
    const folder = await root.getDirectoryHandle("kept-adapter");
    for await (const handle of root.values()) if (handle.kind === "file") await handle.move(folder);
  });
}

/** The names of the files that hold kept adapters. */
function stored(page) {
  return page.evaluate(async () => {
    const root = await navigator.storage.getDirectory();
    const folder = await root.getDirectoryHandle("kept-adapter").catch(() => null);
    const names = [];
    for await (const name of folder?.keys() ?? []) names.push(name);
    return names;
  });
}
