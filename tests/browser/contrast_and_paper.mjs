/** The result for eyes that need their own colours, and on paper. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { chooseSample, close, inspect, keep, open, SMALL, screen, startButton, trained, written } from "./browser.mjs";

const FEW = `#${SMALL}&steps=12&lr=0.002&evalEvery=4&sampleEvery=6`;
const settle = (page) => page.waitForTimeout(300);

describe("a finished run", () => {
  let page;
  before(async () => {
    page = await open({ hash: FEW });
    await page.addInitScript(rememberPrinted);
    await page.reload();
    await chooseSample(page);
    await startButton(page).click();
    await trained(page);
    await written(page);
    await page.getByRole("button", { name: "Show: Train" }).click();
  });
  after(() => close(page));

  test("in forced colours, the chart has the visitor's colours, each word on its background", async () => {
    await inspect(page, "finished");
    const light = await redrawn(page, ["var(--accent)"]);
    await page.emulateMedia({ forcedColors: "active" });
    await redrawn(page, ["Canvas", "CanvasText", "LinkText"]);
    assert.notEqual(await numberBackground(page, "open"), await numberBackground(page, "done"));
    await page.emulateMedia({ forcedColors: "none", colorScheme: "dark" });
    const dark = await redrawn(page, ["var(--accent)"]);
    await page.emulateMedia({ forcedColors: "none", colorScheme: "light" });
    assert.deepEqual(await redrawn(page, ["var(--accent)"]), light);
    assert.notDeepEqual(dark, light);
  });

  test("is printed as a page of its own: what was used, the curve in light colours, before and after", async () => {
    await page.emulateMedia({ colorScheme: "light" });
    await settle(page);
    const accent = await resolved(page, "var(--accent)");
    await page.emulateMedia({ colorScheme: "dark" });
    keep("result.pdf", await page.pdf({ format: "A4" }));
    await page.waitForFunction(() => window.printed);
    const printed = await page.evaluate(() => window.printed);
    assert.match(printed, /learnt from A captain's log/);
    assert.match(printed, /12 steps in .*less surprised by your text/);
    assert.match(printed, /Printed on \d+ \w+ \d{4}/);
    assert.match(printed, /Learning rate<\/dt><dd>0.002/);
    assert.match(printed, /before training/);
    for (const column of await page.locator(".column .written").allTextContents())
      assert.ok(printed.includes(column.slice(-20)), column);
    const colours = await chartColours(page, "printedChart");
    assert.ok(colours.includes(accent), `${accent} is not among ${colours}`);
    await page.locator(".sheet").waitFor({ state: "detached" });
    assert.deepEqual(page.faults, []);
  });

  test("nothing to press is printed, with the result or before there is one", async () => {
    await page.emulateMedia({ media: "print" });
    await page.evaluate(() => window.dispatchEvent(new Event("beforeprint")));
    await page.locator(".sheet canvas").waitFor();
    assert.deepEqual(await pressable(page), []);
    await page.setViewportSize({ width: 720, height: 1000 });
    await page.screenshot({ path: screen("printed"), fullPage: true });
    const fresh = await open();
    await fresh.getByText("0 network requests since the page was ready").waitFor();
    await fresh.emulateMedia({ media: "print" });
    assert.deepEqual(await pressable(fresh), []);
    await fresh.screenshot({
      path: screen("printed-first-visit"),
      fullPage: true,
    });
    await close(fresh);
  });
});

/** Called before the page itself hears that it has been printed, when the sheet is still there. */
function rememberPrinted() {
  window.addEventListener("afterprint", () => {
    window.printed = document.querySelector(".sheet").innerHTML;
    window.printedChart = document.querySelector(".sheet canvas");
  });
}

function pressable(page) {
  return page.evaluate(() =>
    [...document.querySelectorAll("button, input, select, textarea, summary")]
      .filter((control) => control.checkVisibility())
      .map((control) => control.outerHTML.slice(0, 80)),
  );
}

/** A colour as the browser resolves it. */
function resolved(page, colour) {
  return page.evaluate((wanted) => {
    const probe = document.body.appendChild(document.createElement("i"));
    probe.style.forcedColorAdjust = "none";
    probe.style.color = wanted;
    const { color } = getComputedStyle(probe);
    probe.remove();
    return color;
  }, colour);
}

const numberBackground = (page, state) =>
  page.evaluate((of) => getComputedStyle(document.querySelector(`.${of} .number`)).backgroundColor, state);

/** The chart's colours once it has been drawn with all of `wanted`: it follows a change of palette a moment later. */
async function redrawn(page, wanted) {
  for (let tries = 0; ; tries++) {
    await settle(page);
    const colours = await chartColours(page);
    const missing = [];
    for (const name of wanted) if (!colours.includes(await resolved(page, name))) missing.push(name);
    if (!missing.length) return colours;
    assert.ok(tries < 20, `${missing} are not among ${colours}`);
  }
}

/** The opaque colours that fill more than a few pixels of the chart. */
function chartColours(page, kept) {
  return page.evaluate((name) => {
    const canvas = name ? window[name] : document.querySelector("#train canvas");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const pixels = {};
    for (let at = 0; at < data.length; at += 4) {
      const colour = `rgb(${data[at]}, ${data[at + 1]}, ${data[at + 2]})`;
      if (data[at + 3] === 255) pixels[colour] = (pixels[colour] ?? 0) + 1;
    }
    return Object.keys(pixels)
      .filter((colour) => pixels[colour] > 20)
      .sort();
  }, kept);
}
