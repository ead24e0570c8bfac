/** The adapter that the browser's storage holds until its owner has downloaded or forgotten it. */

import { computed, signal } from "@preact/signals";
import { type BaseFacts, forgetKept, type KeptAdapter, readKept } from "../api/kept_store";
import type { KeptFiles } from "../api/types";
import { adapterZip } from "./adapter_zip";
import { session } from "./engine";
import { modelZip } from "./model_zip";
import { save } from "./save";
import { adapter, downloaded, model, openedFrom, startFrom, training } from "./state";
import { complain, forgive } from "./trouble";

/** Once it was downloaded, it is only in this tab. */
export const kept = signal<(KeptAdapter & { downloaded: boolean }) | null>(null);

/** Tabs tell each other that what the storage holds has changed: then no other tab relies on it any more. */
const otherTabs = new BroadcastChannel("tabtune-kept");
otherTabs.onmessage = () => {
  if (kept.value?.downloaded === false) kept.value = null;
};

/** The adapter of card 4 is the one that the storage holds. */
export const isStored = computed(() => kept.value?.downloaded === false && kept.value.adapter === adapter.value);

/** Offered unless card 4 shows it anyway, with whether the model that it belongs to is loaded. */
export const keptOffer = computed(() => {
  const found = kept.value;
  if (!found || training.value || found.adapter === adapter.value) return null;
  const fits = model.value.state === "ready" && model.value.info.sha256 === found.model.sha256;
  return { ...found, fits };
});

/** Downloading the adapter that is offered is what comes next. */
export const offerIsNext = computed(() => keptOffer.value?.downloaded === false);

/** Downloading the adapter of card 4 is what comes next. */
export const downloadIsNext = computed(() => adapter.value !== null && !openedFrom.value && !startFrom.value);

/** The adapter that nobody has downloaded, and whose place the next run's will take. */
export const undownloaded = computed(() => {
  if (kept.value?.downloaded === false) return kept.value.adapter;
  return downloaded.value ? null : adapter.value;
});

/** Must hold the lock of runs. */
export async function lookForKept() {
  // If it cannot be read now, that may work later.
  const found = await readKept().catch(() => kept.peek());
  if (found?.keptAt !== kept.peek()?.keptAt) kept.value = found && { ...found, downloaded: false };
}

/** The run is over: its adapter is in the storage, and in card 4. */
export function hold(fresh: KeptAdapter) {
  kept.value = { ...fresh, downloaded: false };
  otherTabs.postMessage("kept");
}

export async function downloadKept() {
  const found = kept.value;
  if (!found) return;
  handOver(found.adapter, found.model, false);
  kept.value = { ...found, downloaded: true };
  await drop(found);
}

/** The model that the adapter of card 4 belongs to; null while none is loaded and the storage does not say it. */
export const shownBase = computed(() => {
  if (kept.value && kept.value.adapter === adapter.value) return kept.value.model;
  return model.value.state === "ready" ? model.value.info : null;
});

/** Downloads the adapter of card 4. */
export async function downloadAdapter() {
  const [shown, base] = [adapter.value, shownBase.value];
  if (!shown || !base) return;
  handOver(shown, base, openedFrom.value !== null);
  downloaded.value = true;
  if (isStored.value) await forget();
}

export async function forget() {
  const found = kept.value;
  kept.value = null;
  if (found) await drop(found);
}

async function drop(found: KeptAdapter) {
  await forgetKept(found).catch((error) => complain("keep", error));
  otherTabs.postMessage("dropped");
}

/** Puts it into card 4, and into the engine. */
export async function tryKept() {
  const found = keptOffer.value;
  const engine = await session();
  if (!found?.fits || !engine) return;
  try {
    await engine.setKept(found.adapter);
  } catch (error) {
    return complain("keep", error);
  }
  forgive("keep");
  openedFrom.value = null;
  startFrom.value = null;
  downloaded.value = found.downloaded;
  adapter.value = found.adapter;
  document.getElementById("keep-title")?.focus();
}

function handOver(files: KeptFiles, base: BaseFacts, opened: boolean) {
  if (files.method === "full") save("tabtune-model.zip", modelZip(files, base));
  else save("tabtune-adapter.zip", adapterZip(files, base, opened));
}
