/**
 * An adapter merged into the model's files: in Node and in Chromium the same bytes, as streams that are computed no
 * faster than they are read. The files are left for `make parity-merge`, which compares them with the command line's.
 */

import assert from "node:assert/strict";
import { cpSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { launch } from "../../www/demo/chromium.mjs";
import { at, install, openPage, serveFolder } from "./installed.mjs";

const { unzipSync } = createRequire(new URL("../../www/package.json", import.meta.url))("fflate");

const base = at("../../www/public/base");
const out = at("../../artefacts/package/merged");
const text = "The sea was calm, and the captain wrote a letter to his daughter about the whales. ".repeat(40);
const MOST_AT_ONCE = 4 << 20;

let folder;
let merging;
let model;
let adapter;

before(async () => {
  folder = install("merge", "plain");
  merging = await import(pathToFileURL(join(folder, "merge.js")));
  // The folder's name is that of the model, as on the command line.
  model = await merging.create({ folder: base });
  adapter = await model.train(await model.dataset(text), { maxSteps: 4, lr: 0.005 }).adapter;
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  const zip = new Uint8Array(await (await adapter.toBlob()).arrayBuffer());
  writeFileSync(join(folder, "adapter.zip"), zip);
  write("adapter", unzipSync(zip));
});
after(() => model.destroy());

function write(form, files) {
  mkdirSync(join(out, form), { recursive: true });
  for (const [name, content] of Object.entries(files)) writeFileSync(join(out, form, name), content);
}

const contentOf = async (merged) => new Uint8Array(await (await merged.toBlob()).arrayBuffer());

test("what is merged opens again and computes what the adapter does", async () => {
  const data = await model.dataset(text);
  const [alone, adapted] = [await model.evaluate(data), await model.evaluate(data, { adapter })];
  assert.ok(adapted.loss < alone.loss - 0.3, `${alone.loss} became ${adapted.loss}`);
  // The base is in f16: what it is rounded to is as far away as the adapter's effect is large.
  for (const [options, tolerance] of [
    [{ type: "f32" }, 1e-5],
    [{ format: "gguf", type: "f32" }, 1e-5],
    [{}, 1e-2],
    [{ format: "gguf", type: "q8_0" }, 5e-2],
  ]) {
    const merged = await model.merge({ adapter, ...options });
    const files = merged.files.map(async ({ name, stream }) => new File([await new Response(stream()).blob()], name));
    const other = await merging.create({ files: await Promise.all(files) });
    const { loss } = await other.evaluate(await other.dataset(text));
    other.destroy();
    const what = `${JSON.stringify(options)}: ${adapted.loss} became ${loss}`;
    assert.ok(Math.abs(loss / adapted.loss - 1) < tolerance, what);
  }
});

test("every form has the bytes that it says, and a strength of 0 leaves the base as it is", async () => {
  for (const [form, options] of Object.entries(merging.forms)) {
    const merged = await model.merge({ adapter, ...options });
    const content = await contentOf(merged);
    assert.equal(content.length, merged.bytes, form);
    const files = merged.name === "model.zip" ? unzipSync(content) : { [merged.name]: content };
    for (const { name, bytes } of merged.files) assert.equal(files[name].length, bytes, name);
    write(form, files);
  }
  const unchanged = unzipSync(await contentOf(await model.merge({ adapter, strength: 0 })));
  const weights = readFileSync(join(base, "model.safetensors"));
  assert.equal(Buffer.compare(Buffer.from(unchanged["model.safetensors"]), weights), 0);
  assert.notEqual(Buffer.compare(readFileSync(join(out, "as-base/model.safetensors")), weights), 0);
  const said = (await model.merge({ adapter, ...merging.forms["gguf-q8_0"] })).warnings;
  assert.deepEqual(
    said.map(({ code }) => code),
    ["f16_instead"],
  );
});

test("no piece is larger than four megabytes, and what nobody asks for is not read", async () => {
  const copy = join(folder, "copy");
  cpSync(base, copy, { recursive: true });
  const other = await merging.create({ folder: copy });
  for (const options of Object.values(merging.forms))
    for (const { name, stream } of (await other.merge({ adapter, ...options })).files) {
      if (name.endsWith(".json")) continue;
      for await (const { length } of stream()) assert.ok(length > 0 && length <= MOST_AT_ONCE, `${name}: ${length}`);
    }
  const merged = await other.merge({ adapter });
  const file = merged.files.find(({ name }) => name === "model.safetensors");
  const reader = file.stream().getReader();
  await reader.read();
  await pause(300);
  truncateSync(join(copy, "model.safetensors"), 1000);
  await assert.rejects(
    async () => {
      while (!(await reader.read()).done);
    },
    { name: "LoraError", code: "io" },
  );
  other.destroy();
});

test("reading is given up in the middle, by its signal or its reader, and the model goes on", async () => {
  const controller = new AbortController();
  const merged = await model.merge({ adapter, type: "f32", signal: controller.signal });
  const file = merged.files.find(({ name }) => name === "model.safetensors");
  const reader = file.stream().getReader();
  assert.ok((await reader.read()).value.length > 0);
  const reading = reader.read();
  controller.abort("no longer wanted");
  await assert.rejects(reading, { name: "LoraError", code: "aborted", cause: "no longer wanted" });
  await assert.rejects(merged.toBlob(), { code: "aborted" });
  await assert.rejects(model.merge({ adapter, signal: controller.signal }), { code: "aborted" });

  const again = (await model.merge({ adapter, type: "f32" })).files.find(({ name }) => name === "model.safetensors");
  const leaving = again.stream().getReader();
  await leaving.read();
  await leaving.cancel();
  // Two at once, and a text beside them.
  const blobs = [0, 1].map(() => new Response(again.stream()).arrayBuffer());
  const written = model.generate("The sea", { maxTokens: 4, temperature: 0 }).result;
  const [first, second] = await Promise.all(blobs);
  assert.equal(Buffer.compare(Buffer.from(first), Buffer.from(second)), 0);
  assert.equal((await written).tokens, 4);
});

test("what cannot be merged is refused by its name", async () => {
  const refused = (options, message) => assert.rejects(model.merge(options), { code: "setting", message });
  await refused({}, /`adapter`/);
  await refused({ adapter: {} }, /a LoraAdapter/);
  await refused({ adapter, type: "q4_0" }, /one of f32, f16, q8_0/);
  await refused({ adapter, type: "q8_0" }, /f32 or f16 for safetensors/);
  await refused({ adapter, format: "onnx" }, /one of safetensors, gguf/);
  await refused({ adapter, strength: Number.NaN }, /`strength`/);
  await assert.rejects(model.merge({ adapter: { config: "{}", weights: new Uint8Array(8) } }), { code: "adapter" });
  const ended = await merging.create();
  const merged = await ended.merge({ adapter });
  ended.destroy();
  await assert.rejects(merged.toBlob(), { code: "closed" });
});

test("Chromium gives the bytes that Node gives, and writes them into a folder", async () => {
  const [server, browser] = await Promise.all([serveFolder(folder), launch()]);
  try {
    const page = await openPage(browser);
    await page.goto(server.address);
    const found = await page.evaluate(async () => {
      const { hashes, folders } = await import("./merge.js");
      const zip = await (await fetch("./adapter.zip")).blob();
      return { hashes: await hashes(zip), ...(await folders(zip)) };
    });
    const zip = new Blob([readFileSync(join(folder, "adapter.zip"))]);
    assert.deepEqual(found.hashes, await merging.hashes(zip));
    assert.equal(Object.keys(found.hashes).length, 14);
    assert.equal(found.whole.end, "written");
    assert.deepEqual(found.whole.found, found.whole.wanted);
    assert.equal(found.aborted.end, "aborted");
    assert.ok(!(found.aborted.found["model.safetensors"] > 0), JSON.stringify(found.aborted.found));
  } finally {
    await browser.close();
    server.close();
  }
});
