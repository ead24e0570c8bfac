/** The download worker against a server that behaves as the Hub does, with every fault that a network has. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { serve } from "../../www/demo/serve.mjs";
import { close, open } from "./browser.mjs";
import { hubServer } from "./hub_server.mjs";

const www = (path) => fileURLToPath(new URL(`../../www/${path}`, import.meta.url));
const folder = www("public/base");
const ggufs = fileURLToPath(new URL("../fixtures/gguf", import.meta.url));
const allGgufs = ["llama.gguf", "llama3.gguf", "long.gguf"];
const script = readdirSync(www("dist/assets")).find((name) => /^download-.*\.js$/.test(name));
const WEIGHTS = "model.safetensors";
const weights = readFileSync(join(folder, WEIGHTS));
const paths = ["config.json", "tokenizer.json", "tokenizer_config.json", WEIGHTS, "README.md"];
const STORY = { id: "tabtune/story", revision: "main" };
const commit = "0123456789abcdef0123456789abcdef01234567";

/** A GGUF file with a long text in its metadata, as long as keeps what follows it aligned. */
const long = described(readFileSync(join(ggufs, "llama.gguf")), 300_025);

/** Weights in two files, and other files of tensors that are none of the model's. */
const parts = {
  "model.safetensors.index.json": Buffer.from("{}"),
  "model-00001-of-00002.safetensors": weights.subarray(0, 2_000_000),
  "model-00002-of-00002.safetensors": weights.subarray(2_000_000, 3_000_000),
  "adapter.safetensors": Buffer.alloc(100),
  "pytorch_model.bin": Buffer.alloc(100),
  "original/model-00001-of-00002.safetensors": Buffer.alloc(100),
};

