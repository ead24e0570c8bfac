/** What this device does with the plans of a run, measured when the visitor asks for it, and never during a run. */

import { computed, effect, signal } from "@preact/signals";
import type { LoraError } from "../api/errors";
import type { Profile, Settings } from "../api/types";
import { session } from "./engine";
import { speed } from "./estimate";
import { settings } from "./settings";
import { model, run, training } from "./state";
import { forgive } from "./trouble";
import { complainWhereItHelps } from "./where_it_helps";

export const measuring = signal(false);
/** The last measurement ended before its time, because the visitor stopped it or began a run. */
export const interrupted = signal(false);
const last = signal<{ profile: Profile; of: string } | null>(null);

/** The run that is on the screen. */
const shown = computed(() => (run.value?.outcome?.reason === "cancelled" ? null : run.value));

/** The settings that the run ended up with or, before one, those that are chosen. */
const wanted = computed<Settings | null>(() => {
  const config = shown.value?.events.findLast((event) => event.type === "config");
  return config?.settings ?? settings.value;
});

/** What decides what the device has to do. */
const what = computed(() => {
  if (!wanted.value || model.value.state !== "ready") return "";
  const { seqLen, batch, accumulate, method, rank, targets, dropout, lean, checkpointing } = wanted.value;
  const { sha256, weights, device } = model.value.info;
  const shape = [seqLen, batch, accumulate, method, rank, targets, dropout > 0, lean, checkpointing];
  return JSON.stringify([shape, sha256, weights, device]);
});

/** Of such a run; null until it is measured. */
export const profile = computed(() => (last.value?.of === what.value ? last.value.profile : null));

/** Of that run, in tokens per second: what the run says or, before it, what a short one did. */
export const pace = computed(() => shown.value?.tokensPerSecond || speed.value);

export const measurable = computed(() => what.value !== "" && !training.value);

export async function measure() {
  const [asked, of, engine] = [wanted.value, what.value, await session()];
  if (!asked || !engine || !measurable.value || measuring.value) return;
  forgive("train");
  measuring.value = true;
  // A run need not wait for it.
  const unwatch = effect(() => {
    if (training.value) engine.stopProfile();
  });
  try {
    const found = await engine.profile(asked);
    if (found) last.value = { profile: found, of };
    interrupted.value = found === null;
  } catch (error) {
    complainWhereItHelps(error as LoraError);
  }
  unwatch();
  measuring.value = false;
}

export async function stopMeasuring() {
  (await session())?.stopProfile();
}
