/** Nothing about the packages needs to be configured. */

import { cpSync } from "node:fs";

const page = { apply: ({ hooks }) => hooks.done.tap("page", () => cpSync("index.html", "dist/index.html")) };

export default {
  mode: "production",
  entry: "./page.js",
  output: { filename: "page.js" },
  performance: { hints: false },
  plugins: [page],
};
