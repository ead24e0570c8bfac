/** Without WebGPU the page says so, says what to do, and the text card still works. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { launch } from "../../www/demo/chromium.mjs";
import { address, banner, drop, inspect, open } from "./browser.mjs";

const linux = "X11; Linux x86_64";
const mac = "Macintosh; Intel Mac OS X 10_15_7";
const windows = "Windows NT 10.0; Win64; x64";
const android = "Linux; Android 14; Pixel 8";
const iphone = "iPhone; CPU iPhone OS 18_0 like Mac OS X";
const webkit = "AppleWebKit/605.1.15 (KHTML, like Gecko)";
const blink = "AppleWebKit/537.36 (KHTML, like Gecko)";

/** What each browser says that it is, and what its visitor must read. */
const agents = {
  [`(${linux}; rv:150.0) Gecko/20100101 Firefox/150.0`]: /Firefox has no WebGPU on Linux yet.*Use Chrome or Edge/,
  "(Android 14; Mobile; rv:150.0) Gecko/150.0 Firefox/150.0": /Firefox has no WebGPU on Android yet/,
  [`(${windows}; rv:130.0) Gecko/20100101 Firefox/130.0`]: /from version 141 on\..*Update Firefox/,
  [`(${windows}; rv:150.0) Gecko/20100101 Firefox/150.0`]: /but does not offer it here\.What to do: Use Chrome or Edge/,
  "(Macintosh; Intel Mac OS X 10.15; rv:140.0) Gecko/20100101 Firefox/140.0":
    /version 147 on, with Apple silicon only\./,
  [`(${mac}) ${webkit} Version/18.0 Safari/605.1.15`]: /Safari has WebGPU from macOS 26/,
  [`(${iphone}) ${webkit} Version/18.0 Mobile/15E148 Safari/604.1`]: /Update to iOS 26/,
  [`(${iphone}) ${webkit} CriOS/140.0 Mobile/15E148 Safari/604.1`]: /Update to iOS 26/,
  [`(${iphone}) ${webkit} Mobile/15E148 [FBAN/FBIOS;FBAV/500.0]`]: /inside another app.*Safari with iOS 26/,
  [`(${android}; wv) ${blink} Version/4.0 Chrome/140.0.0.0 Mobile Safari/537.36`]: /inside another app/,
  [`(${android}) ${blink} Chrome/120.0.0.0 Mobile Safari/537.36`]: /Chrome on Android.*version 121/,
  [`(${linux}) ${webkit} Version/26.0 Safari/605.1.15`]: /This browser has no WebGPU\..*Use a current Chrome or Edge/,
  [`(${linux}) ${blink} Chrome/143.0.0.0 Safari/537.36`]: /enable-unsafe-webgpu/,
  [`(X11; CrOS x86_64 14541.0.0) ${blink} Chrome/143.0.0.0 Safari/537.36`]: /Update ChromeOS/,
  [`(${windows}) ${blink} Chrome/112.0.0.0 Safari/537.36`]: /from version 113 on\..*Update the browser\./,
  [`(${windows}) ${blink} Chrome/143.0.0.0 Safari/537.36`]: /Update the graphics driver/,
};

describe("without WebGPU", () => {
  let browser;
  let page;
  before(async () => {
    browser = await launch({ webgpu: false });
    page = await open({ from: browser });
  });
  after(() => browser.close());

  test("the strip says why, and what to do in this browser", async () => {
    const strip = page.getByRole("alert");
    await strip.waitFor();
    assert.match(await strip.textContent(), /This browser cannot train/);
    assert.match(await strip.textContent(), /chrome:\/\/flags|Update/);
  });

  test("a text can still be chosen and looked at, and nothing breaks", async () => {
    await page.getByRole("button", { name: "A fool at supper" }).click();
    await page.getByText("It begins:").waitFor();
    assert.ok((await page.locator("blockquote p").count()) >= 3);
    await page.getByText("cannot learn from it. To go on, open this page as the top of it says").waitFor();
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    await page.getByRole("button", { name: "Copy the address" }).click();
    await page.getByRole("button", { name: "Copied" }).waitFor();
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), page.url());
    await inspect(page, "no-webgpu");
    assert.deepEqual(page.faults, []);
  });

  test("nothing on the page promises a graphics card, and card 4 says where adapters work", async () => {
    assert.doesNotMatch(await page.locator("body").textContent(), /your own graphics card|in this tab/);
    assert.match(await page.locator("#keep").textContent(), /works in browsers with WebGPU, and in Python/);
    await drop(page, { "adapter.zip": "PK, and in its list: adapter_config.json" });
    await banner(page, "keep").getByText("works only together with the model").waitFor();
    assert.deepEqual(page.faults, []);
  });

  test("over plain http it says so, and nothing breaks where the browser offers less", async () => {
    const plain = "http://page.test/";
    const context = await browser.newContext();
    await context.route(`${plain}**`, async (route) => {
      const path = route.request().url().slice(plain.length);
      await route.fulfill({ response: await route.fetch({ url: address() + path }) });
    });
    const visitor = await context.newPage();
    const faults = [];
    visitor.on("pageerror", (error) => faults.push(error.message));
    await visitor.goto(plain);
    assert.match(await visitor.getByRole("alert").textContent(), /plain http.*Open it with https/);
    await visitor.getByRole("button", { name: "A fool at supper" }).click();
    await visitor.getByText("To go on, open this page as the top of it says").waitFor();
    assert.equal(await visitor.getByRole("button", { name: "Copy the address" }).count(), 0);
    assert.deepEqual(faults, []);
    await context.close();
  });

  for (const [agent, advice] of Object.entries(agents)) {
    test(`the advice fits ${agent}`, async () => {
      const context = await browser.newContext({ userAgent: `Mozilla/5.0 ${agent}` });
      const visitor = await context.newPage();
      await visitor.addInitScript(() => delete Navigator.prototype.gpu);
      await visitor.goto(address());
      await visitor.getByText("What to do:").waitFor();
      assert.match(await visitor.getByRole("alert").textContent(), advice);
      await context.close();
    });
  }
});
