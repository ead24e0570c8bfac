/** The run that the browser's storage holds from before: offered, or forgotten. */

import { computed, signal } from "@preact/signals";
import { forgetRun, readRun, type SavedRun } from "../worker/vault";
import { alone } from "./lock";
import { model, training } from "./state";

/** What is said of it; the checkpoint is read again when it is needed. */
export type Unfinished = Omit<SavedRun, "checkpoint">;

export const unfinished = signal<Unfinished | null>(null);

/** What is to be offered now, and whether the model that it needs is there. */
export const offer = computed(() => {
  const saved = unfinished.value;
  if (!saved || training.value) return null;
  const fits = model.value.state === "ready" && model.value.info.sha256 === saved.model.sha256;
  return { ...saved, fits };
});

/** Only to be called alone, because a text without a whole checkpoint, which helps nobody, goes. */
export async function lookForUnfinished() {
  let saved: SavedRun | null;
  try {
    saved = await readRun();
  } catch {
    // What cannot be read now may be readable later: it is neither offered nor forgotten.
    return;
  }
  if (!saved) await forgetRun().catch(() => {});
  unfinished.value = saved && withoutBytes(saved);
}

export function forget() {
  return alone(async () => {
    await forgetRun();
    unfinished.value = null;
  });
}

function withoutBytes({ checkpoint: _, ...facts }: SavedRun): Unfinished {
  return facts;
}
