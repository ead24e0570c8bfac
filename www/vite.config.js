import { statSync } from "node:fs";
import { defineConfig } from "vite";

/** What the page counts while it loads: the program and the four files of the model. */
const fetched = [
  "worker/wasm/tabtune_bg.wasm",
  "public/base/config.json",
  "public/base/tokenizer.json",
  "public/base/tokenizer_config.json",
  "public/base/model.safetensors",
];
const size = (path) => statSync(new URL(path, import.meta.url)).size;

/**
 * uPlot writes numbers in the language that the browser names, and throws if that is not a valid one. The page is in
 * English, and so is its chart.
 */
const chartInEnglish = {
  name: "chart-in-english",
  transform(code, id) {
    if (!id.includes("/uplot/") || !id.endsWith(".js")) return null;
    const english = code.replace("nav.language", '"en"');
    if (english === code) this.error("uPlot has changed: it does not read nav.language");
    return english;
  },
};

// The page is built from page/ into dist/ with relative addresses, so that it can be served from any folder.
export default defineConfig({
  root: "page",
  publicDir: "../public",
  base: "./",
  plugins: [chartInEnglish],
  define: { BYTES_TO_FETCH: fetched.map(size).reduce((sum, bytes) => sum + bytes) },
  build: {
    outDir: "../dist",
    emptyOutDir: true,
    target: "es2023",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  worker: { format: "es" },
});
