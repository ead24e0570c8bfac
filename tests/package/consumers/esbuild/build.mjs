/** esbuild leaves `new URL(…, import.meta.url)` as it is: the packages' files are copied beside the bundle. */

import { cpSync } from "node:fs";
import { build } from "esbuild";

await build({ entryPoints: ["page.js"], bundle: true, format: "esm", outdir: "dist" });
cpSync("index.html", "dist/index.html");
const files = {
  tabtune: ["worker.js", "tabtune.wasm"],
  "tabtune-base": ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"],
};
for (const [name, needed] of Object.entries(files))
  for (const file of needed) cpSync(`node_modules/${name}/${file}`, `dist/${file}`);
