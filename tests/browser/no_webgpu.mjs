/** Without WebGPU the page says so, says what to do, and the text card still works. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { launch } from "../../www/demo/chromium.mjs";
import { address, inspect, open } from "./browser.mjs";

const agents = {
  "(X11; Linux x86_64; rv:150.0) Gecko/20100101 Firefox/150.0": /Firefox has no WebGPU on Linux.*Use Chrome or Edge/,
  "(Windows NT 10.0; Win64; x64; rv:130.0) Gecko/20100101 Firefox/130.0": /from version 141 on.*Update Firefox/,
  "(Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15":
    /version 26/,
  "(iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile/15E148 Safari/604.1": /iOS 26/,
  "(X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36": /enable-unsafe-webgpu/,
  "(Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/112.0.0.0 Safari/537.36":
    /Update the browser/,
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
    await inspect(page, "no-webgpu");
    assert.deepEqual(page.faults, []);
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
