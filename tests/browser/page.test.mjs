/**
 * The page end to end, in a real Chromium, where the processor computes. One browser, one test after the other.
 * `ONLY=pause,own_text` runs only the files of these names.
 */

import { sharedBrowser } from "./browser.mjs";
import { files as shaders } from "./shaders.mjs";

const files = [
  "compressed",
  "first_visit",
  "start",
  "fetching",
  "engine",
  "main_job",
  "full",
  "workers",
  "weights",
  "pause",
  "unfinished",
  "kept",
  "cancel",
  "two_tabs",
  "adapter_files",
  "merged",
  "foreign_adapter",
  "own_model",
  "own_gguf",
  "hub",
  "hub_page",
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
  "inside",
  "keyboard",
  "in_sight",
  "prompt",
  "away",
  "offline",
  "privacy",
  "contrast_and_paper",
  "no_webgpu",
];
const only = process.env.ONLY?.split(",").filter((name) => !shaders.includes(name)) ?? files;

if (only.length > 0) sharedBrowser();
for (const name of only) await import(`./${name}.mjs`);
