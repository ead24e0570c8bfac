/** Adapters that are not what they claim: damaged, far too large, or made for another model. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import {
  banner,
  chooseSample,
  close,
  download,
  downloadButton,
  inspect,
  open,
  SMALL,
  startButton,
  trained,
  unzipSync,
  written,
  zipSync,
} from "./browser.mjs";

const CONFIG = "adapter_config.json";
const WEIGHTS = "adapter_model.safetensors";

describe("an adapter that is not what it claims", () => {
  let saved;
  let files;
  let zeros;
  let page;
  const openButton = () => page.getByRole("button", { name: "Open a saved adapter…" });
  const give = (name, buffer) =>
    page.locator("#keep input[type=file]").setInputFiles([{ name, mimeType: "application/zip", buffer }]);
  const openedFrom = (name) => page.getByText(new RegExp(`opened from ${name.replace(".", "\\.")}`)).waitFor();
  const question = () => page.getByRole("region", { name: /^Is .* for this model\?$/ });
  const answer = (name) => page.getByRole("button", { name });
  const focused = (selector) => page.waitForFunction((wanted) => document.activeElement?.matches(wanted), selector);

  before(async () => {
    page = await open({ hash: `#${SMALL}&steps=2&sampleEvery=0` });
    await chooseSample(page);
    await startButton(page).click();
    await trained(page);
    await written(page);
    saved = await download(page, downloadButton(page));
    files = unzipSync(saved);
    await close(page);
    page = await open({ hash: `#${SMALL}` });
    await openButton().waitFor();
  });
  after(() => close(page));

  for (const [name, make, says, hint] of [
    ["flipped.zip", () => flipped(saved), /the zip is damaged: adapter_model.*is not what was packed/, /again/],
    ["deflated.zip", () => flipped(repacked({})), /the zip is damaged: adapter_model.*is not what was/, /again/],
    ["large.zip", bomb, /400 MB.*no adapter of this model/, /larger/],
    ["config.zip", () => repacked({ [CONFIG]: new Uint8Array(9e6) }), /9 MB, and 1 MB are plenty/, /Open the zip/],
    ["liar.zip", () => liar(bomb()), /the zip is damaged: adapter_model/, /again/],
    ["locked.zip", () => listed(saved, 8, 1), /locked with a password/, /Unpack it/],
    ["method.zip", () => listed(saved, 10, 12), /packed by a method \(12\)/, /Unpack it/],
  ])
    test(`${name} is refused`, async () => {
      await give(name, make());
      await page.waitForFunction(
        (wanted) => document.querySelector("#keep .banner .what")?.textContent.includes(wanted),
        name,
      );
      assert.match(await banner(page, "keep").locator(".what").textContent(), says);
      assert.match(await banner(page, "keep").locator("p").nth(1).textContent(), hint);
      assert.equal(await downloadButton(page).count(), 0);
    });

  test("one for a model of another name is a question; left, it changes nothing", async () => {
    await give("foreign.zip", repacked(noting({ base: "meta-llama/Llama-3-8B", sha256: null })));
    await question().waitFor();
    assert.equal(await banner(page, "keep").count(), 0);
    assert.match(await question().textContent(), /made for meta-llama\/Llama-3-8B.*Built-in story model loaded/);
    await focused("#keep .doubtful button:last-child");
    await inspect(page, "foreign-base");
    await page.keyboard.press("Escape");
    await question().waitFor({ state: "detached" });
    await focused("#keep-title");
    assert.equal(await downloadButton(page).count(), 0);
    await give("foreign.zip", repacked(noting({ base: "meta-llama/Llama-3-8B", sha256: null })));
    await answer("Leave it").click();
    await question().waitFor({ state: "detached" });
    assert.equal(await downloadButton(page).count(), 0);
  });

  test("opened anyway, it is used, with a warning that stays", async () => {
    await give("foreign.zip", repacked(noting({ base: "meta-llama/Llama-3-8B", sha256: null })));
    await focused("#keep .doubtful button:last-child");
    await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("Enter");
    await openedFrom("foreign.zip");
    await focused("#keep-title");
    assert.match(await page.locator("#keep .note").first().textContent(), /its base is meta-llama\/Llama-3-8B/);
    await written(page);
    await inspect(page, "foreign-base-opened");
  });

  test("other weights under the same name are a question too, and leave what was opened before", async () => {
    await give("retrained.zip", repacked(noting({ sha256: "0".repeat(64) })));
    await question().waitFor();
    assert.match(await question().textContent(), /called Built-in story model too.*weights are others/);
    await answer("Leave it").click();
    assert.match(await page.locator(".download p").textContent(), /opened from foreign\.zip/);
  });

  test("the same weights under another name are a question that says so", async () => {
    await give("renamed.zip", repacked(noting({ base: "meta-llama/Llama-3-8B" })));
    await question().waitFor();
    assert.match(await question().textContent(), /the same model under another name/);
    await answer("Open it anyway").click();
    await openedFrom("renamed.zip");
  });

  test("another choice takes the place of a question", async () => {
    await give("retrained.zip", repacked(noting({ sha256: "0".repeat(64) })));
    await question().waitFor();
    await give("mine.zip", saved);
    await openedFrom("mine.zip");
    assert.equal(await question().count(), 0);
  });

  test("a base in another folder, or none at all, is no question", async () => {
    for (const [name, noted] of [
      ["folder.zip", { base: "/home/me/models/Built-in story model/", sha256: null }],
      ["silent.zip", { base: "", sha256: null }],
    ]) {
      await give(name, repacked(noting(noted)));
      await openedFrom(name);
      assert.equal(await question().count(), 0);
    }
    assert.deepEqual(page.faults, []);
  });

  function repacked(changed) {
    return Buffer.from(zipSync({ ...files, ...changed }, { level: 9 }));
  }

  /** 0.4 MB that unpack to 400. */
  function bomb() {
    zeros ??= repacked({ [WEIGHTS]: new Uint8Array(400e6) });
    return zeros;
  }

  /** The same numbers, with another note of their base. */
  function noting({ base, sha256 }) {
    const config = JSON.parse(Buffer.from(files[CONFIG]).toString());
    const weights = Buffer.from(files[WEIGHTS]);
    const end = 8 + Number(weights.readBigUInt64LE(0));
    const header = JSON.parse(weights.toString("utf8", 8, end));
    assert.match(header.__metadata__.base_sha256, /^[0-9a-f]{64}$/);
    if (sha256 === null) delete header.__metadata__.base_sha256;
    if (sha256) header.__metadata__.base_sha256 = sha256;
    const text = Buffer.from(JSON.stringify(header));
    const padded = Buffer.concat([text, Buffer.alloc(-text.length & 7, " ")]);
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(padded.length));
    return {
      [CONFIG]: Buffer.from(
        JSON.stringify({ ...config, base_model_name_or_path: base ?? config.base_model_name_or_path }),
      ),
      [WEIGHTS]: Buffer.concat([length, padded, weights.subarray(end)]),
    };
  }
});

/** One bit of the weights is another. */
function flipped(zip) {
  const copy = Buffer.from(zip);
  copy[copy.indexOf(WEIGHTS) + 50_000] ^= 1;
  return copy;
}

/** A zip in whose list the 16 bits at `offset` in the record of the weights are `value`. */
function listed(zip, offset, value) {
  const copy = Buffer.from(zip);
  const name = copy.lastIndexOf(WEIGHTS);
  copy.writeUInt16LE(value, name - 46 + offset);
  return copy;
}

/** A zip that says of the weights that they unpack to 2000 bytes. */
function liar(zip) {
  return listed(listed(zip, 24, 2000), 26, 0);
}
