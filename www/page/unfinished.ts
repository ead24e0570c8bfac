/** An earlier run that the browser's storage holds: it is offered, or forgotten. */

import { computed, signal } from "@preact/signals";
import { persist } from "../api/fetching";
import { forgetRun, readRun, type SavedRun } from "../api/run_store";
import { deleteAlone } from "./lock";
import { model, training } from "./state";

/** What is said about it; its state is read again when it is needed. */
export type Unfinished = Omit<SavedRun, "state">;

export const unfinished = signal<Unfinished | null>(null);

/** What to offer now, and whether the model that it needs is loaded. */
export const offer = computed(() => {
  const saved = unfinished.value;
  if (!saved || training.value) return null;
  const fits = model.value.state === "ready" && model.value.info.sha256 === saved.model.sha256;
  return { ...saved, fits };
});

/** Must hold the lock of the run: it deletes a text whose run states are all broken, which is of no use. */
export async function lookForUnfinished() {
  let saved: SavedRun | null;
  try {
    // The worker of a tab that was closed just now may still be writing.
    saved = await persist(readRun);
  } catch {
    // If it cannot be read now, that may work later: it is neither offered nor forgotten.
    return;
  }
  if (!saved) await forgetRun().catch(() => {});
  unfinished.value = saved && withoutBytes(saved);
}

export function forget() {
  return deleteAlone("page", async () => {
    await forgetRun();
    unfinished.value = null;
  });
}

function withoutBytes({ state: _, ...facts }: SavedRun): Unfinished {
  return facts;
}
