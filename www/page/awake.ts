/** While a run goes on in sight, the screen stays on. A browser that will not is not worth a word. */

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
    // The browser lets go by itself when the tab is hidden, so coming back asks anew.
    const asked = navigator.wakeLock?.request("screen").catch(() => null);
    return () => {
      asked?.then((held) => held?.release());
    };
  });
}
