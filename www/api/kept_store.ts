/**
 * The adapters and models that their owner keeps, in the browser's private storage (OPFS), one file each, until they
 * are deleted. A newer version of one, be it a new name or a run that went on, is written beside the older one, which
 * is deleted afterwards, so that a kill in between loses neither.
 */

import { deleteFile, FOLDERS, makeFolder, openFolder, readHeader, readSealed, writeSealed } from "./storage";
import type { KeptFiles, ModelInfo } from "./types";

/** All that is needed to offer an adapter and to hand it over, also without its model or any engine. */
export interface KeptAdapter {
  /** That of the run that made it, if it was trained here. */
  id: string;
  /** What its owner calls it. */
  name: string;
  /** The name of the text that it learnt from, or of the file that it was opened from. */
  text: string;
  /** The size of that text; older pages did not write it. */
  textBytes?: number;
  opened?: boolean;
  model: BaseFacts;
  keptAt: number;
  adapter: KeptFiles;
}

/** What the README beside an adapter says about the model. */
export type BaseFacts = Pick<ModelInfo, "name" | "sha256" | "parameters" | "chatTemplate">;

type WithoutWeights<Files> = Files extends KeptFiles ? Omit<Files, "weights"> : never;

/** What is said about one: everything but its weights. */
export type KeptFacts = Omit<KeptAdapter, "adapter"> & {
  adapter: WithoutWeights<KeptFiles>;
  weightBytes: number;
};

/** Older pages kept one adapter, with neither id nor name, and did not write the method. */
type Header = Omit<KeptFacts, "id" | "name" | "weightBytes"> & Partial<Pick<KeptFacts, "id" | "name">>;

interface Place {
  folder: FileSystemDirectoryHandle;
  file: string;
}

/** From the newest to the oldest. */
export async function listKept(): Promise<KeptFacts[]> {
  const all = (await found()).map(({ facts }) => facts);
  return all.sort((a, b) => b.keptAt - a.keptAt);
}

/** Null if it is no longer there, or damaged. */
export async function readKept(id: string): Promise<KeptAdapter | null> {
  const entry = (await found()).find(({ facts }) => facts.id === id);
  const whole = entry && (await readSealed<Header>(entry.place.folder, entry.place.file));
  const weights = whole?.parts[0];
  if (!entry || !weights) return null;
  const { weightBytes: _, ...facts } = entry.facts;
  return { ...facts, adapter: { ...facts.adapter, weights } as KeptFiles };
}

/** Takes the place of the one with its id. Throws unless every byte reached the disk: then nothing has changed. */
export async function writeKept(kept: KeptAdapter) {
  const folder = await makeFolder(FOLDERS.adapters);
  const { weights, ...adapter } = kept.adapter;
  const header: Header = { ...kept, adapter };
  const before = await places(kept.id);
  const file = String(Date.now()).padStart(16, "0");
  try {
    await writeSealed(folder, file, header, [weights]);
  } catch (error) {
    await deleteFile(folder, file);
    throw error;
  }
  for (const place of before) await deleteFile(place.folder, place.file);
}

export async function deleteKept(id: string) {
  for (const { folder, file } of await places(id)) await deleteFile(folder, file);
}

/** The name that its owner gave it, or that of its text with a number, if others are called so. */
export async function nameFor(id: string, text: string): Promise<string> {
  const all = await listKept();
  const names = all.map(({ name }) => name);
  let name = text;
  for (let n = 2; names.includes(name); n++) name = `${text} ${n}`;
  return all.find((other) => other.id === id)?.name ?? name;
}

/** Deletes what a kill in the middle of a write has left. Must hold the lock of runs, as whoever writes does. */
export async function deleteBroken() {
  for (const { folder, file } of await files()) if (!(await readHeader(folder, file))) await deleteFile(folder, file);
}

/** The newest version of each. */
async function found(): Promise<{ place: Place; facts: KeptFacts }[]> {
  const newest = new Map<string, { place: Place; facts: KeptFacts }>();
  for (const place of await files()) {
    const head = await readHeader<Header>(place.folder, place.file);
    if (!head) continue;
    const { header, lengths } = head;
    const id = header.id ?? place.file;
    const name = header.name ?? header.text;
    const adapter = { ...header.adapter, method: header.adapter.method ?? "lora" } as KeptFacts["adapter"];
    const facts = { ...header, id, name, adapter, weightBytes: lengths[0] ?? 0 };
    newest.set(id, { place, facts });
  }
  return [...newest.values()];
}

/** Every version of one. */
async function places(id: string): Promise<Place[]> {
  const all: Place[] = [];
  for (const place of await files()) {
    const head = await readHeader<Header>(place.folder, place.file);
    if (head && (head.header.id ?? place.file) === id) all.push(place);
  }
  return all;
}

/** From the oldest to the newest: their names are times of the same length. */
async function files(): Promise<Place[]> {
  const all: Place[] = [];
  for (const name of [FOLDERS.olderAdapter, FOLDERS.adapters]) {
    const folder = await openFolder(name);
    if (!folder) continue;
    const names: string[] = [];
    for await (const file of folder.keys()) names.push(file);
    all.push(...names.sort().map((file) => ({ folder, file })));
  }
  return all;
}
