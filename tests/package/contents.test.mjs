/** What is in the packages, as they are packed: how it is found, and its types. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { at, install, tarballOf } from "./installed.mjs";

for (const name of ["tabtune", "tabtune-base"])
  test(`publint and arethetypeswrong find no fault with ${name}`, () => {
    const tarball = tarballOf(name);
    npx("publint@0.3.25", "--strict", tarball);
    npx(
      "@arethetypeswrong/cli@0.18.5",
      "--profile",
      "esm-only",
      "--exclude-entrypoints",
      "tabtune.wasm",
      "--",
      tarball,
    );
  });

test("the types are whole, and are those of the README's calls", () => {
  const folder = install("types");
  const options = ["--noEmit", "--strict", "--target", "es2023", "--lib", "es2023,esnext.disposable,dom,dom.iterable"];
  run(at("../../www/node_modules/.bin/tsc"), [...options, "--module", "nodenext", "use.ts"], folder);
});

function npx(...args) {
  run("npx", ["--yes", ...args]);
}

/** Throws with what the command said if it fails. */
function run(command, args, cwd = at(".")) {
  try {
    execFileSync(command, args, { cwd, encoding: "utf8", stdio: "pipe" });
  } catch ({ stdout, stderr }) {
    assert.fail(`${command} ${args.join(" ")}\n${stdout}${stderr}`);
  }
}
