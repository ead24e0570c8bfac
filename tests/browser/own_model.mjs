/** A checkpoint from the visitor's disk replaces the built-in model, unless it cannot be used. */

import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  banner,
  chooseSample,
  close,
  download,
  inspect,
  open,
  SMALL,
  startButton,
  trained,
  unzipSync,
  written,
} from "./browser.mjs";

const base = fileURLToPath(new URL("../../www/public/base", import.meta.url));
const untokenized = fileURLToPath(new URL("../fixtures/models/llama", import.meta.url));
const INDEX = "model.safetensors.index.json";
/** The largest piece that may be read of the weights at once. */
const PIECE = 4 << 20;

describe("a model of one's own", () => {
  let page;
  let folder;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "tabtune-"));
    page = await open({ hash: `#${SMALL}&steps=8&evalEvery=4&sampleEvery=4`, workers: 1 });
    await chooseSample(page);
    await page.getByRole("button", { name: "Change: The model" }).click();
    await page.getByText("Use another model").click();
  });
  after(async () => {
    rmSync(folder, { recursive: true });
    await close(page);
  });

  /** Once the text is cut into rows, which another model does anew. */
  const counts = () => page.locator("#text .done-line", { hasText: /\d rows?,/ }).textContent();
  const what = () => banner(page, "model").locator(".what");
  const pickFolder = (path) => page.locator("#model input[type=file]").first().setInputFiles(path);

  /** A copy of the built-in model with one thing changed. */
  function variant(name, change) {
    const copy = join(folder, name);
    cpSync(base, copy, { recursive: true });
    change((file) => join(copy, file));
    return copy;
  }

  test("a folder without a tokenizer is refused at once", async () => {
    await pickFolder(untokenized);
    await what().waitFor();
    assert.match(await what().textContent(), /llama: tokenizer\.json is missing/);
  });

  const wrong = {
    "another-family": [
      (at) => edit(at("config.json"), (config) => ({ ...config, model_type: "mamba" })),
      /Model type mamba is not supported/,
    ],
    "cut-short": [(at) => truncateSync(at("model.safetensors"), 2_000_000), /model\.safetensors/],
    "another-shape": [(at) => edit(at("config.json"), (config) => ({ ...config, hidden_size: 320 })), /expected|head/],
    "not-json": [(at) => writeFileSync(at("config.json"), "{"), /config\.json/],
  };
  for (const [name, [change, says]] of Object.entries(wrong))
    test(`${name} ends in a banner, and the built-in model stays`, async () => {
      await pickFolder(variant(name, change));
      await what().waitFor();
      assert.match(await what().textContent(), says);
      assert.equal(await page.getByRole("button", { name: /^Load / }).count(), 0);
      assert.doesNotMatch(await page.locator("#model").textContent(), /fits|GB/);
      assert.match(await page.locator("#model").textContent(), /Built-in story model/);
      if (name === "another-family") await inspect(page, "model-refused");
      await banner(page, "model").getByRole("button", { name: "Close" }).click();
    });

  test("of one in several files, what is missing or is where it should not be is said", async () => {
    const without = variant("without-a-part", (at) => {
      cut(at);
      rmSync(at(part(2)));
    });
    await pickFolder(without);
    await what().waitFor();
    assert.match(
      await what().textContent(),
      /of its 3 files, 1 cannot be found, the first of them model-00002-of-00003/,
    );
    await pickFolder(
      variant("another-place", (at) => {
        cut(at);
        edit(at(INDEX), ({ weight_map }) => ({ weight_map: { ...weight_map, "model.norm.weight": part(1) } }));
      }),
    );
    await page.getByText("holds tensor model.norm.weight, which should be in model-00001-of-00003").waitFor();
    await banner(page, "model").getByRole("button", { name: "Close" }).click();
  });

  test("one in several files is read piece by piece and has the same rows", async () => {
    const before = await counts();
    const decoy = (at) => {
      // What lies further down, or under a name that the index does not know, is not the model.
      mkdirSync(at("original"));
      writeFileSync(at(`original/${part(1)}`), "");
      writeFileSync(at("consolidated.safetensors"), "");
      cut(at);
    };
    await pickFolder(variant("my-parts", decoy));
    await page.getByText("5.4 M parameters, 11 MB on the disk.").waitFor();
    await load("my-parts");
    assert.equal(await counts(), before);
    await page.getByRole("button", { name: "Change: The model" }).click();
    await page.getByRole("button", { name: "Back to the built-in model" }).click();
    await page.getByText("It learnt the English of children's stories").waitFor();
    await page.getByText("Use another model").click();
  });

  /** Loads what was picked, in pieces. */
  async function load(name) {
    const fresh = page.waitForEvent("worker");
    await page.getByRole("button", { name: `Load ${name}` }).click();
    await (await fresh).evaluate(watchReads);
    await page.getByText("It comes from your own disk.").waitFor();
    const reads = await (await fresh).evaluate(() => self.reads);
    assert.ok(reads.length > 0 && Math.max(...reads) <= PIECE, `pieces of ${reads}`);
    await page.getByRole("button", { name: "Close" }).click();
    await startButton(page).waitFor();
    await page.waitForFunction(() => /rows/.test(document.querySelector("#text .done-line").textContent));
  }

  test("one that fails while it is read leaves the built-in model, and no two are there at once", async () => {
    const before = await counts();
    const broken = (at) => {
      const weights = readFileSync(at("model.safetensors"));
      weights.writeUInt16LE(0x7e00, weights.length - 2); // not a number
      writeFileSync(at("model.safetensors"), weights);
    };
    await pickFolder(variant("not-finite", broken));
    await page.evaluate(watchWorkers);
    await page.getByRole("button", { name: "Load not-finite" }).click();
    await what().waitFor();
    // The old engine, the one that fails, and the old one again.
    assert.deepEqual(await page.evaluate(() => self.lives), ["ended", "begun", "ended", "begun"]);
    assert.match(await what().textContent(), /model\.norm|not a finite number|finite/);
    assert.match(await page.locator("#model").textContent(), /Built-in story model/);
    await banner(page, "model").getByRole("button", { name: "Close" }).click();
    await startButton(page).waitFor();
    assert.equal(await counts(), before);
    assert.equal(page.workers().length, 1);
    assert.deepEqual(page.faults, []);
  });

  test("a good one is measured before it is loaded, and read piece by piece", async () => {
    const before = await counts();
    const shorter = (tokenizer) => ({
      ...tokenizer,
      model: { ...tokenizer.model, merges: tokenizer.model.merges.slice(0, 800) },
    });
    const other = variant("my-model", (at) => {
      edit(at("tokenizer.json"), shorter);
      flipLastBit(at("model.safetensors"));
    });
    await pickFolder(other);
    await page.getByText("5.4 M parameters, 11 MB on the disk.").waitFor();
    await inspect(page, "model-picked");
    await load("my-model");
    assert.notEqual(await counts(), before);
    await inspect(page, "model-loaded");
  });

  test("it trains, and the way back leads to the built-in one", async () => {
    await startButton(page).click();
    await trained(page);
    await written(page);
    await page.getByText("Use it elsewhere").click();
    assert.equal(await page.locator("#keep a[href^='./base/']").count(), 0);
    await page.getByRole("button", { name: "Change: The model" }).click();
    await page.getByRole("button", { name: "Back to the built-in model" }).click();
    await page.getByText("It learnt the English of children's stories").waitFor();
    await page.getByRole("button", { name: "Close" }).click();
    await startButton(page).waitFor();
    assert.equal(await page.locator(".download").count(), 0);

    await page.getByRole("button", { name: "My adapters" }).click();
    const offer = page.getByRole("region", { name: "My adapters" }).getByRole("listitem").first();
    assert.match(await offer.textContent(), /Its model: my-model, .* load that model in the model card\./);
    assert.ok(await offer.getByRole("button", { name: "Try it" }).isDisabled());
    await inspect(page, "my-adapters-other-model");
    const zip = await download(page, offer.getByRole("button", { name: "Download" }));
    assert.match(Buffer.from(unzipSync(zip)["README.md"]).toString(), /base model \| my-model/);
    await page.getByText("0 network requests since the page was ready").waitFor();
    assert.deepEqual(page.faults, []);
  });
});

