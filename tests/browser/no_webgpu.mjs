/** Without WebGPU the processor trains. Where nothing can, the page says so, says what to do, and shows the text. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { launch } from "../../www/demo/chromium.mjs";
import {
  address,
  atStep,
  banner,
  chooseSample,
  close,
  download,
  downloadButton,
  drop,
  inspect,
  open,
  PATIENCE_MS,
  SMALL,
  startButton,
  trained,
  unzipSync,
  written,
} from "./browser.mjs";

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
  before(async () => {
    browser = await launch({ webgpu: false });
  });
  after(() => browser.close());

  test("the processor trains to the end, and the page says so, and what would be faster", async () => {
    const page = await open({ hash: `#${SMALL}&steps=40&lr=0.002`, from: browser });
    await chooseSample(page);
    const strip = await page.locator(".strip").textContent();
    assert.match(strip, /No graphics card is used: your processor does it, about [\d,]+ tokens a second\./);
    assert.match(strip, /A graphics card would be faster\..*(chrome:\/\/flags|Update)/);
    await startButton(page).click();
    await atStep(page, 12);
    await inspect(page, "no-webgpu-training");
    await trained(page);
    assert.match(await page.locator("#train .done-line").textContent(), /^40 steps in .*; \d+ % less surprised/);
    await written(page);
    await inspect(page, "no-webgpu-done");
    const files = unzipSync(await download(page, downloadButton(page)));
    assert.equal(JSON.parse(Buffer.from(files["adapter_config.json"])).peft_type, "LORA");
    assert.doesNotMatch(await page.locator("main").textContent(), /on your graphics card|in software/);
    assert.deepEqual(page.faults, []);
    await close(page);
  });

  test("who asks for a graphics card reads why there is none, and can still look at a text", async () => {
    const page = await open({ device: "gpu", from: browser });
    const strip = page.getByRole("alert");
    await strip.waitFor();
    assert.match(await strip.textContent(), /asks for a graphics card, and there is none to use\..*What to do: /);
    await page.getByRole("button", { name: "A fool at supper" }).click();
    await page.getByText("It begins:").waitFor();
    assert.ok((await page.locator("blockquote p").count()) >= 3);
    await page.getByText("cannot learn from it. To go on, open this page as the top of it says").waitFor();
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    await page.getByRole("button", { name: "Copy the address" }).click();
    await page.getByRole("button", { name: "Copied" }).waitFor();
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), page.url());
    assert.doesNotMatch(await page.locator("body").textContent(), /your own graphics card|in this tab/);
    await inspect(page, "no-card");
    await drop(page, { "adapter.zip": "PK, and in its list: adapter_config.json" });
    await banner(page, "keep").getByText("works only together with the model").waitFor();
    await page.getByRole("button", { name: "Use the processor" }).click();
    await page.getByText("No graphics card is used: your processor does it.").waitFor();
    assert.match(page.url(), /#device=cpu$/);
    assert.deepEqual(page.faults, []);
    await close(page);
  });

  test("over plain http it says so, and nothing breaks where the browser offers less", async () => {
    const plain = "http://page.test/";
    const context = await browser.newContext();
    context.setDefaultTimeout(PATIENCE_MS);
    await context.route(`${plain}**`, async (route) => {
      const path = route.request().url().slice(plain.length);
      await route.fulfill({ response: await route.fetch({ url: address() + path }) });
    });
    const visitor = await context.newPage();
    const faults = [];
    visitor.on("pageerror", (error) => faults.push(error.message));
    await visitor.goto(plain);
    assert.match(await visitor.getByRole("alert").textContent(), /cannot train.*plain http.*Open it with https/);
    await visitor.getByRole("button", { name: "A fool at supper" }).click();
    await visitor.getByText("To go on, open this page as the top of it says").waitFor();
    assert.equal(await visitor.getByRole("button", { name: "Copy the address" }).count(), 0);
    assert.deepEqual(faults, []);
    await context.close();
  });

  for (const [agent, advice] of Object.entries(agents)) {
    test(`the advice fits ${agent}`, async () => {
      const context = await browser.newContext({ userAgent: `Mozilla/5.0 ${agent}` });
      context.setDefaultTimeout(PATIENCE_MS);
      const visitor = await context.newPage();
      await visitor.addInitScript(() => delete Navigator.prototype.gpu);
      await visitor.goto(`${address()}?device=gpu`);
      await visitor.getByText("What to do:").waitFor();
      assert.match(await visitor.getByRole("alert").textContent(), advice);
      await context.close();
    });
  }
});

test("without SIMD in WebAssembly, the page says which versions of browsers have it", async () => {
  const browser = await launch({ simd: false });
  const page = await open({ from: browser });
  const strip = page.getByRole("alert");
  await strip.waitFor();
  assert.match(
    await strip.textContent(),
    /cannot train.*no SIMD.*from version 91 on, Firefox from 89, Safari from 16\.4/,
  );
  assert.equal(await page.getByRole("button", { name: "Use the processor" }).count(), 0);
  await page.getByText("A small story model comes with the page. It cannot learn here.").waitFor();
  assert.deepEqual(page.faults, []);
  await browser.close();
});
