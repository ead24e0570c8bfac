/**
 * Models of the Hub in the browser's private storage (OPFS): files under their hashes, so that models share what they
 * have in common, and records that say which files make a model. What is not whole yet is named `.part`.
 */

import type { HubFile, HubModel } from "./hub_protocol";
import { deleteFile, FOLDERS, makeFolder, openFile, openFolder, readSealed, writeSealed } from "./storage";

export interface StoredModel extends HubModel {
  /** The bytes that are there; fewer than `bytes` of a download that was interrupted. */
  done: number;
}

/** A branch or a tag may move on; a commit stays what it is. */
export const isCommit = (revision: string): boolean => /^[0-9a-f]{40}$/.test(revision);

export async function listStored(): Promise<StoredModel[]> {
  const [records, sizes] = await Promise.all([readRecords(), sizesOnDisk()]);
  return records.map((model) => ({ ...model, done: bytesAmong(sizes, model) }));
}

/** Of a model, stored under a record or not. */
export async function bytesThere(model: HubModel): Promise<number> {
  return bytesAmong(await sizesOnDisk(), model);
}

function bytesAmong(sizes: Map<string, number>, { files }: HubModel): number {
  const there = ({ hash, bytes }: HubFile) => sizes.get(hash) ?? Math.min(sizes.get(partOf(hash)) ?? 0, bytes);
  return files.reduce((sum, file) => sum + there(file), 0);
}

/** Undefined if nothing of it has been fetched. */
export async function findRecord(id: string, commit: string): Promise<HubModel | undefined> {
  return (await readRecords()).find((model) => model.id === id && model.commit === commit);
}

/** Null unless all of its files are whole. */
export async function storedBlobs({ files }: HubModel): Promise<Map<string, Blob> | null> {
  const folder = await openFolder(FOLDERS.hubFiles);
  const found = await Promise.all(files.map(async ({ path, hash }) => [path, await wholeFile(folder, hash)] as const));
  const blobs = found.filter((pair): pair is [string, File] => pair[1] !== undefined);
  return blobs.length === files.length ? new Map(blobs) : null;
}

/** Deletes a model, whole or not, and the files that no other model needs. */
export async function deleteStored({ id, commit }: Pick<HubModel, "id" | "commit">) {
  const folder = await openFolder(FOLDERS.hubModels);
  if (folder) await deleteFile(folder, recordName(id, commit));
  const files = await openFolder(FOLDERS.hubFiles);
  if (!files) return;
  const needed = new Set((await readRecords()).flatMap((model) => model.files.map(({ hash }) => hash)));
  for await (const name of files.keys()) if (!needed.has(wholeOf(name))) await deleteFile(files, name);
}

/** Only a worker can write. */
export async function writeRecord(model: HubModel) {
  await writeSealed(await makeFolder(FOLDERS.hubModels), recordName(model.id, model.commit), model, []);
}

export const filesFolder = () => makeFolder(FOLDERS.hubFiles);

/** Undefined if it is not there, or not whole. */
export async function wholeFile(folder: FileSystemDirectoryHandle | undefined, hash: string) {
  return folder && openFile(folder, hash);
}

export const partOf = (hash: string) => `${hash}.part`;
const wholeOf = (name: string) => name.replace(/\.part$/, "");

const recordName = (id: string, commit: string) => encodeURIComponent(`${id}@${commit}`);

/** A record that was cut short is no record: its files go with the next model that is deleted. */
async function readRecords(): Promise<HubModel[]> {
  const folder = await openFolder(FOLDERS.hubModels);
  const found: HubModel[] = [];
  if (!folder) return found;
  for await (const name of folder.keys()) {
    const record = await readSealed<HubModel>(folder, name);
    if (record) found.push(record.header);
  }
  return found.sort((a, b) => a.id.localeCompare(b.id, "en"));
}

async function sizesOnDisk(): Promise<Map<string, number>> {
  const sizes = new Map<string, number>();
  const folder = await openFolder(FOLDERS.hubFiles);
  if (!folder) return sizes;
  for await (const name of folder.keys()) {
    const file = await openFile(folder, name);
    if (file) sizes.set(name, file.size);
  }
  return sizes;
}
