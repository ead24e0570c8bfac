/** The title of the document: how far a run is and how it ended, for a visitor who looks at another tab. */

import { computed, effect } from "@preact/signals";
import { shortEnding } from "./outcome";
import type { Run } from "./progress";
import { run } from "./state";

const usual = document.title;
const title = computed(() => {
  const words = run.value && wordsAbout(run.value);
  return words ? `${words} · tabtune` : usual;
});

export function keepTitled() {
  effect(() => {
    document.title = title.value;
  });
}

function wordsAbout(now: Run): string | null {
  if (now.state === "ended") return shortEnding(now);
  const done = `${Math.floor((100 * now.step) / now.total)} %`;
  return now.paused ? `Paused at ${done}` : done;
}
