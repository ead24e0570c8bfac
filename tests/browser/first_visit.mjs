/** What the first screen promises, and what the browser enforces. */

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { address, close, inspect, open } from "./browser.mjs";
import { dist } from "./plain_host.mjs";

describe("the first visit", () => {
  let page;
  before(async () => {
    page = await open();
    await page.getByText("0 network requests since the page was ready").waitFor();
  });
  after(() => close(page));

  test("the first screen says what this is, that the text is safe, and what to click", async () => {
    for (const element of [
      page.getByRole("heading", { level: 1 }),
      page.getByText("Your text stays on this machine."),
      page.getByRole("button", { name: "A captain's log" }),
      page.getByRole("button", { name: "Choose a file" }),
    ]) {
      const box = await element.boundingBox();
      assert.ok(box && box.y + box.height <= 800, `${element} is not on the first screen`);
    }
    assert.equal(await page.locator("button.primary").count(), 1);
  });

  test("it is clean for axe, in light and dark, wide and narrow", () => inspect(page, "first-visit"));

  test("the credits of the built-in model are linked and served", async () => {
    for (const name of ["every work it learnt from", "how it was made"]) {
      const path = await page.getByRole("link", { name }).getAttribute("href");
      const response = await fetch(new URL(path, address()));
      assert.equal(response.status, 200, path);
    }
  });

  test("page and worker are served with their policies", async () => {
    const policyOf = async (path) => (await fetch(new URL(path, address()))).headers.get("content-security-policy");
    const pagePolicy = await policyOf("");
    assert.match(pagePolicy, /script-src 'self' 'wasm-unsafe-eval';/);
    assert.match(
      pagePolicy,
      /require-trusted-types-for 'script'; trusted-types tabtune-page tabtune-worker tabtune-web-page$/,
    );
    assert.doesNotMatch(pagePolicy, /unsafe-inline|unsafe-eval'?[^;]*unsafe-eval|\*/);
    const script = readdirSync(join(dist, "assets")).find((name) => /^worker-.*\.js$/.test(name));
    const workerPolicy = await policyOf(`assets/${script}`);
    assert.match(workerPolicy, /connect-src 'none'/);
    assert.match(workerPolicy, /trusted-types 'none'/);
    assert.match(await policyOf("service-worker.js"), /^default-src 'none'; connect-src 'self'; .*types 'none'$/);
  });

  test("Trusted Types refuse markup and foreign workers", async () => {
    const refused = await page.evaluate(() => {
      const attempt = (act) => {
        try {
          act();
          return "done";
        } catch (error) {
          return error.name;
        }
      };
      return [
        attempt(() => {
          document.body.innerHTML = "<b>no</b>";
        }),
        attempt(() => new Worker("./assets/other.js")),
        attempt(() => trustedTypes.createPolicy("another", {})),
      ];
    });
    assert.deepEqual(refused, ["TypeError", "TypeError", "TypeError"]);
  });

  test("once ready, page and worker refuse every connection", async () => {
    const attempt = () =>
      fetch("./index.html").then(
        () => "connected",
        () => "refused",
      );
    assert.equal(await page.evaluate(attempt), "refused");
    assert.equal(await page.workers()[0].evaluate(attempt), "refused");
  });
});
