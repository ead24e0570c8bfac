/** How large the packages are, as they are packed, and what a browser has to fetch of them. */

import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { brotliCompressSync } from "node:zlib";
import { packed, tarballOf } from "./installed.mjs";

const home = join(packed, "tabtune");
/** What `create` loads with a packaged model, and what it loads besides for one of the Hub. */
const scripts = ["index.js", "worker.js"];
const forHub = ["download.js"];

/** In bytes. The wasm that `make wasm` builds is linked in a hurry; `make release` builds the smaller one. */
const limits = {
  wasm: process.env.RELEASE ? 1_300_000 : 1_500_000,
  scripts: 40_000,
  forHub: 15_000,
  tabtune: process.env.RELEASE ? 2_000_000 : 2_260_000,
  "tabtune-base": 12_000_000,
};

test(`the wasm has at most ${limits.wasm / 1000} kB, compressed with brotli`, (t) => {
  within(t, brotli("tabtune.wasm"), limits.wasm);
});

test(`scripts that a packaged model needs have at most ${limits.scripts / 1000} kB, compressed with brotli`, (t) => {
  within(t, together(scripts), limits.scripts);
});

test(`what a model of the Hub needs besides has at most ${limits.forHub / 1000} kB, compressed with brotli`, (t) => {
  within(t, together(forHub), limits.forHub);
  t.diagnostic(`${together([...scripts, ...forHub])} bytes with the others`);
});

for (const name of ["tabtune", "tabtune-base"])
  test(`the tarball of ${name} has at most ${limits[name] / 1e6} MB`, (t) => {
    within(t, statSync(tarballOf(name)).size, limits[name]);
  });

function within(t, bytes, most) {
  t.diagnostic(`${bytes} bytes`);
  assert.ok(bytes > 0 && bytes <= most, `it has ${bytes} bytes`);
}

function together(names) {
  return names.reduce((sum, name) => sum + brotli(name), 0);
}

function brotli(name) {
  return brotliCompressSync(readFileSync(join(home, name))).length;
}
