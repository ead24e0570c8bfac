/** Builds the npm packages `tabtune` and `tabtune-base` into dist-package/, and packs them. Needs the built wasm. */

import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const out = at("../dist-package");
const home = join(out, "tabtune");
const base = join(out, "tabtune-base");

rmSync(out, { recursive: true, force: true });
mkdirSync(home, { recursive: true });

await script("index.js", "../api/index.ts", { assets: "./addresses.ts" });
await script("node.js", "../api/index.ts", {
  assets: "./node_host.mjs",
  host: "./node_host.mjs",
  availability: "./node_host.mjs",
});
await script("worker.js", "../worker/worker.ts", {}, true);
await script("download.js", "../worker/download.ts", {}, true);
await script("node_worker.js", "./node_worker.mjs", {});
cpSync(at("../worker/wasm/tabtune_bg.wasm"), join(home, "tabtune.wasm"));
types();
cpSync(at("README.md"), join(home, "README.md"));
manifest("package.json", home);

cpSync(at("../public/base"), base, { recursive: true });
for (const file of ["index.js", "index.d.ts"]) cpSync(at(join("base", file)), join(base, file));
manifest("base/package.json", base);

// The licence of what download.js has from elsewhere.
cpSync(at("../node_modules/hash-wasm/LICENSE"), join(home, "LICENSE-hash-wasm"));

for (const folder of [home, base]) {
  for (const file of ["LICENSE-MIT", "LICENSE-APACHE"]) cpSync(at(join("../..", file)), join(folder, file));
  execFileSync("npm", ["pack", "--silent", "--pack-destination", out], { cwd: folder, stdio: "inherit" });
}

/** Bundles one file. `others` are modules of the page that the package has something else for. */
async function script(name, input, others, minify = false) {
  const exchange = {
    name: "exchange",
    resolveId(id, importer) {
      const other = importer && /^\.\/(\w+)$/.exec(id)?.[1];
      return other && Object.hasOwn(others, other) ? at(others[other]) : undefined;
    },
    /** What starts the engine always gives it its wasm; bundlers would pack a second one for this address. */
    transform(code, id) {
      if (!id.endsWith("wasm/tabtune.js")) return;
      const address = "new URL('tabtune_bg.wasm', import.meta.url)";
      if (!code.includes(address)) throw new Error(`${id} has no ${address}`);
      return code.replace(address, "undefined");
    },
  };
  const bundle = await rolldown({
    input: at(input),
    platform: "neutral",
    resolve: { mainFields: ["module", "main"] },
    external: [/^node:/, "./worker.js"],
    plugins: [exchange],
  });
  await bundle.write({ file: join(home, name), format: "es", minify, codeSplitting: false });
  await bundle.close();
}

/** Every package has the version of this one. */
function manifest(path, folder) {
  const { version } = JSON.parse(readFileSync(at("../package.json"), "utf8"));
  const { name, ...rest } = JSON.parse(readFileSync(at(path), "utf8"));
  writeFileSync(join(folder, "package.json"), `${JSON.stringify({ name, version, ...rest }, null, 2)}\n`);
}

/** Node's way to find modules needs the endings that the sources leave out. */
function types() {
  execFileSync(at("../node_modules/.bin/tsc"), ["-p", at("tsconfig.json")], { stdio: "inherit" });
  const folder = join(home, "types");
  for (const name of readdirSync(folder, { recursive: true }).filter((name) => name.endsWith(".d.ts"))) {
    const path = join(folder, name);
    writeFileSync(path, readFileSync(path, "utf8").replace(/(from|import\()( ?"\.\.?\/[^"]+)"/g, '$1$2.js"'));
  }
  writeFileSync(
    join(folder, "worker.d.ts"),
    "/** The script of the worker: give its address as `workerUrl`. */\nexport {};\n",
  );
}
