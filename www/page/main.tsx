/** Mounts the page, starts the engine, and handles what concerns the whole window: drops, Enter, Escape, leaving. */

import "./theme.css";
import "./base.css";
import "./controls.css";
import { effect } from "@preact/signals";
import { render } from "preact";
import { keepCounting } from "./adapter_size";
import { keepAwake } from "./awake";
import { keepComparing } from "./compare";
import { start } from "./engine";
import { keepEstimating } from "./estimate";
import { wheneverAlone } from "./lock";
import { keepTelling } from "./notify";
import { isAdapter, openAdapter } from "./opened";
import { lock, locked } from "./privacy";
import { explainLoss } from "./run";
import { fetchSamples } from "./samples";
import { mirrorInAddress, theme } from "./settings";
import { adapter, changing, downloaded, model, run, training } from "./state";
import { takeFiles } from "./text";
import { keepTitled } from "./title";
import { complain } from "./trouble";
import { lookForUnfinished } from "./unfinished";
import { App } from "./views/app";
import { dropping } from "./views/text";

const root = document.getElementById("app");
if (root) render(<App />, root);

effect(() => {
  document.documentElement.dataset.theme = theme.value;
});
mirrorInAddress();
keepCounting();
keepEstimating();
keepComparing();
keepAwake();
keepTitled();
keepTelling();
wheneverAlone(lookForUnfinished);

start(explainLoss);
const sampled = fetchSamples().catch((error) => complain("text", error));
effect(() => {
  const settled = model.value.state === "ready" || model.value.state === "absent";
  if (settled && !locked.peek()) sampled.then(lock);
});

window.addEventListener("dragover", (event) => {
  event.preventDefault();
  dropping.value = true;
});
window.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) dropping.value = false;
});
window.addEventListener("drop", (event) => {
  event.preventDefault();
  dropping.value = false;
  const files = [...(event.dataTransfer?.files ?? [])];
  if (isAdapter(files)) openAdapter(files);
  else takeFiles(files);
});

window.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.isComposing && !handlesEnter(event.target)) {
    document.querySelector<HTMLButtonElement>("button.primary:enabled")?.click();
  }
  if (event.key === "Escape" && !event.defaultPrevented) changing.value = null;
});

/** Controls for which Enter has a meaning of its own. */
function handlesEnter(target: EventTarget | null): boolean {
  return target instanceof Element && target.closest("button, a, summary, textarea, select") !== null;
}

window.addEventListener("beforeunload", (event) => {
  const safe = run.value?.paused && run.value.savedStep === run.value.step;
  if (!safe && (training.value || (adapter.value && !downloaded.value))) event.preventDefault();
});
