/** My adapters: what the browser's storage keeps until their owner deletes them. */

import { computed, signal } from "@preact/signals";
import { LoraError } from "../api/errors";
import {
  type BaseFacts,
  deleteBroken,
  deleteKept,
  type KeptAdapter,
  type KeptFacts,
  listKept,
  nameFor,
  readKept,
} from "../api/kept_store";
import { deleteFolder, FOLDERS, MERGING } from "../api/storage";
import type { AdapterFormat, AdapterInput, KeptFiles } from "../api/types";
import { zip } from "../api/zip";
import { adapterZip } from "./adapter_zip";
import { session } from "./engine";
import { modelZip } from "./model_zip";
import { continueFrom } from "./opened";
import { save } from "./save";
import { adapter, downloaded, model, openedFrom, startFrom } from "./state";
import { complain, forgive } from "./trouble";

/** From the newest to the oldest. */
export const shelf = signal<KeptFacts[]>([]);
/** The last one that this tab has written or read. */
const current = signal<KeptAdapter | null>(null);

/** The one that was taken from here last. */
const taken = signal<KeptFiles | null>(null);
/** The adapter of card 4 was taken from here: what the page shows of a run need not be about it. */
export const isFromShelf = computed(() => taken.value !== null && taken.value === adapter.value);

/** Tabs tell each other that what the storage holds has changed. */
const otherTabs = new BroadcastChannel("tabtune-kept");
otherTabs.onmessage = refresh;

/** The adapter of card 4 is one that the storage holds. */
export const isStored = computed(() => {
  const held = current.value;
  return held?.adapter === adapter.value && shelf.value.some(({ id }) => id === held?.id);
});

/** Downloading the adapter of card 4 is what comes next. */
export const downloadIsNext = computed(() => adapter.value !== null && !openedFrom.value && !startFrom.value);

/** The model that the adapter of card 4 belongs to; null while none is loaded and the storage does not say it. */
export const shownBase = computed(() => {
  if (current.value && current.value.adapter === adapter.value) return current.value.model;
  return model.value.state === "ready" ? model.value.info : null;
});

/** The model that it belongs to is loaded. */
export const fits = ({ model: base }: KeptFacts) =>
  model.value.state === "ready" && model.value.info.sha256 === base.sha256;

/** Must hold the lock of runs. */
export async function lookForKept() {
  // What cannot be deleted now is in use, and will be whole.
  await deleteBroken().catch(() => {});
  await navigator.locks?.request(MERGING, { ifAvailable: true }, async (lock) => {
    if (lock) await deleteFolder(FOLDERS.merged).catch(() => {});
  });
  await refresh();
}

async function refresh() {
  // If it cannot be read now, that may work later.
  shelf.value = await listKept().catch(() => shelf.peek());
}

async function changed() {
  await refresh();
  otherTabs.postMessage("changed");
}

/** The run is over: its adapter is in the storage, and in card 4. */
export function hold(fresh: KeptAdapter) {
  current.value = fresh;
  return changed();
}

/** Downloads the adapter of card 4. */
export async function downloadAdapter(format: AdapterFormat = "peft") {
  const [shown, base] = [adapter.value, shownBase.value];
  if (!shown || !base) return;
  const name = shown.method === "full" ? "tabtune-model.zip" : "tabtune-adapter.zip";
  try {
    if (format === "peft" || shown.method === "full") save(name, zipOf(shown, base, openedFrom.value !== null));
    else await handOverAs(format, shown);
  } catch (error) {
    return complain("keep", error);
  }
  downloaded.value = true;
}

export const downloadKept = (facts: KeptFacts) =>
  attempt(async () => {
    const { name, model: base, adapter: found, opened = false } = await read(facts);
    save(`${fileName(name)}.zip`, zipOf(found, base, opened));
  });

/** Puts it into card 4, and into the engine. */
export const tryKept = (facts: KeptFacts) =>
  attempt(async () => {
    if (await take(facts)) document.getElementById("keep-title")?.focus();
  });

/** The next run starts from it. */
export const trainKept = (facts: KeptFacts) =>
  attempt(async () => {
    if (await take(facts)) continueFrom();
  });

export const rename = (facts: KeptFacts, name: string) =>
  attempt(async () => {
    const found = { ...(await read(facts)), name };
    await (await session())?.keep(found);
    await changed();
  });

export const remove = ({ id }: KeptFacts) =>
  attempt(async () => {
    await deleteKept(id);
    await changed();
  });

/** Keeps the adapter that card 4 has from a file. */
export async function keepOpened() {
  const [files, text, engine] = [adapter.value, openedFrom.value, await session()];
  if (!files || !text || !engine || model.value.state !== "ready") return;
  const { name: base, sha256, parameters, chatTemplate } = model.value.info;
  const id = crypto.randomUUID();
  const about = { id, name: await nameFor(id, text), text, opened: true, keptAt: Date.now() };
  const fresh = { ...about, model: { name: base, sha256, parameters, chatTemplate }, adapter: files };
  try {
    await engine.keep(fresh);
    await hold(fresh);
  } catch (error) {
    complain("keep", error);
  }
}

async function take(facts: KeptFacts): Promise<boolean> {
  const engine = await session();
  const found = await read(facts);
  if (!engine || !fits(facts)) return false;
  await engine.setKept(found.adapter);
  openedFrom.value = found.opened ? found.text : null;
  startFrom.value = null;
  downloaded.value = false;
  current.value = found;
  taken.value = found.adapter;
  adapter.value = found.adapter;
  return true;
}

function zipOf(files: KeptFiles, base: BaseFacts, opened: boolean): Blob {
  return files.method === "full" ? modelZip(files, base) : adapterZip(files, base, opened);
}

async function read({ id, name }: KeptFacts): Promise<KeptAdapter> {
  const found = await readKept(id);
  if (found) return found;
  await refresh();
  throw new LoraError(
    "kept_adapter",
    `\`${name}\` can no longer be read: it was deleted, or its file is damaged`,
    "Delete it if it is still listed; if you have downloaded it before, open that file.",
  );
}

async function attempt(act: () => Promise<void>) {
  forgive("kept");
  await act().catch((error) => complain("kept", error));
}

/** Letters and digits stay; files are not named alike on all systems. */
function fileName(name: string): string {
  return name.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "") || "tabtune-adapter";
}

async function handOverAs(format: "gguf" | "mlx", { config, weights }: AdapterInput) {
  const engine = await session();
  if (!engine) return;
  const files = await engine.exportAdapter({ config, weights }, format);
  const [file] = Object.values(files);
  if (format === "mlx") save("tabtune-adapter-mlx.zip", zip(files));
  else if (file) save("tabtune-adapter.gguf", new Blob([file]));
}
