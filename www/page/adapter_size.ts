/** How many parameters the adapter would have: the engine counts them whenever a setting that shapes it changes. */

import { computed, effect, signal } from "@preact/signals";
import { session } from "./engine";
import { settings } from "./settings";
import { model } from "./state";

/** Null until the engine has counted, and for settings that it refuses. */
export const adapterSize = signal<number | null>(null);

const shape = computed(() => {
  if (model.value.state !== "ready" || !settings.value) return null;
  const { rank, targets } = settings.value;
  return JSON.stringify([model.value.info.sha256, rank, targets]);
});

export function keepCounting() {
  effect(() => {
    adapterSize.value = null;
    if (shape.value) count(shape.value);
  });
}

async function count(asked: string) {
  const engine = await session();
  const wanted = settings.peek();
  if (!engine || !wanted) return;
  // What is wrong with the settings is reported where a step is measured.
  const parameters = await engine.adapterSize(wanted.rank, wanted.targets).catch(() => null);
  if (asked === shape.peek()) adapterSize.value = parameters;
}
