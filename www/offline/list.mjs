/** Writes the service worker beside the files of the built page, with the list of all of them. */

import { createHash } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const source = new URL("service_worker.js", import.meta.url);
const NAME = "service-worker.js";

const sha256 = (content) => createHash("sha256").update(content).digest("hex");

export async function writeServiceWorker(dist) {
  const found = (await readdir(dist, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
  const paths = found.map(({ parentPath, path, name }) => relative(dist, join(parentPath ?? path, name)));
  const wanted = paths.filter((path) => path !== NAME && !/\.(br|gz)$/.test(path)).sort();
  const hashes = wanted.map(async (path) => [addressOf(path), sha256(await readFile(join(dist, path)))]);
  const list = JSON.stringify(Object.fromEntries(await Promise.all(hashes)), null, 2);
  const script = (await readFile(source, "utf8"))
    .replace("const FILES = {};", `const FILES = ${list};`)
    .replace('const VERSION = "";', `const VERSION = "${sha256(list)}";`);
  await writeFile(join(dist, NAME), script);
}

/** Some hosts answer the name of the page with a redirection to its folder. */
const addressOf = (path) => (path === "index.html" ? "./" : path.replaceAll("\\", "/"));

if (process.argv[1] === fileURLToPath(import.meta.url))
  await writeServiceWorker(fileURLToPath(new URL("../dist", import.meta.url)));