function edit(path, change) {
  writeFileSync(path, JSON.stringify(change(JSON.parse(readFileSync(path, "utf8")))));
}

function flipLastBit(path) {
  const bytes = readFileSync(path);
  bytes[bytes.length - 1] ^= 1;
  writeFileSync(path, bytes);
}

const part = (number) => `model-0000${number}-of-00003.safetensors`;

/** Cuts the weights into three files with an index, neighbours into different ones. */
function cut(at) {
  const whole = readFileSync(at("model.safetensors"));
  const begin = 8 + Number(whole.readBigUInt64LE());
  const { __metadata__, ...tensors } = JSON.parse(whole.subarray(8, begin).toString());
  const files = [1, 2, 3].map((number) => ({ name: part(number), header: {}, data: [], bytes: 0 }));
  const weightMap = {};
  for (const [turn, [name, { data_offsets, ...facts }]] of Object.entries(tensors).entries()) {
    const file = files[turn % files.length];
    const data = whole.subarray(...data_offsets.map((offset) => begin + offset));
    file.header[name] = { ...facts, data_offsets: [file.bytes, file.bytes + data.length] };
    file.data.push(data);
    file.bytes += data.length;
    weightMap[name] = file.name;
  }
  for (const { name, header, data } of files) {
    const json = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(json.length));
    writeFileSync(at(name), Buffer.concat([length, json, ...data]));
  }
  writeFileSync(at(INDEX), JSON.stringify({ metadata: {}, weight_map: weightMap }));
  rmSync(at("model.safetensors"));
}

/** Runs in the page: from here on, in which order workers begin and end, which a browser reports a moment later. */
function watchWorkers() {
  self.lives = [];
  const { terminate } = Worker.prototype;
  Worker.prototype.terminate = function () {
    self.lives.push("ended");
    terminate.call(this);
  };
  self.Worker = class extends Worker {
    constructor(...inputs) {
      super(...inputs);
      self.lives.push("begun");
    }
  };
}

/** Runs in the worker, before it has read anything. */
function watchReads() {
  self.reads = [];
  const read = Blob.prototype.arrayBuffer;
  Blob.prototype.arrayBuffer = function () {
    self.reads.push(this.size);
    return read.call(this);
  };
}