describe("the download worker", () => {
  let hub;
  let page;
  let site;
  before(async () => {
    const story = { folder, paths, commit, licence: "mit" };
    const files = { "story.gguf": weights };
    hub = await hubServer({
      [STORY.id]: story,
      "tabtune/closed": { ...story, gated: "manual" },
      "tabtune/gguf": { files, paths: ["story.gguf", "README.md"], folder, commit },
      "tabtune/real": { folder: ggufs, files: { "long.gguf": long }, paths: allGgufs, commit },
      "tabtune/parts": { folder, files: parts, paths: [...paths.slice(0, 2), ...Object.keys(parts)], commit },
      "tabtune/odd": { ...story, commit: "main" },
    });
    site = await serve(0, [hub.address, hub.storage]);
  });
  after(() => {
    hub.close();
    site.close();
  });
  beforeEach(async () => {
    if (page) await close(page);
    Object.assign(hub, { faults: {}, ranges: true, slow: 0 });
    page = await blank();
    hub.log.length = 0;
  });
  after(() => close(page));

  /** Playwright answers preflights itself while it watches for an address, so it does not once the page is there. */
  async function blank(beside) {
    const page = await open({ blank: true, at: site.address, beside });
    await page.unroute(site.address);
    return page;
  }

  /**
   * Starts a worker and asks it. The answer has the bytes by hash instead of blobs, and the progress that was told.
   * `lacking` is run in the worker first.
   */
  async function ask(call, wanted = {}, { stopAt, lacking } = {}) {
    const starting = page.waitForEvent("worker");
    await page.evaluate(startWorker, script);
    const worker = await starting;
    if (lacking) await worker.evaluate(lacking);
    return page.evaluate(askWorker, [{ call, wanted: { ...STORY, hub: hub.address, ...wanted } }, stopAt]);
  }
  const log = () => hub.log.splice(0);
  const stored = () => page.evaluate(listStored);
  const isWhole = ({ files, error }) => {
    assert.equal(error, undefined);
    assert.equal(files[WEIGHTS], sha256(weights), "the bytes arrived as they are");
  };
  const refused = async (code, wanted, says, options) => {
    const { error } = await ask("fetch", wanted, options);
    assert.equal(error?.code, code);
    assert.match(error.message, says);
    assert.ok(error.hint.length > 10);
    return error;
  };

  /** The server takes seconds over the rest, so a busy machine can stop it in time, too. */
  async function stopHalfway() {
    hub.slow = 400;
    const stopped = await ask("fetch", {}, { stopAt: 4_000_000 });
    assert.ok(stopped.error, "it was fetched to the end");
    hub.slow = 0;
    return stopped;
  }

  test("a model is looked up with three requests, none of which fetches the weights", async (t) => {
    const { found } = await ask("look");
    assert.equal(found.model.commit, commit);
    assert.equal(found.model.licence, "mit");
    assert.deepEqual(new Set(found.model.files.map(({ path }) => path)), new Set(paths.slice(0, 4)));
    assert.equal(found.outline, weights.length);
    const lines = log();
    t.diagnostic(lines.join("; "));
    assert.deepEqual(lines, [
      "api tabtune/story main",
      "hub config.json bytes=0-504",
      `storage ${WEIGHTS} bytes=0-131071`,
    ]);
    assert.deepEqual(await stored(), {});
  });

  test("of a GGUF file, the beginning is read until it holds all that stands before the data", async (t) => {
    const { found } = await ask("look", { id: "tabtune/real/llama.gguf" });
    assert.equal(found.outline, readFileSync(join(ggufs, "llama.gguf")).length);
    assert.deepEqual(log(), ["api tabtune/real main", "hub llama.gguf bytes=0-131071"]);
    assert.equal((await ask("look", { id: "tabtune/real/long.gguf" })).found.outline, long.length);
    const lines = log();
    t.diagnostic(lines.join("; "));
    const ranges = ["0-131071", "131072-262143", "262144-524287"];
    assert.deepEqual(
      lines.slice(1),
      ranges.map((range) => `hub long.gguf bytes=${range}`),
    );
    // Its factors of the rope lie in its data.
    assert.equal((await ask("look", { id: "tabtune/real/llama3.gguf" })).found.outline, undefined);
    log();
    assert.equal((await ask("look", { id: "tabtune/gguf/story.gguf" })).found.outline, undefined);
    assert.equal(log().length, 2, "what is no GGUF file is left at once");
  });

  test("it is fetched, checked, and never again, without a preflight, and no signed address is stored", async (t) => {
    const first = await ask("fetch");
    isWhole(first);
    const lines = log();
    t.diagnostic(lines.join("; "));
    assert.equal(lines.length, 5);
    assert.ok(!lines.includes("preflight"));
    const last = first.told.at(-1);
    assert.equal(last.done, last.total);
    assert.ok(last.kept);
    assert.equal(first.requests, 5);

    isWhole(await ask("fetch"));
    assert.deepEqual(log(), ["api tabtune/story main"]);
    isWhole(await ask("fetch", { revision: commit }));
    assert.deepEqual(log(), [], "a commit stays what it is");
    const names = Object.keys(await stored());
    assert.equal(names.filter((name) => name.startsWith("hub-files/")).length, 4);
    assert.ok(names.includes(`hub-files/${sha256(weights)}`));
    const everything = JSON.stringify(Object.values(await stored()));
    assert.doesNotMatch(everything, /signed/);
  });

  test("cut at 37 %, it goes on from there", async (t) => {
    hub.faults = { [WEIGHTS]: [{ cut: 0.37 }] };
    const answer = await ask("fetch");
    isWhole(answer);
    const [first, second] = log().filter((line) => line.startsWith("storage"));
    t.diagnostic(`${first}; ${second}`);
    assert.equal(first, `storage ${WEIGHTS} whole`);
    // A browser may drop what has arrived but was not read yet.
    const start = Number(second.match(/bytes=(\d+)-$/)[1]);
    assert.ok(start > 0 && start <= weights.length * 0.37, `it goes on from ${start}`);
    const others = answer.told[0].total - weights.length;
    const { done } = answer.told.find(({ waitingMs }) => waitingMs > 0);
    assert.equal(start, done - others, "what was counted is not fetched again");
  });

  test("cut at 37 % by a server without ranges, it skips what it has", async (t) => {
    hub.faults = { [WEIGHTS]: [{ cut: 0.37 }] };
    hub.ranges = false;
    const answer = await ask("fetch");
    isWhole(answer);
    assert.equal(answer.told.at(-1).done, answer.told.at(-1).total);
    t.diagnostic(log().join("; "));
  });

  test("429 and 503: it waits as long as it is asked to, or half a second and then longer", async (t) => {
    hub.faults = {
      api: [{ status: 503 }],
      [WEIGHTS]: [{ status: 429, headers: { "Retry-After": "2" } }, { status: 500 }, { status: 502 }],
    };
    const { told, ...answer } = await ask("fetch");
    isWhole(answer);
    const pauses = told.map(({ waitingMs }) => waitingMs).filter((ms) => ms > 0);
    t.diagnostic(`pauses of ${pauses.join(", ")} ms`);
    assert.deepEqual(pauses, [2000, 1000, 2000]);
  });

  test("a server that asks for an hour, and one that is down, end in an error; what arrived stays", async () => {
    hub.faults = { [WEIGHTS]: [{ cut: 0.5 }, { status: 429, headers: { "Retry-After": "3600" } }] };
    await refused("fetch_failed", {}, /status 429 and asks to wait for 60 minutes/);
    log();
    isWhole(await ask("fetch"));
    const lines = log();
    assert.equal(lines.length, 2, "what was there was not fetched again");
    assert.match(lines[1], /bytes=\d{6,}-$/);
    hub.faults = { api: Array(9).fill({ status: 500 }) };
    await refused("fetch_failed", {}, /list of files of `tabtune\/story` could not be fetched.*status 500/);
  });

  test("a flipped bit is found, and the file fetched again once", async (t) => {
    hub.faults = { [WEIGHTS]: [{ flip: true }], "tokenizer.json": [{ flip: true }] };
    const answer = await ask("fetch");
    isWhole(answer);
    const lines = log();
    t.diagnostic(lines.join("; "));
    assert.equal(lines.filter((line) => line.includes(WEIGHTS)).length, 2);
    assert.equal(lines.filter((line) => line.includes("tokenizer.json")).length, 2);
  });

  test("bytes that are wrong twice, or too many, are never taken for the file", async () => {
    hub.faults = { [WEIGHTS]: [{ flip: true }, { flip: true }] };
    await refused("hub_damaged", {}, /`model.safetensors` of `tabtune\/story` arrived damaged twice/);
    assert.ok(!Object.keys(await stored()).includes(`hub-files/${sha256(weights)}`));
    hub.faults = { [WEIGHTS]: [{ more: 7 }] };
    log();
    isWhole(await ask("fetch"));
    assert.equal(log().filter((line) => line.includes(WEIGHTS)).length, 2);
  });

  test("it stops in the middle and goes on in another visit", async (t) => {
    const { stoppedMs } = await stopHalfway();
    t.diagnostic(`it stopped after ${stoppedMs.toFixed(0)} ms`);
    const part = `hub-files/${sha256(weights)}.part`;
    const { [part]: size } = await stored();
    assert.ok(size >= 2_000_000 && size < weights.length, `${size} bytes are there`);
    page = await blank(page);
    log();
    isWhole(await ask("fetch", { revision: commit }));
    const lines = log();
    t.diagnostic(lines.join("; "));
    assert.deepEqual(lines, [`storage ${WEIGHTS} bytes=${size}-`]);
  });

  test("a bit that the disk flipped is found when the rest has arrived", async () => {
    await stopHalfway();
    await page.evaluate(flipBit, `${sha256(weights)}.part`);
    log();
    isWhole(await ask("fetch"));
    const lines = log().filter((line) => line.includes(WEIGHTS));
    assert.match(lines[0], /bytes=\d+-$/);
    assert.equal(lines[1], `storage ${WEIGHTS} whole`);
  });

  test("a connection that falls silent is given up after twenty seconds", async () => {
    hub.faults = { [WEIGHTS]: [{ silent: 0.2 }] };
    const answer = await ask("fetch");
    isWhole(answer);
    assert.ok(answer.told.some(({ waitingMs }) => waitingMs > 0));
  });

  test("what does not exist, is gated, is no model or no Hub is named, with what to do", async () => {
    await refused("hub_missing", { id: "tabtune/nothing" }, /no public model `tabtune\/nothing`/);
    const { hint } = await refused("hub_gated", { id: "tabtune/closed" }, /accepted its terms/);
    assert.match(hint, new RegExp(`${hub.address}/tabtune/closed`));
    const other = await refused("model_files", { id: "tabtune/gguf" }, /has no config.json/);
    assert.match(other.hint, /`tabtune\/gguf\/story.gguf`/);
    await refused("hub_answer", { id: "tabtune/odd" }, /does not answer as the Hub does/);
  });

  test("nothing but an id, a revision and an address goes out", async () => {
    for (const wanted of [
      { id: "Dear diary, today" },
      { id: "a/b/c" },
      { id: "a/../b" },
      { id: "" },
      { revision: "what I wrote" },
      { hub: "http://example.org" },
      { hub: "my words" },
    ])
      await refused("hub_id", wanted, /^`.*` is no (id of a model|revision|address of a Hub)$/);
    assert.deepEqual(log(), []);
  });

  test("a GGUF file is fetched by its name, and a token goes to the Hub alone", async () => {
    const answer = await ask("fetch", { id: "tabtune/gguf/story.gguf", token: "hf_secret" });
    assert.equal(answer.files["story.gguf"], sha256(weights));
    const lines = log();
    assert.ok(lines.includes("preflight"));
    assert.ok(!lines.includes("a token went to the storage"));
    assert.doesNotMatch(JSON.stringify(await stored()), /hf_secret/);
  });

  test("of weights in several files, the index and the parts are fetched, and nothing else", async () => {
    const answer = await ask("fetch", { id: "tabtune/parts" });
    const wanted = [...paths.slice(0, 2), ...Object.keys(parts).slice(0, 3)];
    assert.deepEqual(Object.keys(answer.files).sort(), wanted.sort());
    for (const name of Object.keys(parts).slice(0, 3)) assert.equal(answer.files[name], sha256(parts[name]));
  });

  test("a full storage is said in bytes, before the download and during it", async () => {
    const session = await page.context().newCDPSession(page);
    const limit = (quotaSize) =>
      session.send("Storage.overrideQuotaForOrigin", { origin: new URL(site.address).origin, quotaSize });
    await limit(5_000_000);
    await refused("storage", {}, /\d\.\d MB of `tabtune\/story` are still to come, and it takes no more/);
    const names = Object.keys(await stored());
    assert.ok(!names.includes(`hub-files/${sha256(weights)}`), "a file that was cut short is not whole");
    await limit(50_000_000);
    log();
    isWhole(await ask("fetch"));
    assert.match(log().at(-1), /bytes=\d{6,}-$/);

    const lacking = () => {
      StorageManager.prototype.estimate = async () => ({ quota: 9e6, usage: 4e6 });
    };
    const other = { id: "tabtune/gguf/story.gguf" };
    await page.evaluate(emptyStorage);
    await refused("storage", other, /10\.8 MB of `.*` are still to come, and 5\.0 MB are free/, { lacking });
    assert.deepEqual(await stored(), {});
  });

  test("without the browser's storage it stays in memory, and says so", async () => {
    const lacking = () => {
      StorageManager.prototype.getDirectory = undefined;
    };
    const answer = await ask("fetch", {}, { lacking });
    isWhole(answer);
    assert.equal(answer.kept, false);
    assert.ok(answer.told.every(({ kept }) => !kept));
    assert.deepEqual(await stored(), {});
  });

  test("two tabs do not write into the same files", async () => {
    hub.slow = 1000;
    const first = ask("fetch");
    while (!Object.keys(await stored()).some((name) => name.endsWith(".part"))) await page.waitForTimeout(20);
    await refused("hub_busy", {}, /this page or another tab of it is fetching a model/);
    hub.slow = 0;
    isWhole(await first);
  });

  test("what was begun at one Hub does not go on there with the token for another", async () => {
    await stopHalfway();
    log();
    const other = { hub: "https://hub.test", revision: commit, token: "hf_secret" };
    await refused("hub_blocked", other, /does not let its download worker reach/);
    assert.deepEqual(log(), []);
  });

  test("the policy of the worker lets it reach nothing but the Hub", async () => {
    const elsewhere = await hubServer({ [STORY.id]: { folder, paths, commit } });
    const { hint } = await refused("hub_blocked", { hub: elsewhere.address }, /does not let its download worker reach/);
    assert.match(hint, /policy/);
    assert.deepEqual(elsewhere.log, []);
    elsewhere.close();
  });
});

