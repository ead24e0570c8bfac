/** How long a run would take: a short one is timed when there is a text, and again whenever a setting changes. */

import { computed, effect, signal } from "@preact/signals";
import type { LoraError } from "../api/errors";
import type { Probe } from "../api/types";
import { session } from "./engine";
import { settings } from "./settings";
import { model, run, text, training } from "./state";
import { show } from "./text";
import { complainWhereItHelps, forgiveSettings } from "./where_it_helps";

/** Wait for a moment without changes, so that typing "150" does not measure 1, 15 and 150. */
const QUIET_MS = 500;

export const estimate = signal<Probe | "measuring" | null>(null);

/** In tokens per second: what a run under way does, else what was measured. Null until there is either. */
export const speed = computed<number | null>(() => {
  const measured = estimate.value === "measuring" ? null : estimate.value;
  const running = training.value ? run.value : null;
  return running?.tokensPerSecond || measured?.tokensPerSecond || run.value?.tokensPerSecond || null;
});

let measured = "";
let timer = 0;

export function keepEstimating() {
  effect(() => {
    const wanted = settings.value;
    const taken = text.value;
    if (!wanted || !taken || model.value.state !== "ready" || training.value) return;
    const { prompt: _, ...shape } = wanted;
    const sizes = taken.documents.map((document) => document.content.size);
    const { name, sha256 } = model.value.info;
    const key = JSON.stringify([shape, name, sha256, sizes]);
    if (key === measured && taken.dataset) return;
    measured = key;
    estimate.value = "measuring";
    clearTimeout(timer);
    timer = window.setTimeout(() => measure(key), taken.dataset ? QUIET_MS : 0);
  });
}

async function measure(key: string) {
  const wanted = settings.peek();
  const taken = text.peek();
  const engine = await session();
  if (!wanted || !taken || !engine) return;
  try {
    const dataset = await show(taken, wanted);
    // Rows that are cut anew may change the default number of steps, and another measurement begins.
    if (key !== measured) return;
    const probe = await engine.probe(dataset, wanted);
    if (key !== measured) return;
    estimate.value = probe;
    forgiveSettings();
  } catch (error) {
    if (key !== measured) return;
    estimate.value = null;
    complainWhereItHelps(error as LoraError);
  }
}
