/** Leaving the page, or looking at another one: what a run has done is saved, and a question asks if more would go. */

import { isStored } from "./kept";
import { saveSoon } from "./run";
import { adapter, downloaded, run, training } from "./state";

export function keepWhenLeaving() {
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "hidden") saveSoon();
  });
  document.addEventListener("freeze", saveSoon);
  window.addEventListener("pagehide", saveSoon);
  window.addEventListener("beforeunload", (event) => {
    // While the visitor reads the question, the engine goes on, and saves.
    saveSoon();
    if (wouldLose()) event.preventDefault();
  });
}

function wouldLose(): boolean {
  if (!training.value) return adapter.value !== null && !downloaded.value && !isStored.value;
  const { step, savedStep } = run.value ?? { step: 0, savedStep: 0 };
  return savedStep === 0 || savedStep < step;
}