/** One more field of the metadata, before the others. */
function described(gguf, length) {
  const [key, type, words] = [Buffer.from("general.description"), Buffer.from([8, 0, 0, 0]), Buffer.alloc(length, "a")];
  const sized = (bytes) => {
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(bytes.length));
    return Buffer.concat([size, bytes]);
  };
  const head = Buffer.from(gguf.subarray(0, 24));
  head.writeBigUInt64LE(head.readBigUInt64LE(16) + 1n, 16);
  return Buffer.concat([head, sized(key), type, sized(words), gguf.subarray(24)]);
}

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** In the page. */
function startWorker(script) {
  self.downloader = new Worker(`./assets/${script}`, { type: "module" });
}

/** In the page: one question to the download worker that was started last, and all it says. */
function askWorker([question, stopAt]) {
  const worker = self.downloader;
  const told = [];
  let requests = 0;
  let stopped;
  const hashes = async (blobs) => {
    const pairs = [...blobs].map(async ([path, blob]) => {
      const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", await blob.arrayBuffer()));
      return [path, [...hash].map((byte) => byte.toString(16).padStart(2, "0")).join("")];
    });
    return Object.fromEntries(await Promise.all(pairs));
  };
  return new Promise((resolve) => {
    worker.onmessage = async ({ data }) => {
      if (data.type === "request") requests++;
      if (data.type === "progress") {
        told.push(data.progress);
        if (stopAt && data.progress.done >= stopAt && !stopped) {
          stopped = performance.now();
          worker.postMessage({ call: "stop" });
        }
      }
      if (data.type === "failure") resolve({ error: data.error, told, stoppedMs: performance.now() - stopped });
      const sizeOf = (outline) => (outline?.gguf ?? outline?.weights)?.size;
      if (data.type === "found") resolve({ found: { ...data.found, outline: sizeOf(data.found.outline) } });
      if (data.type !== "fetched") return;
      const { blobs, kept } = data.fetched;
      resolve({ files: await hashes(blobs), kept, told, requests });
      worker.terminate();
    };
    worker.onerror = (event) => resolve({ error: { code: "worker", message: event.message, hint: "" } });
    worker.postMessage(question);
  });
}

/** In the page: the first byte of a stored file becomes another. */
async function flipBit(name) {
  const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("hub-files");
  const file = await folder.getFileHandle(name);
  const [first] = new Uint8Array(await (await file.getFile()).slice(0, 1).arrayBuffer());
  const writable = await file.createWritable({ keepExistingData: true });
  await writable.write({ type: "write", position: 0, data: Uint8Array.of(first ^ 1) });
  await writable.close();
}

/** In the page: as if this browser had never been here. */
async function emptyStorage() {
  const root = await navigator.storage.getDirectory();
  for await (const name of root.keys()) await root.removeEntry(name, { recursive: true });
}

/** In the page: all files in the browser's storage, with their sizes or, if they are small, with what is in them. */
async function listStored() {
  const found = {};
  const root = await navigator.storage.getDirectory();
  for await (const [folder, handle] of root) {
    for await (const [name, file] of handle) {
      // A worker may have renamed it by now.
      const content = await file.getFile().catch((error) => {
        if (error.name !== "NotFoundError") throw error;
      });
      if (content) found[`${folder}/${name}`] = folder === "hub-models" ? await content.text() : content.size;
    }
  }
  return found;
}
