/** What a visitor learns of a run while looking at another tab: its title, and a notification if they want one. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { atStep, banner, chooseSample, close, inspect, open, SMALL, startButton, trained, trap } from "./browser.mjs";

const LONG = `#${SMALL}&steps=60000&evalEvery=60000&sampleEvery=60000`;
const OFFER = "Tell me when it is done";
const tellMe = (page) => page.getByRole("checkbox", { name: OFFER });

describe("the title of the tab", () => {
  test("shows how far the run is, a pause, and the end", async () => {
    const page = await open({ hash: `#${SMALL}&steps=200&lr=0.002&evalEvery=100&sampleEvery=200` });
    const usual = await page.title();
    await chooseSample(page);
    assert.equal(await page.title(), usual);
    await startButton(page).click();
    await titled(page, /^[1-9]\d? % · tabtune$/);
    await page.getByRole("button", { name: "Pause" }).click();
    await titled(page, /^Paused at \d+ % · tabtune$/);
    await page.getByRole("button", { name: "Resume" }).click();
    await titled(page, /^Done: \d+ % less surprised · tabtune$/);
    await page.getByRole("button", { name: "Show: Train" }).click();
    await page.getByRole("button", { name: /^Train again/ }).click();
    await titled(page, /^\d+ % · tabtune$/);
    await page.getByRole("button", { name: "Cancel" }).click();
    await titled(page, new RegExp(`^${usual}$`));
    assert.deepEqual(page.faults, []);
    await close(page);
  });

  test("says that an error ended the run", async () => {
    const page = await open({ hash: LONG });
    await chooseSample(page);
    await startButton(page).click();
    await atStep(page, 1);
    await trap(page);
    await banner(page, "train").waitFor();
    await titled(page, /^Stopped by an error · tabtune$/);
    await close(page);
  });
});

describe("a notification", () => {
  test("is offered for a long run, and comes when it ends out of sight", async () => {
    const page = await open({ hash: LONG });
    await page.context().grantPermissions(["notifications"]);
    await page.addInitScript(remember);
    await page.reload();
    await chooseSample(page);
    await startButton(page).click();
    await tellMe(page).waitFor();
    await inspect(page, "notification-offered");
    assert.deepEqual(await shown(page), []);
    await tellMe(page).click();
    await page.getByText("If this tab is out of sight when the run ends").waitFor();
    await page.waitForFunction(() => window.shown.length === 1);
    assert.deepEqual(await shown(page), ["You will be told here when the run has ended."]);
    await page.evaluate(leave);
    await page.getByRole("button", { name: "Stop and keep" }).click();
    await page.waitForFunction(() => window.shown.length === 2);
    assert.match((await shown(page))[1], /^Done: /);
    assert.deepEqual(page.faults, []);
    await close(page);
  });

  test("that the browser refuses is said, and the run goes on", async () => {
    const page = await open({ hash: LONG });
    await chooseSample(page);
    await startButton(page).click();
    await tellMe(page).click();
    await page.getByText("This browser does not let the page show notifications.").waitFor();
    assert.equal(await tellMe(page).isChecked(), false);
    await inspect(page, "notification-refused");
    await page.getByRole("button", { name: "Cancel" }).click();
    assert.deepEqual(page.faults, []);
    await close(page);
  });

  test("is not offered for a run that is over in a moment", async () => {
    const page = await open({ hash: `#${SMALL}&steps=6&evalEvery=6&sampleEvery=6` });
    await chooseSample(page);
    await page.evaluate(watchFor, OFFER);
    await startButton(page).click();
    await trained(page);
    assert.equal(await page.evaluate(() => window.seen), false);
    await close(page);
  });
});

/** The page remembers whether these words were ever in card 3. */
function watchFor(words) {
  window.seen = false;
  const look = () => {
    window.seen ||= document.querySelector("#train").textContent.includes(words);
  };
  new MutationObserver(look).observe(document, { subtree: true, childList: true, characterData: true });
}

/** The page remembers which notifications the browser has shown. */
function remember() {
  window.shown = [];
  window.Notification = class extends Notification {
    constructor(title, options) {
      super(title, options);
      this.addEventListener("show", () => window.shown.push(options.body));
    }
  };
}

const shown = (page) => page.evaluate(() => window.shown);

/** A browser without a display takes every tab to be visible, so the page is told what a hidden tab is told. */
function leave() {
  Object.defineProperty(document, "visibilityState", { get: () => "hidden" });
  document.dispatchEvent(new Event("visibilitychange"));
}

const titled = (page, pattern) =>
  page.waitForFunction((source) => new RegExp(source).test(document.title), pattern.source);
