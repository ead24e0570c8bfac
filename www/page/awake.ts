/** Keeps the screen on while a run is in sight. If a browser cannot do that, nobody needs to know. */

import { computed, effect, signal } from "@preact/signals";
import { run, training } from "./state";

const visible = signal(document.visibilityState === "visible");
const wanted = computed(() => training.value && !run.value?.paused && visible.value);

export function keepAwake() {
  document.addEventListener("visibilitychange", () => {
    visible.value = document.visibilityState === "visible";
  });
  effect(() => {
    if (!wanted.value) return;
    // The browser releases the lock when the tab is hidden, so it is requested again when the tab is shown.
    const asked = navigator.wakeLock?.request("screen").catch(() => null);
    return () => {
      asked?.then((held) => held?.release());
    };
  });
}
