/** After the first visit the page opens and trains without a network; versions of it never mix; it can be installed. */

import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { writeServiceWorker } from "../../www/offline/list.mjs";
import { chooseSample, close, everythingStored, inspect, open, SMALL, startButton, trained } from "./browser.mjs";
import { dist, plainHost } from "./plain_host.mjs";

const HASH = `#${SMALL}&steps=6&evalEvery=3&sampleEvery=6`;
const NOTE = "A new version of this page is ready. You get it once every tab of this page is closed.";

describe("without a network", () => {
  test("the second visit trains, under any path of a host", async () => {
    const host = await plainHost({ under: "/a/b/" });
    const page = await open({ hash: HASH, at: host.address, offline: true });
    await keptOffline(page);
    host.stop();
    await page.goto("about:blank");
    await page.goto(`${host.address}?device=cpu${HASH}`);
    await ready(page);
    await chooseSample(page, "A cook's book");
    await startButton(page).click();
    await trained(page);
    await inspect(page, "offline");
    assert.deepEqual(page.faults, []);
    await close(page);
  });

  test("after everything was deleted, nothing is left of the copy, and the page asks the host again", async () => {
    const host = await plainHost();
    const page = await open({ hash: HASH, at: host.address, offline: true });
    await keptOffline(page);
    await page.reload();
    await ready(page);
    await page.getByRole("button", { name: "My adapters" }).click();
    await page.getByRole("button", { name: "Delete everything…" }).click();
    await page.getByRole("alertdialog").getByRole("button", { name: "Delete" }).click();
    await page.getByText("Everything is deleted.").waitFor();
    const { files, caches, serviceWorkers } = await everythingStored(page);
    assert.deepEqual({ files, caches, serviceWorkers }, { files: [], caches: [], serviceWorkers: 0 });
    const before = host.asked.length;
    await page.reload();
    await ready(page);
    assert.ok(
      host.asked.slice(before).some((path) => /\/tabtune_bg-.*\.wasm$/.test(path)),
      String(host.asked),
    );
    host.stop();
    await close(page);
  });
});

describe("a new version", () => {
  let folder;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "tabtune-"));
    cpSync(dist, folder, { recursive: true });
  });
  after(() => rmSync(folder, { recursive: true }));

  const edit = (path, change) => writeFileSync(join(folder, path), change(readFileSync(join(folder, path), "utf8")));
  const title = (page) => page.evaluate(() => document.querySelector("meta[name=description]").content);

  test("waits as a whole until no tab has the old one, and is announced", async () => {
    const host = await plainHost({ folder });
    const page = await open({ at: host.address, offline: true });
    await keptOffline(page);
    assert.equal(await page.getByText(NOTE).count(), 0);

    // A host that is in the middle of an update: the list is new, and one of the files is still old.
    edit("index.html", (html) => html.replace(/Teach a small/, "Version two: teach a small"));
    await writeServiceWorker(folder);
    edit("index.html", (html) => html.replace("Version two: teach", "Teach"));
    await page.reload();
    await ready(page);
    assert.equal(await page.evaluate(update), "redundant");
    // The browser may look for a new version of its own accord, too, and it ends in the same way.
    await page.waitForFunction(async () => {
      const { installing, waiting } = await navigator.serviceWorker.getRegistration();
      return !installing && !waiting && (await caches.keys()).length === 1;
    });
    assert.equal(await page.getByText(NOTE).count(), 0);

    edit("index.html", (html) => html.replace(/Teach a small/, "Version two: teach a small"));
    const second = await open({ at: host.address, beside: page });
    await second.getByText(NOTE).waitFor();
    await page.getByText(NOTE).waitFor();
    await inspect(page, "new-version");
    await page.reload();
    await ready(page);
    assert.match(await title(page), /^Teach a small/);
    const old = (await everythingStored(page)).caches;
    assert.equal(old.length, 2);

    await second.goto("about:blank");
    // The browser takes a moment to notice that no tab has the old one any more.
    for (let visits = 0; visits < 20 && !/^Version two/.test(await title(page)); visits++) {
      await page.goto("about:blank");
      await page.waitForTimeout(100);
      await page.goto(host.address);
      await ready(page);
    }
    assert.match(await title(page), /^Version two/);
    await page.waitForFunction(async () => (await caches.keys()).length === 1);
    assert.equal(await page.getByText(NOTE).count(), 0);
    assert.deepEqual([...page.faults, ...second.faults], []);
    host.stop();
    await close(page);
  });
});

test("the service worker listens to nothing but what it is there for", () => {
  const script = readFileSync(join(dist, "service-worker.js"), "utf8");
  const events = [...script.matchAll(/addEventListener\("(\w+)"/g)].map(([, name]) => name);
  assert.deepEqual(events, ["install", "activate", "fetch"]);
  assert.doesNotMatch(script, /\bon(message|push|sync)\b|importScripts/);
});

test("the page can be installed", async () => {
  const host = await plainHost({ under: "/a/b/" });
  const page = await open({ at: host.address, offline: true });
  await keptOffline(page);
  const devtools = await page.context().newCDPSession(page);
  const { errors, manifest } = await devtools.send("Page.getAppManifest");
  assert.deepEqual(errors, []);
  assert.equal(manifest.startUrl, host.address);
  // A context of a test is like a private window, into which nothing is installed.
  const { installabilityErrors } = await devtools.send("Page.getInstallabilityErrors");
  assert.deepEqual(
    installabilityErrors.filter(({ errorId }) => errorId !== "in-incognito"),
    [],
  );
  assert.deepEqual(page.faults, []);
  host.stop();
  await close(page);
});

const ready = (page) => page.getByText("0 network requests since the page was ready").waitFor();

/** In the page: has the browser look for a new version, and returns what became of it. */
async function update() {
  const registration = await navigator.serviceWorker.getRegistration();
  // A look that the browser is just ending finds nothing.
  let installing = null;
  for (let tries = 0; !installing && tries < 20; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    ({ installing } = await registration.update());
  }
  while (installing?.state === "installing") await new Promise((resolve) => setTimeout(resolve, 20));
  return installing?.state;
}

/** Waits until the copy is whole. */
async function keptOffline(page) {
  await ready(page);
  await page.evaluate(() => navigator.serviceWorker.ready);
  await page.waitForFunction(
    async () => (await navigator.serviceWorker.getRegistration()).active.state === "activated",
  );
}
