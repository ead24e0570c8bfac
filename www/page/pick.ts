/** A model in the place of the built-in one: picks its files, loads it, and goes back to the built-in one. */

import { computed, signal } from "@preact/signals";
import { modelFiles } from "../api/model_files";
import type { Foreseen } from "../api/types";
import { bytesOnDisk, type ModelFiles } from "../api/weights";
import { change, session } from "./engine";
import { weights } from "./settings";
import { accepted, adapter, changing, openedFrom, run, startFrom, text, training } from "./state";
import { complain, forgive } from "./trouble";

export interface Picked {
  files: ModelFiles;
  foreseen: Foreseen;
  /** In bytes; null while it is not being loaded. */
  loading: { done: number; total: number } | null;
}

export const picked = signal<Picked | null>(null);
/** A model is on its way from the Hub into the browser's storage. */
export const fetchingModel = signal(false);
/** The built-in model is being loaded again. */
export const returning = signal(false);
/** One model is being replaced by another. */
export const changingModel = computed(() => returning.value || Boolean(picked.value?.loading));

/** Missing files, weights that do not fit their config.json and a model without room are reported at once. */
export async function pick(chosen: File[]) {
  if (chosen.length === 0) return;
  forgive("model");
  try {
    await offer(modelFiles(chosen));
  } catch (error) {
    picked.value = null;
    complain("model", error);
  }
}

/** Throws if the model cannot be loaded here. */
export async function offer(files: ModelFiles) {
  const engine = await session();
  if (engine) picked.value = { files, foreseen: await engine.foresee(files, weights.value), loading: null };
}

export async function load() {
  const wanted = picked.value;
  if (!wanted || wanted.loading || training.value) return;
  forgive("model");
  document.getElementById("model-title")?.focus();
  picked.value = { ...wanted, loading: { done: 0, total: bytesOnDisk(wanted.files) } };
  try {
    await change(
      wanted.files,
      (event) => {
        if (event.type !== "phase" || event.phase !== "loading") return;
        picked.value = { ...wanted, loading: { done: event.done, total: event.total } };
      },
      makeRoom,
    );
    picked.value = null;
  } catch (error) {
    picked.value = { ...wanted, loading: null };
    complain("model", error);
  }
}

export async function backToBuiltIn() {
  if (returning.value || training.value) return;
  returning.value = true;
  forgive("model");
  await change(null, () => {}, makeRoom).catch((error) => complain("model", error));
  returning.value = false;
}

/** Rows and adapters belong to one model. The text stays, and is cut into rows again. */
function makeRoom() {
  run.value = null;
  adapter.value = null;
  openedFrom.value = null;
  startFrom.value = null;
  forgive("train");
  forgive("keep");
  if (text.value) text.value = { ...text.value, dataset: null };
  if (accepted.value) changing.value = "model";
}
