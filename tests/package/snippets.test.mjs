/** Every snippet of the READMEs and of docs/ is run on a real text: pages in Chromium, scripts in Node. */

import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { launch } from "../../www/demo/chromium.mjs";
import { at, install, serveFolder } from "./installed.mjs";
import { chatPage, chattyHub, hubLines, oneFilePage, stylePage, usersPage } from "./snippet_pages.mjs";
import { exportScript, folderScript, mergeScript, oneFileScript, writingScript } from "./snippet_scripts.mjs";

const root = at("../..");

/** What is done with the snippets of each file, in their order. */
const runs = {
  "www/package/README.md": [oneFilePage, oneFileScript, hubLines],
  "docs/recipes/chat.md": [chatPage],
  "docs/recipes/elsewhere.md": [exportScript, mergeScript],
  "docs/recipes/node.md": [folderScript, writingScript],
  "docs/recipes/style.md": [stylePage],
  "docs/recipes/users.md": [usersPage],
};

/** Where the packages are installed and served, the browser, and a Hub. */
const world = {};
let server;

before(async () => {
  world.folder = install("snippets", "node");
  server = await serveFolder(world.folder);
  world.address = server.address;
  world.hub = await chattyHub();
  world.browser = await launch();
});
after(async () => {
  await world.browser.close();
  world.hub.close();
  server.close();
});

for (const file of [...documents(), "docs/llms.txt"])
  test(`every link of ${file} leads to a file`, () => {
    for (const [, link] of readFileSync(join(root, file), "utf8").matchAll(/\]\((?!https?:)([^)#]+)/g))
      assert.ok(existsSync(join(root, dirname(file), link)), `${link} is not there`);
  });

for (const file of documents()) {
  const codes = snippets(file, "html|js");
  const uses = runs[file] ?? [];
  test(`every snippet of ${file} is run`, () => assert.equal(codes.length, uses.length));
  for (const [index, use] of uses.entries())
    test(`${file}: ${use.name}`, () => use(codes[index], { ...world, rows: snippets(file, "jsonl")[0] }));
}

function documents() {
  const inDocs = readdirSync(join(root, "docs"), { recursive: true }).map((name) => `docs/${name}`);
  const written = inDocs.filter((name) => name.endsWith(".md"));
  return ["README.md", "CONTRIBUTING.md", "www/package/README.md", ...written.sort()];
}

function snippets(file, languages) {
  const blocks = readFileSync(join(root, file), "utf8").matchAll(
    new RegExp(`^\`\`\`(?:${languages})\\n(.*?)^\`\`\``, "gms"),
  );
  return [...blocks].map(([, code]) => code);
}
