/** How much a first visit has to fetch: as `make page` builds it or, with `RELEASE=1`, as `make release` does. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants } from "node:zlib";

const assets = fileURLToPath(new URL("../../www/dist/assets", import.meta.url));

/** In bytes, compressed with brotli as far as it goes. Without the CPU's products the released wasm had 934,000. */
const limits = [
  { ending: ".js", most: 52_000 },
  { ending: ".wasm", most: process.env.RELEASE ? 1_002_000 : 1_255_000 },
];

for (const { ending, most } of limits)
  test(`all ${ending} files together have at most ${most / 1000} kB`, (t) => {
    const files = readdirSync(assets).filter((name) => name.endsWith(ending));
    const sizes = files.map((name) => [name, packed(readFileSync(join(assets, name)))]);
    const sum = sizes.reduce((sum, [, size]) => sum + size, 0);
    t.diagnostic(sizes.map(([name, size]) => `${name} ${(size / 1000).toFixed(1)} kB`).join(", "));
    assert.ok(sum > 0 && sum <= most, `they have ${sum} bytes`);
  });

function packed(content) {
  return brotliCompressSync(content, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
      [constants.BROTLI_PARAM_SIZE_HINT]: content.length,
    },
  }).length;
}
