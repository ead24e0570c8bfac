/** What a run would take: the engine counts it, without a step, whenever a setting changes. */

import { computed, effect, signal } from "@preact/signals";
import type { Memory } from "../api/types";
import { session } from "./engine";
import { settings } from "./settings";
import { model } from "./state";

/** In parameters. Null until the engine has counted, and for settings that it refuses. */
export const adapterSize = signal<number | null>(null);
/** On the device; null as above. */
export const memory = signal<Memory | null>(null);

const wanted = computed(() => {
  if (model.value.state !== "ready" || !settings.value) return null;
  return JSON.stringify([model.value.info.sha256, model.value.info.weights, settings.value]);
});

export function keepCounting() {
  effect(() => {
    adapterSize.value = null;
    memory.value = null;
    if (wanted.value) count(wanted.value);
  });
}

async function count(asked: string) {
  const engine = await session();
  const now = settings.peek();
  if (!engine || !now) return;
  // What is wrong with the settings is reported where a step is measured.
  const parameters = await engine.adapterSize(now.rank, now.targets).catch(() => null);
  const bytes = await engine.memory(now).catch(() => null);
  if (asked !== wanted.peek()) return;
  adapterSize.value = parameters;
  memory.value = bytes;
}
