/** What the scripts that the documentation shows must do in Node. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isAdapter, STEPS, sample } from "./snippet_pages.mjs";

export function oneFileScript(code, { folder }) {
  cpSync(sample("captain"), join(folder, "notes.txt"));
  const shown = output("one_file", code, folder);
  assert.equal(shown.match(/^step \d+: loss \d\.\d\d$/gm).length, STEPS);
  const [before, after] = [...shown.matchAll(/loss: ([\d.]+), tokens: \d+/g)].map(([, loss]) => Number(loss));
  assert.ok(after < before - 0.3, `the loss was ${before} and is ${after}`);
  isAdapter(readFileSync(join(folder, "my-style.zip")));
}

/** Its files are left for Python (`make parity-recipe`), with what the model said. */
export function exportScript(code, { folder }) {
  cpSync(sample("captain"), join(folder, "notes.txt"));
  const shown = output("export", code, folder);
  assert.match(shown, /^Dear diary,.{20}/s);
  isAdapter(readFileSync(join(folder, "diary.zip")));
  isAdapter(readFileSync(join(folder, "diary-mlx.zip")), "adapters.safetensors");
  assert.equal(readFileSync(join(folder, "diary.gguf")).toString("latin1", 0, 4), "GGUF");
  writeFileSync(join(folder, "diary.txt"), shown);
}

/** With the adapter of the script before it; what it merges is left for Python, too. */
export function mergeScript(code, { folder }) {
  const shown = output("merge", code, folder);
  const gguf = readFileSync(join(folder, "merged.gguf"));
  assert.equal(shown, `model.gguf has ${gguf.length} bytes\n`);
  assert.equal(gguf.toString("latin1", 0, 4), "GGUF");
  const names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
  assert.deepEqual(readdirSync(join(folder, "merged")).sort(), names);
}

export function folderScript(code, { folder }) {
  mkdirSync(join(folder, "notes"), { recursive: true });
  for (const name of ["captain", "cook"]) cpSync(sample(name), join(folder, "notes", `${name}.txt`));
  writeFileSync(join(folder, "notes/picture.png"), "no text");
  const shown = output("folder", code, folder);
  assert.match(shown, /^\d+ tokens in \d+ rows, of which [1-9]\d* are held out$/m);
  const losses = [...shown.matchAll(/^step \d+: held-out loss ([\d.]+)$/gm)].map(([, loss]) => Number(loss));
  assert.equal(losses.length, 1 + STEPS / 5);
  assert.ok(losses.at(-1) < losses[0] - 0.2, `the losses are ${losses}`);
  assert.match(shown, /^kept the adapter of step [1-9]\d*$/m);
}

/** With the adapter of the script before it. */
export function writingScript(code, { folder }) {
  assert.ok(output("writing", code, folder).length > 20);
}

function output(name, code, folder) {
  writeFileSync(join(folder, `${name}.js`), code);
  return execFileSync("node", [`${name}.js`], { cwd: folder, encoding: "utf8" });
}
