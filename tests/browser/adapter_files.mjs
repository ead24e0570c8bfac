/** A saved adapter is opened again: to try it, or to train it further. */

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, before, describe, test } from "node:test";
import {
  askWorker,
  banner,
  chooseSample,
  close,
  download,
  downloadButton,
  engineWorker,
  inspect,
  listen,
  open,
  SMALL,
  savedLog,
  startButton,
  trained,
  unzipSync,
  written,
} from "./browser.mjs";

/** The sample text brings it. */
const PROMPT = "12 May, Monday. Wind";
const HASH = `#${SMALL}&steps=30&evalEvery=10&sampleEvery=15`;

const greedy = {
  prompt: PROMPT,
  adapter: true,
  strength: 1,
  seed: 0,
  maxTokens: 24,
  temperature: 0,
  topK: 0,
  topP: 1,
};

describe("an adapter from a file", () => {
  let folder;
  let zip;
  let texts;
  let evals;
  let page;
  const file = (name) => join(folder, name);
  const chooser = () => page.locator("#keep input[type=file]");

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "tabtune-"));
    page = await open({ hash: HASH });
    await chooseSample(page);
    const events = await listen(page);
    await startButton(page).click();
    await trained(page);
    texts = await written(page);
    const saved = await download(page, downloadButton(page));
    zip = file("mine.zip");
    writeFileSync(zip, saved);
    for (const [name, content] of Object.entries(unzipSync(saved))) writeFileSync(file(name), content);
    await page.getByRole("button", { name: "Show: Train" }).click();
    const log = await savedLog(page);
    assert.deepEqual(log, await events());
    assert.equal(log[0].type, "config");
    assert.equal(log.at(-1).type, "done");
    evals = log.filter(({ type }) => type === "eval");
    await close(page);
  });
  after(async () => {
    rmSync(folder, { recursive: true });
    await close(page);
  });

  test("the zip writes what it wrote when it was saved, without any text chosen", async () => {
    page = await open({ hash: HASH });
    await page.getByRole("button", { name: "Open a saved adapter…" }).waitFor();
    await chooser().setInputFiles(zip);
    await page.getByLabel("How should it begin?").fill(PROMPT);
    await page.getByRole("button", { name: "Write both" }).click();
    assert.deepEqual(await written(page), texts);
    assert.match(await page.locator(".download p").textContent(), /opened from mine\.zip/);
    assert.equal(await page.locator("button.primary").count(), 1);
    await inspect(page, "adapter-opened");
  });

  test("so do PEFT's two files", async () => {
    await chooser().setInputFiles([file("adapter_config.json"), file("adapter_model.safetensors")]);
    await page.getByText(/opened from adapter_model\.safetensors/).waitFor();
    assert.deepEqual(await written(page), texts);
  });

  test("so do the files for llama.cpp and for MLX", async () => {
    await page.getByText("Use it elsewhere").click();
    const files = { "llama.cpp": file("tabtune-adapter.gguf"), MLX: file("tabtune-adapter-mlx.zip") };
    for (const [program, path] of Object.entries(files)) {
      const saved = await download(page, page.getByRole("button", { name: `Download for ${program}` }));
      writeFileSync(path, saved);
    }
    await inspect(page, "adapter-elsewhere");
    assert.deepEqual(Object.keys(unzipSync(readFileSync(files.MLX))).sort(), [
      "adapter_config.json",
      "adapters.safetensors",
    ]);
    for (const path of Object.values(files)) {
      await chooser().setInputFiles(path);
      await page.getByText(`opened from ${basename(path)}`).waitFor();
      assert.deepEqual(await written(page), texts);
    }
  });

  test("where texts are chosen, a GGUF adapter is not taken for a model", async () => {
    await page.locator("#text input[type=file]").first().setInputFiles(file("tabtune-adapter.gguf"));
    await page.getByText(/tabtune-adapter\.gguf is an adapter, no text: find it in card 4/).waitFor();
    await page.getByText("opened from tabtune-adapter.gguf").waitFor();
    assert.deepEqual(await written(page), texts);
  });

  test("another one takes its place without a new buffer or pipeline", async (t) => {
    const worker = await engineWorker(page);
    const config = readFileSync(file("adapter_config.json"), "utf8");
    const mine = new Uint8Array(readFileSync(file("adapter_model.safetensors")));
    const put = (weights) => askWorker(worker, "setAdapter", { config, weights });
    const write = () => askWorker(worker, "generate", greedy);
    const made = async () => {
      const { buffers, pipelines } = await askWorker(worker, "stats");
      return { buffers, pipelines };
    };
    const before = await made();
    const first = await write();
    const pressed = performance.now();
    await put(doubled(mine));
    t.diagnostic(`swapped in ${Math.round(performance.now() - pressed)} ms`);
    const second = await write();
    assert.notEqual(second.text, first.text);
    await put(mine);
    assert.deepEqual(await write(), first);
    assert.deepEqual(await made(), before);
  });

  for (const [name, make, says] of [
    ["cut.zip", (whole) => whole.subarray(0, whole.length / 2), /`?cut\.zip`?: the zip is damaged/],
    ["empty.zip", () => Buffer.from("PK\x05\x06".padEnd(22, "\0"), "binary"), /adapter_config\.json is not in it/],
  ])
    test(`${name} ends in a banner, and nothing is lost`, async () => {
      writeFileSync(file(name), make(readFileSync(zip)));
      await refused(file(name), says, "adapter");
    });

  test("a config without its weights, broken weights and a foreign adapter end in banners that say so", async () => {
    await refused(file("adapter_config.json"), /adapter_model\.safetensors is not in it/, "adapter");

    const weights = readFileSync(file("adapter_model.safetensors"));
    writeFileSync(file("short.safetensors"), weights.subarray(0, 1000));
    await refused(
      [file("adapter_config.json"), file("short.safetensors")],
      /its header claims \d+ bytes/,
      "safetensors",
    );

    const header = Number(weights.readBigUInt64LE(0));
    const foreign = Buffer.from(weights);
    foreign.write(foreign.toString("latin1", 8, 8 + header).replaceAll("layers.4.", "layers.9."), 8, "latin1");
    writeFileSync(file("foreign.safetensors"), foreign);
    await refused([file("adapter_config.json"), file("foreign.safetensors")], /layers\.9/, /adapter|tensor/);
    await inspect(page, "foreign-adapter");
    await banner(page, "keep").getByRole("button", { name: "Close" }).click();
  });

  test("a run continues from it: it starts as good as the adapter was", async () => {
    await page.getByRole("button", { name: "Continue from this adapter" }).click();
    await page.getByRole("button", { name: "A captain's log" }).click();
    await page.getByRole("button", { name: "Use this text" }).click();
    const start = page.locator("#train").getByRole("button", { name: /^Continue from this adapter, about/ });
    await start.waitFor();
    await inspect(page, "continue-from");
    await start.click();
    await page.getByRole("button", { name: "Show: Train" }).waitFor();
    await page.getByRole("button", { name: "Show: Train" }).click();
    const log = await savedLog(page);
    const [base, ...later] = log.filter(({ type }) => type === "eval").map(({ loss }) => loss);
    const reached = Math.min(...evals.map(({ loss }) => loss));
    assert.ok(Math.abs(base - evals[0].loss) < 1e-4);
    assert.ok(reached < base - 0.05, `the first run came from ${base} to ${reached}`);
    // A fresh run is still near the base here: its first steps are small ones.
    const first = log.find(({ type }) => type === "step");
    assert.equal(first.step, 1);
    assert.ok(later[0] < (base + reached) / 2, `${later[0]} after ten steps, ${reached} was reached before`);
    assert.deepEqual(page.faults, []);
  });

  async function refused(files, says, code) {
    await chooser().setInputFiles(files);
    await banner(page, "keep").waitFor();
    await page.waitForFunction(
      (source) => new RegExp(source).test(document.querySelector("#keep .banner .what").textContent),
      says.source,
    );
    if (!(await banner(page, "keep").locator("pre").isVisible()))
      await banner(page, "keep").getByText("Details").click();
    assert.match(
      await banner(page, "keep").locator("pre").textContent(),
      new RegExp(`"code": "(${code.source ?? code})`),
    );
    assert.deepEqual(await page.locator(".column .written").allTextContents(), texts);
    assert.match(await page.locator(".download p").textContent(), /opened from/);
  }
});

/** The same tensors with every number twice as large. */
function doubled(safetensors) {
  const copy = safetensors.slice();
  const view = new DataView(copy.buffer);
  for (let at = 8 + Number(view.getBigUint64(0, true)); at < copy.length; at += 4)
    view.setFloat32(at, 2 * view.getFloat32(at, true), true);
  return copy;
}
