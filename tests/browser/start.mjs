/** A page that cannot start says so by itself, and what goes wrong later is shown. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  address,
  banner,
  chooseSample,
  close,
  inspect,
  open,
  PATIENCE_MS,
  SMALL,
  startButton,
  trained,
} from "./browser.mjs";

const bundle = "**/assets/index-*.js";
/** The page says nothing before. */
const LATE_MS = 10_000;
const broken = {
  "its script throws": (page) =>
    page.route(bundle, (route) =>
      route.fulfill({
        contentType: "text/javascript",
        body: 'throw new Error("broken")',
      }),
    ),
  "its script cannot be fetched": (page) => page.route(bundle, (route) => route.abort()),
  "the browser is too old for modules": (page) =>
    page.route(address(), async (route) => {
      const response = await route.fetch();
      await route.fulfill({
        response,
        body: (await response.text()).replace('type="module"', 'type="unknown"'),
      });
    }),
};

describe("the start of the page", () => {
  test("whatever ends it, plain words say what to do", async () => {
    const pages = await Promise.all(
      Object.values(broken).map(async (breakIt) => {
        const page = await open();
        await breakIt(page);
        await page.reload();
        await page.getByText("The page is loading").waitFor();
        const isLate = await page.getByText("This takes unusually long").isVisible();
        // A busy machine may look at it late.
        assert.ok(!isLate || (await page.evaluate(() => performance.now())) > LATE_MS);
        return page;
      }),
    );
    for (const page of pages) {
      await page.getByText("This takes unusually long").waitFor();
      if (page === pages[0]) await inspect(page, "not-started");
      await close(page);
    }
  });

  test("without scripts it says that it needs them, and does not pretend to load", async () => {
    const page = await open();
    const context = await page.context().browser().newContext({ javaScriptEnabled: false });
    context.setDefaultTimeout(PATIENCE_MS);
    const scriptless = await context.newPage();
    await scriptless.goto(address());
    await scriptless.locator("noscript p").waitFor();
    assert.ok(!(await scriptless.getByText("The page is loading").isVisible()));
    await context.close();
    await close(page);
  });

  for (const language of ["C", "en-US@posix"]) {
    test(`a browser whose language is "${language}" trains, and draws the chart in English`, async () => {
      const page = await open({ hash: `#${SMALL}&steps=2&sampleEvery=0` });
      await page.addInitScript((language) => {
        Object.defineProperty(Navigator.prototype, "language", {
          get: () => language,
        });
        Object.defineProperty(Navigator.prototype, "languages", {
          get: () => [language],
        });
      }, language);
      await page.reload();
      await chooseSample(page);
      await startButton(page).click();
      await trained(page);
      await page.getByRole("button", { name: "Show: Train" }).click();
      await page.locator(".chart canvas").waitFor();
      assert.deepEqual(page.faults, []);
      await close(page);
    });
  }
});

describe("an error that no code foresaw", () => {
  test("is shown, with what to do; what is no fault of the page is not", async () => {
    const page = await open();
    await page.evaluate(() => window.dispatchEvent(new ErrorEvent("error", { message: "Script error." })));
    await page.evaluate(() => {
      setTimeout(() => {
        throw new Error("the first surprise");
      });
    });
    const shown = page.locator("main > .banner");
    await shown.waitFor();
    assert.match(await shown.textContent(), /Something on this page went wrong: the first surprise\./);
    assert.match(await shown.textContent(), /Save what you want to keep, then reload the page/);
    await inspect(page, "unforeseen");
    await shown.getByRole("button", { name: "Close" }).click();
    await shown.waitFor({ state: "detached" });

    await page.evaluate(() => {
      Promise.reject(new Error("the second surprise"));
    });
    await shown.getByText("the second surprise").waitFor();
    assert.equal(await banner(page, "text").count(), 0);
    await close(page);
  });
});
