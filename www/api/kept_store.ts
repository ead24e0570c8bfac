/**
 * The adapter or checkpoint of the last run that came to an end, until its owner has downloaded or forgotten it, in the
 * browser's private storage (OPFS). A newer one is written beside the older one, which is deleted afterwards, so that a
 * kill in between loses neither.
 */

import { deleteFile, makeFolder, openFolder, readSealed, writeSealed } from "./storage";
import type { KeptFiles, ModelInfo } from "./types";

/** All that is needed to offer the adapter and to hand it over, also without its model or any engine. */
export interface KeptAdapter {
  /** The name of the text that it learnt from. */
  text: string;
  model: BaseFacts;
  keptAt: number;
  adapter: KeptFiles;
}

/** What the README beside an adapter says about the model. */
export type BaseFacts = Pick<ModelInfo, "name" | "sha256" | "parameters" | "chatTemplate">;

type Header = Omit<KeptAdapter, "adapter"> & { adapter: Omit<KeptFiles, "weights"> };

const FOLDER = "kept-adapter";

/** Reads the newest one that is whole, and deletes what is not. Must hold the lock of runs, as whoever writes does. */
export async function readKept(): Promise<KeptAdapter | null> {
  const folder = await openFolder(FOLDER);
  if (!folder) return null;
  for (const name of (await names(folder)).reverse()) {
    const file = await readSealed<Header>(folder, name);
    const weights = file?.parts[0];
    // Older pages kept nothing but adapters, and did not write the method.
    const adapter = { method: "lora", ...file?.header.adapter, weights } as KeptFiles;
    if (file && weights) return { ...file.header, adapter };
    await deleteFile(folder, name);
  }
  return null;
}

/** Throws unless every byte of it reached the disk; the older one is still there then. */
export async function writeKept(kept: KeptAdapter) {
  const folder = await makeFolder(FOLDER);
  const { weights, ...adapter } = kept.adapter;
  const header: Header = { ...kept, adapter };
  const fresh = fileName(kept);
  try {
    await writeSealed(folder, fresh, header, [weights]);
  } catch (error) {
    await deleteFile(folder, fresh);
    throw error;
  }
  for (const name of await names(folder)) if (name !== fresh) await deleteFile(folder, name);
}

/** Deletes it and whatever is older, but no newer one that another tab has written since. */
export async function forgetKept(kept: KeptAdapter) {
  const folder = await openFolder(FOLDER);
  if (!folder) return;
  for (const name of await names(folder)) if (name <= fileName(kept)) await deleteFile(folder, name);
}

/** Times of the same length, so that their order is that of the letters. */
const fileName = ({ keptAt }: KeptAdapter) => String(keptAt).padStart(16, "0");

/** From the oldest to the newest. */
async function names(folder: FileSystemDirectoryHandle): Promise<string[]> {
  const all: string[] = [];
  for await (const name of folder.keys()) all.push(name);
  return all.sort();
}
