/** A visitor with Firefox on Linux, which has no WebGPU: `make test-slow`. Steered with WebDriver BiDi. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { serve } from "../../www/demo/serve.mjs";

const screens = fileURLToPath(new URL("../../artefacts/screens", import.meta.url));
const PATIENCE_MS = 60_000;

describe("in Firefox", () => {
  let server;
  let firefox;
  before(async () => {
    server = await serve();
    firefox = await launch();
    await firefox.resize(1280, 800);
    await firefox.visit(server.address);
  });
  after(async () => {
    await firefox?.close();
    server?.close();
  });

  test("the page says why it cannot train there, and what to do", async () => {
    assert.match(await firefox.shows(/This browser cannot train/), /Firefox has no WebGPU on Linux yet/);
    assert.match(await firefox.words(), /What to do: Use Chrome or Edge/);
    assert.match(await firefox.words(), /What still works: you can choose a text/);
  });

  test("a sample can be read, and nothing goes wrong", async () => {
    await firefox.shows(/A fool at supper/);
    await firefox.evaluate(`document.querySelectorAll("button.sample")[2].click()`);
    await firefox.shows(/It begins:/);
    assert.ok((await firefox.evaluate(`document.querySelectorAll("blockquote p").length`)) >= 3);
    await firefox.shows(/To go on, open this page as the top of it says/);
    assert.deepEqual(firefox.faults, []);
  });

  test("nothing scrolls sideways", async () => {
    for (const [width, height] of [
      [1280, 800],
      [360, 740],
    ]) {
      await firefox.resize(width, height);
      await firefox.picture(`firefox-${width}`);
      assert.equal(await firefox.evaluate("innerWidth"), width);
      assert.ok((await firefox.evaluate("document.documentElement.scrollWidth - innerWidth")) <= 0, `${width} px`);
    }
  });
});

async function launch() {
  const profile = mkdtempSync(join(tmpdir(), "tabtune-firefox-"));
  const options = ["--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0", "about:blank"];
  const program = spawn(process.env.FIREFOX ?? "firefox-esr", options, { stdio: ["ignore", "ignore", "pipe"] });
  const ended = new Promise((resolve) => program.once("exit", resolve));
  const { call, faults, disconnect } = await connect(`${await listening(program)}/session`);
  await call("session.new", { capabilities: {} });
  await call("session.subscribe", { events: ["log.entryAdded"] });
  const [{ context }] = (await call("browsingContext.getTree")).contexts;
  const target = { context };
  const evaluate = async (expression) => {
    const reply = await call("script.evaluate", { expression, target, awaitPromise: true });
    assert.equal(reply.type, "success", reply.exceptionDetails?.text);
    return reply.result.value;
  };
  const words = () => evaluate("document.body.innerText");
  return {
    faults,
    evaluate,
    words,
    visit: (url) => call("browsingContext.navigate", { context, url, wait: "complete" }),
    resize: (width, height) => call("browsingContext.setViewport", { context, viewport: { width, height } }),
    /** Waits until the page shows such words. */
    async shows(pattern) {
      const seen = `new Promise((resolve) => {
        const look = () => ${pattern}.test(document.body.innerText) ? resolve(true) : setTimeout(look, 50);
        setTimeout(() => resolve(false), ${PATIENCE_MS});
        look();
      })`;
      assert.ok(await evaluate(seen), `${pattern} is not shown`);
      return words();
    },
    async picture(name) {
      const { data } = await call("browsingContext.captureScreenshot", { context, origin: "document" });
      mkdirSync(screens, { recursive: true });
      writeFileSync(join(screens, `${name}.png`), Buffer.from(data, "base64"));
    },
    async close() {
      disconnect();
      program.kill();
      await ended;
      rmSync(profile, { recursive: true, maxRetries: 5 });
    },
  };
}

/** Where Firefox listens, which it says itself. */
function listening(program) {
  return new Promise((resolve, reject) => {
    program.once("error", reject);
    program.once("exit", (status) => reject(new Error(`Firefox ended with status ${status}`)));
    createInterface(program.stderr).on("line", (line) => {
      const address = line.match(/WebDriver BiDi listening on (\S+)/)?.[1];
      if (address) resolve(address);
    });
  });
}

/** Commands and their replies; `faults` collects every error that the page logs. */
async function connect(url) {
  const socket = new WebSocket(url);
  const waiting = new Map();
  const faults = [];
  let last = 0;
  socket.onmessage = ({ data }) => {
    const { id, type, method, params, result, message } = JSON.parse(data);
    if (method === "log.entryAdded" && params.level === "error") faults.push(params.text);
    if (!waiting.has(id)) return;
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (type === "error") reject(new Error(message));
    else resolve(result);
  };
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new Error(`no connection to ${url}`));
  });
  const call = (method, params = {}) =>
    new Promise((resolve, reject) => {
      last++;
      waiting.set(last, { resolve, reject });
      socket.send(JSON.stringify({ id: last, method, params }));
    });
  return { call, faults, disconnect: () => socket.close() };
}
