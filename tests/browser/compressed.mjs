/** What the server sends is compressed, if that makes it smaller and the browser takes it. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { get } from "node:http";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import { address, close, open } from "./browser.mjs";

const dist = fileURLToPath(new URL("../../www/dist", import.meta.url));
const unpack = { br: brotliDecompressSync, gzip: gunzipSync };

describe("the server", () => {
  test("sends Chromium the page, its program and its model compressed, and they work", async () => {
    const page = await open({ blank: true });
    const sent = new Map();
    page.on("response", (response) => {
      const name = new URL(response.url()).pathname.split("/").at(-1);
      sent.set(name.replace(/-.{8}\./, "."), response.allHeaders());
    });
    await page.unroute(address());
    await page.goto(address());
    await page.getByText("0 network requests").waitFor();
    for (const name of ["", "index.js", "style.css", "tabtune_bg.wasm", "tokenizer.json", "model.safetensors"])
      assert.match(String((await sent.get(name))?.["content-encoding"]), /^(br|gzip)$/, name);
    assert.deepEqual(page.faults, []);
    await close(page);
  });

  for (const [accepted, encoding] of [
    ["gzip, deflate, br, zstd", "br"],
    ["gzip;q=1.0, br;q=0, gzip", "gzip"],
    ["br;q=0, identity", undefined],
    [undefined, undefined],
  ])
    test(`sends ${encoding ?? "the files as they are"} where \`${accepted}\` is accepted`, async () => {
      for (const [path, type] of [
        ["index.html", "text/html; charset=utf-8"],
        ["base/tokenizer.json", "application/json"],
        ["samples/captain.txt", "text/plain; charset=utf-8"],
      ]) {
        const { headers, body } = await request(path, accepted);
        assert.equal(headers["content-encoding"], encoding);
        assert.equal(headers["content-type"], type);
        assert.equal(headers.vary, "Accept-Encoding");
        assert.equal(Number(headers["content-length"]), body.length);
        const original = readFileSync(join(dist, path));
        assert.ok(original.equals(encoding ? unpack[encoding](body) : body), path);
        assert.ok(!encoding || body.length < original.length);
      }
    });
});

function request(path, accepted) {
  return new Promise((resolve, reject) => {
    const headers = accepted ? { "Accept-Encoding": accepted } : {};
    get(address() + path, { headers }, async (response) => {
      const body = Buffer.concat(await response.toArray());
      resolve({ headers: response.headers, body });
    }).on("error", reject);
  });
}
