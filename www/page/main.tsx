/** Mounts the page, starts the engine, and handles what concerns the whole window: Enter, Escape, leaving. */

import "./theme.css";
import "./base.css";
import "./controls.css";
import "./start.css";
import { effect } from "@preact/signals";
import { render } from "preact";
import { keepAwake } from "./awake";
import { keepComparing } from "./compare";
import { watchDrops } from "./drops";
import { awaited, fetched, start } from "./engine";
import { keepEstimating } from "./estimate";
import { lookForKept, shelf } from "./kept";
import { keepWhenLeaving } from "./leaving";
import { keepTellingTabs, wheneverAlone } from "./lock";
import { handleLoss } from "./lost";
import { keepTelling } from "./notify";
import { keepOffline } from "./offline";
import { lock, locked } from "./privacy";
import { keepRunning } from "./run";
import { keepCounting } from "./run_size";
import { fetchSamples, samples } from "./samples";
import { mirrorInAddress, theme } from "./settings";
import { changing, model } from "./state";
import { keepTitled } from "./title";
import { forgive, troubles } from "./trouble";
import { lookForUnfinished, unfinished } from "./unfinished";
import { keepReporting } from "./unforeseen";
import { App } from "./views/app";

keepReporting();
const root = document.getElementById("app");
if (root) render(<App />, root);
document.getElementById("start")?.remove();

effect(() => {
  document.documentElement.dataset.theme = theme.value;
});
mirrorInAddress();
keepCounting();
keepEstimating();
keepComparing();
keepAwake();
watchDrops();
keepTitled();
keepTelling();
keepWhenLeaving();
keepTellingTabs();
wheneverAlone(async () => {
  await lookForKept();
  await lookForUnfinished();
});

start(handleLoss);
fetchSamples();
effect(() => {
  const settled = fetched.value || model.value.state === "absent";
  // Whoever has something for the model does without samples that could not be fetched.
  const needed = awaited.value || shelf.value.length > 0 || unfinished.value !== null;
  const sampled = samples.value.length > 0 || (troubles.value.samples && needed);
  if (!settled || !sampled || locked.peek()) return;
  lock();
  forgive("samples");
  keepOffline();
});

window.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.isComposing && event.target instanceof Element && !handlesEnter(event.target)) {
    const primary = document.querySelector<HTMLButtonElement>("button.primary:enabled");
    // In a card, Enter is about that card.
    const card = event.target.closest(".card") ?? document;
    if (card.contains(primary)) primary?.click();
  }
  if (event.key === "Escape" && !event.defaultPrevented) {
    changing.value = null;
    keepRunning();
  }
});

/** Controls for which Enter has a meaning of its own. */
function handlesEnter(target: Element): boolean {
  return target.closest("button, a, summary, textarea, select, form, .knob") !== null;
}
