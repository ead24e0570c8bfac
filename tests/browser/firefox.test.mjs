/** A visitor with Firefox on Linux, where the processor trains: `make test-slow`. Steered with WebDriver BiDi. */

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
    await firefox.visit(`${server.address}#steps=30`);
  });
  after(async () => {
    await firefox?.close();
    server?.close();
  });

  test("the page says that the processor computes there, and what would be faster", async () => {
    await firefox.shows(/No graphics card is used: your processor does it\./);
    await firefox.evaluate(`document.querySelectorAll(".strip summary")[1].click()`);
    await firefox.shows(/A graphics card would be faster\. Firefox has no WebGPU on Linux yet\. Use Chrome or Edge\./);
    await firefox.shows(/0 network requests since the page was ready/);
  });

  test("a sample is learnt to the end, and an adapter can be kept", async () => {
    await firefox.press(/A captain's log/);
    await firefox.press(/^Use this text$/);
    await firefox.press(/^Train, about /);
    await firefox.shows(/30 steps in .*; \d+ % less surprised by your text/);
    await firefox.shows(/about [\d,]+ tokens a second/);
    await firefox.shows(/Download adapter, \d+ kB/);
    await firefox.shows(/0 network requests since the page was ready/);
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
    /** Presses the button of this name once it is there and may be pressed. */
    async press(name) {
      const pressed = `new Promise((resolve) => {
        const button = () => [...document.querySelectorAll("button:enabled")].find((it) => ${name}.test(it.innerText));
        const look = () => (button() ? resolve(button().click() ?? true) : setTimeout(look, 50));
        setTimeout(() => resolve(false), ${PATIENCE_MS});
        look();
      })`;
      assert.ok(await evaluate(pressed), `${name} cannot be pressed`);
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
