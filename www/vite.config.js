import { readFileSync, statSync } from "node:fs";
import { defineConfig } from "vite";

/** What the page counts while it loads: the program and the four files of the model. */
const fetched = [
  "worker/wasm/tabtune_bg.wasm",
  "public/base/config.json",
  "public/base/tokenizer.json",
  "public/base/tokenizer_config.json",
  "public/base/model.safetensors",
];
/** A locked page asks for nothing, its icon included. */
const inlineIcon = {
  name: "inline-icon",
  transformIndexHtml: (html) => {
    const icon = readFileSync(new URL("public/icon.svg", import.meta.url), "utf8");
    return html.replace(/(<link rel="icon" href=")[^"]*/, `$1data:image/svg+xml,${encodeURIComponent(icon)}`);
  },
};

const size = (path) => statSync(new URL(path, import.meta.url)).size;

// The page is built from page/ into dist/ with relative addresses, so that it can be served from any folder.
export default defineConfig({
  plugins: [inlineIcon],
  root: "page",
  publicDir: "../public",
  base: "./",
  define: { BYTES_TO_FETCH: fetched.map(size).reduce((sum, bytes) => sum + bytes) },
  build: {
    outDir: "../dist",
    emptyOutDir: true,
    target: "es2023",
    assetsInlineLimit: 0,
    // What is fetched later is one script, and its few styles come with the others.
    modulePreload: false,
    cssCodeSplit: false,
  },
  worker: { format: "es" },
});
