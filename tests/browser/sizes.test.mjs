/** How much a visit has to fetch: as `make page` builds the page or, with `RELEASE=1`, as `make release` does. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants } from "node:zlib";

const dist = fileURLToPath(new URL("../../www/dist", import.meta.url));
const assets = join(dist, "assets");

/**
 * In bytes, compressed with brotli as far as it goes. The wasm that `make page` builds is linked in a hurry; the goal
 * of 1,300,000 is for the released one, which had 1,029,000 before it read GGUF files and eight families.
 */
const limits = [
  {
    what: "the scripts of a first visit",
    wanted: (name) => name.endsWith(".js") && ![isForHub, isForMerging, isForMeasuring].some((is) => is(name)),
    most: 60_500,
  },
  { what: "what only the Hub needs", wanted: isForHub, most: 25_000 },
  { what: "what only merging needs", wanted: isForMerging, most: 4_000 },
  { what: "what only measuring needs", wanted: isForMeasuring, most: 2_500 },
  { what: "the program", wanted: (name) => name.endsWith(".wasm"), most: process.env.RELEASE ? 1_240_000 : 1_500_000 },
];

/** Fetched when a visitor asks for the Hub: the view and the download worker. */
function isForHub(name) {
  return /^(hub|download)-.*\.(js|css)$/.test(name);
}

/** Fetched when a visitor asks for the merged model. */
function isForMerging(name) {
  return /^merged-.*\.(js|css)$/.test(name);
}

/** Fetched when a visitor has the device measured. */
function isForMeasuring(name) {
  return /^measured-.*\.(js|css)$/.test(name);
}

for (const { what, wanted, most } of limits)
  test(`${what}: at most ${most / 1000} kB`, (t) => {
    const files = readdirSync(assets).filter(wanted);
    const sizes = files.map((name) => [name, packed(readFileSync(join(assets, name)))]);
    const sum = sizes.reduce((sum, [, size]) => sum + size, 0);
    t.diagnostic(sizes.map(([name, size]) => `${name} ${(size / 1000).toFixed(1)} kB`).join(", "));
    assert.ok(sum > 0 && sum <= most, `they have ${sum} bytes`);
  });

test("the built-in model has at most 12 MB", (t) => {
  const names = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"];
  const sum = names.reduce((sum, name) => sum + statSync(join(dist, "base", name)).size, 0);
  t.diagnostic(`${(sum / 1e6).toFixed(1)} MB`);
  assert.ok(sum <= 12e6, `it has ${sum} bytes`);
});

function packed(content) {
  return brotliCompressSync(content, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
      [constants.BROTLI_PARAM_SIZE_HINT]: content.length,
    },
  }).length;
}
