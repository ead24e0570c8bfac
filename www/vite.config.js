import { defineConfig } from "vite";

// The page is built from page/ into dist/ with relative addresses, so that it can be served from any folder.
export default defineConfig({
  root: "page",
  publicDir: "../public",
  base: "./",
  build: {
    outDir: "../dist",
    emptyOutDir: true,
    target: "es2023",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  worker: { format: "es" },
});
