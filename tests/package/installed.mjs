/** What the tests of the packages share: folders with the packed packages in them, a static server, a browser. */

import { execFileSync } from "node:child_process";
import { cpSync, createReadStream, existsSync, mkdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

export const at = (path) => fileURLToPath(new URL(path, import.meta.url));
export const packed = at("../../www/dist-package");
const consumers = at("consumers");
const folders = at("../../artefacts/package");

const { version } = JSON.parse(readFileSync(at("../../www/package.json"), "utf8"));
export const tarballOf = (name) => join(packed, `${name}-${version}.tgz`);
const tarballs = ["tabtune", "tabtune-base"].map(tarballOf);

const screens = at("../../artefacts/screens");
mkdirSync(screens, { recursive: true });
/** Where a picture of this name is kept. */
export const screen = (name) => join(screens, `${name}.png`);

/** A fresh folder with a consumer's files and, as npm installs them, its tools and both packages. */
export function install(name, from = name) {
  const folder = join(folders, name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const file of ["train.js", "page.js", "abort.js", "resume.js", "merge.js", "index.html"])
    cpSync(join(consumers, file), join(folder, file));
  cpSync(join(consumers, from), folder, { recursive: true });
  npm(folder, "install", "--no-audit", "--no-fund", "--loglevel=error", ...tarballs);
  return folder;
}

export function npm(folder, ...args) {
  execFileSync("npm", args, { cwd: folder, stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, CI: "1" } });
}

const types = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".wasm": "application/wasm",
  ".json": "application/json",
};

/** A page that waits long enough for everything in software, also on a busy machine. */
export async function openPage(browser) {
  const page = await browser.newPage();
  page.setDefaultTimeout(120_000);
  return page;
}

/** The addresses of the workers that `page` keeps: one that was ended is gone a moment later. */
export async function workersOf(page) {
  for (let tries = 0; page.workers().length > 0 && tries < 100; tries++) await page.waitForTimeout(100);
  return page.workers().map((worker) => worker.url());
}

/** Serves a folder as any static host does. */
export async function serveFolder(folder, missing = 404) {
  const server = createServer((request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, "http://localhost").pathname));
    const file = join(folder, path.endsWith("/") ? `${path}index.html` : path);
    if (!existsSync(file) || !statSync(file).isFile())
      return response.writeHead(missing, { "Content-Type": "text/html" }).end("none");
    response.writeHead(200, { "Content-Type": types[extname(file)] ?? "application/octet-stream" });
    createReadStream(file).pipe(response);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { address: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}
