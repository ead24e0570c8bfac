/** What cannot be fetched is tried again, then named with a button; what is on its way is counted. */

import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { address, banner, chosen, close, inspect, open } from "./browser.mjs";

const TRIES = 3;
const ready = (page) => page.getByText("0 network requests since the page was ready").waitFor();

const things = {
  "the model": {
    path: "**/base/model.safetensors",
    card: "model",
    says: /The model could not be fetched/,
  },
  "the program": {
    path: "**/*.wasm",
    card: "model",
    says: /The program behind the page could not be fetched/,
  },
  "the worker": {
    path: "**/worker-*.js",
    card: "model",
    says: /The program behind the page could not be fetched/,
  },
  "the samples": {
    path: "**/samples/index.json",
    card: "text",
    says: /The sample texts could not be fetched/,
  },
};

describe("what cannot be fetched", { concurrency: 3 }, () => {
  for (const [name, { path, card, says }] of Object.entries(things)) {
    test(`${name}: three tries, then its name, and a button that tries again`, async () => {
      const page = await open({ blank: true });
      let tries = 0;
      await page.unroute(address());
      await page.route(path, (route) => {
        tries++;
        return route.abort();
      });
      await page.reload();
      await banner(page, card).waitFor();
      assert.equal(tries, TRIES);
      assert.match(await banner(page, card).textContent(), says);
      assert.match(
        await banner(page, card).textContent(),
        /the connection failed\..*Check that this machine is online/,
      );
      await page.getByText("The page locks itself as soon as everything has been fetched.").waitFor();
      await inspect(page, `not-fetched-${name.replace("the ", "")}`);

      await page.unroute(path);
      await banner(page, card).getByRole("button", { name: "Try again" }).click();
      await ready(page);
      assert.equal(await page.locator(".banner").count(), 0);
      await page.getByRole("button", { name: "A captain's log" }).click();
      await page.getByRole("heading", { name: "What the model will read" }).waitFor();
      await close(page);
    });
  }

  test("a fault that passes is not worth a word", async () => {
    const page = await open({ blank: true });
    await page.unroute(address());
    const seen = new Map();
    await page.route(/base\/|\.wasm$|samples\/|worker-/, (route) => {
      const url = route.request().url();
      seen.set(url, (seen.get(url) ?? 0) + 1);
      const fault = [() => route.abort(), () => route.fulfill({ status: 503 })][seen.get(url) - 1];
      return fault ? fault() : route.continue();
    });
    await page.reload();
    await ready(page);
    assert.ok(seen.size >= 9 && [...seen.values()].every((times) => times === TRIES), JSON.stringify([...seen]));
    assert.equal(await page.locator(".banner").count(), 0);
    await close(page);
  });

  test("an answer of the server that is no file is named with its status", async () => {
    const page = await open({ blank: true });
    await page.unroute(address());
    await page.route("**/base/config.json", (route) => route.fulfill({ status: 404 }));
    await page.reload();
    await banner(page, "model").waitFor();
    assert.match(await banner(page, "model").textContent(), /answered .\/base\/config\.json with status 404/);
    await close(page);
  });

  test("a text can be used without the samples, and then the page locks itself", async () => {
    const page = await open({ blank: true });
    await page.unroute(address());
    await page.route("**/samples/*", (route) => route.abort());
    await page.reload();
    await banner(page, "text").waitFor();
    await page
      .getByLabel("Or paste it here")
      .fill("The wind came up from the south, and the ship went on. ".repeat(60));
    await page.getByRole("button", { name: "Read the pasted text" }).click();
    await chosen(page, "Pasted text");
    await ready(page);
    assert.equal(await page.locator(".banner").count(), 0);
    await close(page);
  });
});

describe("what is on its way", () => {
  const weights = fileURLToPath(new URL("../../www/public/base/model.safetensors", import.meta.url));
  let server;
  let tries = 0;
  let cut;
  let release;
  before(async () => {
    const counted = new Promise((resolve) => {
      cut = resolve;
    });
    const held = new Promise((resolve) => {
      release = resolve;
    });
    server = await compressing(async (path, response, packed) => {
      const half = packed.length >> 1;
      const isWeights = path.endsWith("model.safetensors");
      response.write(packed.subarray(0, half));
      if (isWeights && ++tries === 1) {
        await counted;
        return response.destroy();
      }
      if (isWeights) await held;
      response.end(packed.subarray(half));
    });
  });
  after(() => server.close());

  test("is counted as it is unpacked, also after a try that broke off; an early text waits for it", async () => {
    const page = await open({ blank: true });
    await page.addInitScript(() => {
      self.told = [];
      const look = () => {
        const words = document.querySelector("#model > .quiet")?.textContent;
        if (words && words !== self.told.at(-1)) self.told.push(words);
      };
      new MutationObserver(look).observe(document, {
        subtree: true,
        childList: true,
        characterData: true,
      });
    });
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    await page.getByRole("button", { name: "A captain's log" }).click();
    await page.getByText(/^A captain's log waits for the model: \d+\.\d of \d+\.\d MB\.$/).waitFor();
    // What is more than all the rest is of the weights.
    await page.waitForFunction((weights) => {
      const [, done, total] = self.told.at(-1)?.match(/: ([\d.]+) of ([\d.]+) MB\.$/) ?? [];
      return done > total - weights + 0.2;
    }, statSync(weights).size / 1e6);
    cut();
    await inspect(page, "waits-for-the-model");
    release();
    await page.getByRole("heading", { name: "What the model will read" }).waitFor();
    await ready(page);

    const told = await page.evaluate(() => self.told);
    const counted = told.flatMap((words) => {
      const found = words.match(/: ([\d.]+) of ([\d.]+) MB\.$/);
      return found ? [{ done: Number(found[1]), total: Number(found[2]) }] : [];
    });
    assert.ok(counted.length > 5, told.join("\n"));
    for (const { done, total } of counted)
      assert.ok(done <= total && total === counted[0].total, `${done} of ${total}`);
    assert.equal(tries, 2);
    assert.ok(
      counted.some(({ done }, index) => done < counted[index - 1]?.done),
      "no try broke off",
    );
    assert.match(told.at(-1), /everything is here/);
    assert.deepEqual(
      page.faults.filter((fault) => !fault.includes("ERR_CONTENT_LENGTH_MISMATCH")),
      [],
    );
    await close(page);
  });
});

/** A server before the page's own that compresses everything, and says how long it is then; `send` sends it. */
async function compressing(send) {
  const server = createServer(async (request, response) => {
    const original = await fetch(new URL(request.url, address()));
    const packed = gzipSync(Buffer.from(await original.arrayBuffer()));
    const { "transfer-encoding": _, ...headers } = Object.fromEntries(original.headers);
    response.writeHead(original.status, {
      ...headers,
      "content-encoding": "gzip",
      "content-length": packed.length,
    });
    await send(request.url, response, packed);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}
