/**
 * The page end to end, in a real Chromium with WebGPU in software. One browser, one test after the other.
 * `ONLY=pause,own_text` runs only the files of these names.
 */

import { sharedBrowser } from "./browser.mjs";

const files = [
  "compressed",
  "first_visit",
  "start",
  "fetching",
  "engine",
  "main_job",
  "compiling",
  "hot_path",
  "recovery",
  "non_finite",
  "pause",
  "unfinished",
  "kept",
  "cancel",
  "two_tabs",
  "adapter_files",
  "foreign_adapter",
  "own_model",
  "own_text",
  "choices",
  "brought",
  "web_page",
  "columns",
  "chat",
  "unmeasured",
  "bad_input",
  "settings",
  "estimate",
  "keyboard",
  "in_sight",
  "prompt",
  "away",
  "contrast_and_paper",
  "no_webgpu",
];
const only = process.env.ONLY?.split(",") ?? files;

sharedBrowser();
for (const name of only) await import(`./${name}.mjs`);
