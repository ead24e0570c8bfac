/** The rules of the house in www/: which room may import which, and where sizes and wide lines are allowed. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const www = fileURLToPath(new URL("../../www", import.meta.url));
const browser = fileURLToPath(new URL(".", import.meta.url));
const WIDEST = 120;

const files = ["api", "worker", "page", "package", "demo"].flatMap((room) =>
  readdirSync(join(www, room), { recursive: true })
    .map((path) => join(room, path))
    .filter((path) => !path.startsWith(join("worker", "wasm")) && /\.(tsx?|mjs|css)$/.test(path)),
);
const read = (path) => readFileSync(join(www, path), "utf8");
const modules = files.filter((path) => /\.tsx?$/.test(path) && !path.endsWith(".d.ts"));
const room = (path) => path.split("/")[0];

/** What each room may import: rooms, packages, and single files of other rooms. */
const allowed = {
  api: { rooms: ["api"], packages: [] },
  worker: { rooms: ["worker", "api"], packages: ["hash-wasm"] },
  page: { rooms: ["page", "api"], packages: ["preact", "preact/hooks", "@preact/signals"] },
  package: { rooms: ["package", "api"], packages: [] },
};
/** Addresses, not code: the one file of api/ that knows where worker/ is. */
const addresses = {
  "api/assets.ts": ["worker/download.ts?worker&url", "worker/wasm/tabtune_bg.wasm?url", "worker/worker.ts?worker&url"],
};

test("api imports nothing from worker, page reaches worker through api, and packages are few", () => {
  const wrong = modules.flatMap((path) => imports(path).filter((target) => !mayImport(path, target)));
  assert.deepEqual(wrong, []);
  assert.deepEqual(imports("api/assets.ts"), addresses["api/assets.ts"]);
});

test("the rule above refuses what it should refuse", () => {
  assert.ok(!mayImport("api/session.ts", "worker/program"));
  assert.ok(!mayImport("api/session.ts", "worker/worker.ts?worker&url"));
  assert.ok(!mayImport("page/run.ts", "worker/training"));
  assert.ok(!mayImport("worker/worker.ts", "package fflate"));
  assert.ok(mayImport("page/run.ts", "api/session"));
});

test("no two modules have the same name, and an exported component shares its name with no other", () => {
  assert.deepEqual(twice(modules.map((path) => basename(path))), []);
  const named = (pattern) => modules.flatMap((path) => [...read(path).matchAll(pattern)].map(([, name]) => name));
  const components = twice(named(/^(?:export )?function ([A-Z]\w*)/gm));
  const exported = new Set(named(/^export function ([A-Z]\w*)/gm));
  assert.deepEqual(
    components.filter((name) => exported.has(name)),
    [],
  );
});

test("a view's stylesheet belongs to the view of its name", () => {
  for (const path of files.filter((path) => path.startsWith("page/views/") && path.endsWith(".css")))
    assert.match(read(path.replace(/css$/, "tsx")), new RegExp(`^import "./${basename(path)}";$`, "m"), path);
});

test("sizes and colours are named in theme.css: elsewhere, only lines of 1 to 3 px are given in px", () => {
  for (const path of files.filter((path) => path.endsWith(".css") && path !== "page/theme.css")) {
    const raw = [...read(path).matchAll(/(?<![\w-])([\d.]+)px/g)].filter(([, n]) => ![1, 2, 3].includes(Number(n)));
    assert.deepEqual(
      raw.map(([size]) => size),
      [],
      path,
    );
    assert.doesNotMatch(read(path), /#[0-9a-f]{3,8}\b|rgb\(/i, path);
  }
});

test("every shader that a step may run has everyday words", () => {
  const shaders = readdirSync(join(browser, "../../shaders")).filter((name) => name.endsWith(".wesl"));
  const kernels = shaders.map((name) => name.replace(/\.wesl$/, "")).filter((name) => !name.endsWith("_probe"));
  const described = [...read("page/kernel_words.ts").matchAll(/^ {2}(\w+): "/gm)].map(([, name]) => name);
  assert.deepEqual(described, kernels.sort());
});

test(`no line is wider than ${WIDEST}`, () => {
  const tests = readdirSync(browser).map((name) => [name, readFileSync(join(browser, name), "utf8")]);
  const wide = [...files.map((path) => [path, read(path)]), ...tests].flatMap(([path, content]) =>
    content.split("\n").flatMap((line, index) => (line.length > WIDEST ? [`${path}:${index + 1}`] : [])),
  );
  assert.deepEqual(wide, []);
});

/** The files that a module imports, from www/, or `package NAME`. */
function imports(path) {
  const found = read(path).matchAll(/(?:^import|^\} from|^export .*\bfrom|\bimport\()[^"'\n]*["']([^"']+)["']/gm);
  return [...found].map(([, name]) =>
    name.startsWith(".") ? relative(www, join(www, dirname(path), name)) : `package ${name}`,
  );
}

function mayImport(path, target) {
  if (addresses[path]?.includes(target)) return true;
  const { rooms, packages } = allowed[room(path)];
  return target.startsWith("package ")
    ? packages.includes(target.slice("package ".length))
    : rooms.includes(room(target)) && !/\?/.test(target);
}

function twice(names) {
  return names.filter((name, index) => names.indexOf(name) !== index);
}
