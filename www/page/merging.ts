/** The model with the adapter of card 4 merged into it: what it will be, and its way to the visitor's disk. */

import { signal } from "@preact/signals";
import { LoraError, loraError } from "../api/errors";
import { type MergedModel, mergeModel } from "../api/merged_model";
import { FOLDERS, MERGING, makeFolder } from "../api/storage";
import type { MergedFormat, MergedType } from "../api/types";
import { strength } from "./compare";
import { session } from "./engine";
import { save } from "./save";
import { adapter } from "./state";
import { complain, forgive } from "./trouble";
import { bytes } from "./words";

export interface Form {
  format: MergedFormat;
  /** Undefined: as the model's files have them. */
  type: MergedType | undefined;
}

export const form = signal<Form>({ format: "safetensors", type: undefined });
/** What would be downloaded now. */
export const ahead = signal<Pick<MergedModel, "bytes" | "warnings"> | null>(null);
/** Why nothing can be. */
export const refusal = signal<LoraError | null>(null);
export const writing = signal<{ done: number; total: number } | null>(null);
/** Where it went. */
export const told = signal("");

let leaving = new AbortController();
let isHeld = false;

async function merge(signal?: AbortSignal): Promise<MergedModel | null> {
  const [kept, engine] = [adapter.value, await session()];
  if (kept?.method !== "lora" || !engine) return null;
  return mergeModel(engine, kept, { ...form.value, strength: strength.value }, signal);
}

export async function look() {
  const asked = form.value;
  told.value = "";
  try {
    const found = await merge();
    if (form.value !== asked) return;
    ahead.value = found;
    refusal.value = null;
  } catch (error) {
    ahead.value = null;
    refusal.value = loraError(error);
  }
}

export async function downloadMerged() {
  forgive("keep");
  told.value = "";
  const name = form.value.format === "gguf" ? "tabtune-merged.gguf" : "tabtune-merged.zip";
  try {
    const chosen = await askWhere(name);
    if (chosen === null) return;
    leaving = new AbortController();
    const merged = await merge(leaving.signal);
    if (!merged) return;
    writing.value = { done: 0, total: merged.bytes };
    const place = chosen ?? (await placeInStorage(name, merged.bytes));
    await write(merged, place);
    if (!chosen) save(name, await place.getFile());
    told.value = chosen ? `Written to ${place.name}.` : "Your browser has it among its downloads.";
  } catch (error) {
    if (loraError(error).code !== "aborted") complain("keep", error);
  } finally {
    writing.value = null;
  }
}

export function giveUp() {
  leaving.abort();
}

/** Undefined where the browser has no such dialog, null if the visitor closes it. */
async function askWhere(name: string): Promise<FileSystemFileHandle | null | undefined> {
  type Ask = (options: { suggestedName: string }) => Promise<FileSystemFileHandle>;
  const { showSaveFilePicker: ask } = window as { showSaveFilePicker?: Ask };
  try {
    return await ask?.({ suggestedName: name });
  } catch (error) {
    if ((error as DOMException).name === "AbortError") return null;
    throw error;
  }
}

/** A download is read from there while the browser copies it, so it stays until this tab is closed. */
async function placeInStorage(name: string, size: number): Promise<FileSystemFileHandle> {
  if (!isHeld) navigator.locks?.request(MERGING, { mode: "shared" }, () => new Promise(() => {}));
  isHeld = true;
  const folder = await makeFolder(FOLDERS.merged);
  const { quota = Number.POSITIVE_INFINITY, usage = 0 } = await navigator.storage.estimate();
  if (size > quota - usage) throw full(size);
  return folder.getFileHandle(name, { create: true });
}

/** Nothing of it is left unless it is whole. */
async function write(merged: MergedModel, place: FileSystemFileHandle) {
  const reader = merged.stream().getReader();
  const file = await place.createWritable();
  try {
    for (let done = 0; ; ) {
      const { value } = await reader.read();
      if (!value) break;
      await file.write(value);
      done += value.length;
      writing.value = { done, total: merged.bytes };
    }
    await file.close();
  } catch (error) {
    await reader.cancel().catch(() => {});
    await file.abort().catch(() => {});
    throw (error as DOMException).name === "QuotaExceededError" ? full(merged.bytes) : error;
  }
}

function full(size: number): LoraError {
  return new LoraError(
    "storage",
    `there is no room for the merged model, which has ${bytes(size)}`,
    "Free some space on the disk, delete stored models that you no longer need, or choose fewer bits.",
  );
}
