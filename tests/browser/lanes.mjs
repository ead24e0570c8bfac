/**
 * The page end to end, in a real Chromium. Each lane is a process with a browser of its own, whose tests run one after
 * the other; two lanes run side by side. `ONLY=pause,own_text` runs only the files of these names.
 */

import { sharedBrowser } from "./browser.mjs";

const lanes = {
  /**
   * Where shaders compute, with WebGPU in software, which takes a second to compile each of them. It uses one core for
   * the longest time, and begins first: Node takes files by their names.
   */
  card: ["engine", "inside", "main_job_gpu", "compiling", "hot_path", "recovery", "non_finite"],
  /** Runs, which the processor computes here as in the lanes below. */
  runs: ["main_job", "full", "workers", "weights", "pause", "unfinished", "cancel", "two_tabs", "unmeasured", "away"],
  /** Adapters and models: brought, kept, fetched and taken elsewhere. */
  models: ["kept", "adapter_files", "merged", "foreign_adapter", "own_model", "own_gguf", "hub", "hub_page"],
  /** Everything before a run, and what the page is to everybody. */
  page: [
    "compressed",
    "first_visit",
    "start",
    "fetching",
    "own_text",
    "choices",
    "brought",
    "web_page",
    "columns",
    "chat",
    "bad_input",
    "settings",
    "estimate",
    "keyboard",
    "in_sight",
    "prompt",
    "offline",
    "privacy",
    "contrast_and_paper",
    "no_webgpu",
  ],
};

/** Weights of a real model, which `ONLY` has to ask for. */
const ON_REQUEST = { models: ["real_model"] };

export async function runLane(name) {
  const files = lanes[name];
  const all = [...files, ...(ON_REQUEST[name] ?? [])];
  const wanted = process.env.ONLY?.split(",");
  const chosen = wanted ? all.filter((file) => wanted.includes(file)) : files;
  if (chosen.length > 0) sharedBrowser();
  for (const file of chosen) await import(`./${file}.mjs`);
}

const known = [...Object.values(lanes), ...Object.values(ON_REQUEST)].flat();
for (const file of process.env.ONLY?.split(",") ?? [])
  if (!known.includes(file)) throw new Error(`ONLY: there is no tests/browser/${file}.mjs`);
