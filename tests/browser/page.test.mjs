/**
 * The page end to end, in a real Chromium with WebGPU in software. One browser, one test after the other.
 * `ONLY=pause,own_text` runs only the files of these names.
 */

import { sharedBrowser } from "./browser.mjs";

const files = [
  "compressed",
  "first_visit",
  "engine",
  "main_job",
  "compiling",
  "hot_path",
  "recovery",
  "non_finite",
  "pause",
  "unfinished",
  "two_tabs",
  "adapter_files",
  "foreign_adapter",
  "own_model",
  "own_text",
  "columns",
  "chat",
  "unmeasured",
  "bad_input",
  "keyboard",
  "no_webgpu",
];
const only = process.env.ONLY?.split(",") ?? files;

sharedBrowser();
for (const name of only) await import(`./${name}.mjs`);
