/** Sealed files in folders of the browser's private storage (OPFS). Only a worker can write; reading works anywhere. */

import { LoraError } from "./errors";
import { peek, seal, unseal } from "./sealed";
import { bytesOf } from "./weights";

type Bytes = Uint8Array<ArrayBuffer>;

/** All that is used here: pages of other projects at the same host have theirs beside them. */
export const FOLDERS = {
  adapters: "adapters",
  /** Where older pages kept one adapter: still read, never written. */
  olderAdapter: "kept-adapter",
  run: "unfinished-run",
  hubFiles: "hub-files",
  hubModels: "hub-models",
  /** What was measured on the graphics card. */
  tuned: "tuned-products",
  /** A merged model on its way to the disk, where the page cannot write to the disk itself. */
  merged: "merged-model",
};
/** The lock of tabs that have such a file. */
export const MERGING = "tabtune-merged";

/** How long the storage may take over a file of any size. Busy browsers have left calls unanswered. */
const PATIENCE_MS = 60_000;

/** Undefined if there is no such folder, or no storage. */
export async function openFolder(name: string): Promise<FileSystemDirectoryHandle | undefined> {
  const root = await storage();
  return root?.getDirectoryHandle(name).catch(ignoreMissing);
}

/** Throws if there is no storage. */
export async function makeFolder(name: string): Promise<FileSystemDirectoryHandle> {
  const root = await storage();
  if (!root) throw unkept("this browser keeps no files for this page");
  return root.getDirectoryHandle(name, { create: true });
}

export async function deleteFolder(name: string) {
  const root = await storage();
  await root?.removeEntry(name, { recursive: true }).catch(ignoreMissing);
}

export async function deleteFile(folder: FileSystemDirectoryHandle, name: string) {
  await folder.removeEntry(name).catch(ignoreMissing);
}

/** Undefined if there is no such file. Another tab or worker may rename or delete it between the two calls. */
export async function openFile(folder: FileSystemDirectoryHandle, name: string): Promise<File | undefined> {
  const handle = await folder.getFileHandle(name).catch(ignoreMissing);
  return handle?.getFile().catch(ignoreMissing);
}

/** Null if there is no such file, or not all of it. */
export async function readSealed<Header>(folder: FileSystemDirectoryHandle, name: string) {
  const file = await openFile(folder, name);
  return file ? unseal<Header>(await bytesOf(file)) : null;
}

/** Its parts are not read, so they may be damaged. Null if there is no such file, or not all of it. */
export async function readHeader<Header>(folder: FileSystemDirectoryHandle, name: string) {
  const file = await openFile(folder, name);
  return file ? peek<Header>(file) : null;
}

/** Throws unless every byte reached the disk: past the quota, Chromium writes fewer bytes without an error. */
export async function writeSealed(folder: FileSystemDirectoryHandle, name: string, header: object, parts: Bytes[]) {
  const bytes = await seal(header, parts);
  const file = (await folder.getFileHandle(name, { create: true })) as Writable;
  const access = await file.createSyncAccessHandle();
  try {
    access.truncate(0);
    const written = access.write(bytes, { at: 0 });
    access.flush();
    if (written === bytes.length && access.getSize() === bytes.length) return;
    access.truncate(0);
    throw unkept("the browser's storage is full");
  } finally {
    access.close();
  }
}

/** What `work` on the storage gives; throws if the browser leaves it without an answer. */
export function answered<T>(work: Promise<T>, patienceMs = PATIENCE_MS): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const given = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(unkept("the browser's storage does not answer")), patienceMs);
  });
  return Promise.race([work, given]).finally(() => clearTimeout(timer));
}

function unkept(reason: string): LoraError {
  return new LoraError(
    "storage",
    reason,
    "Free some space on the disk, or delete adapters that you no longer need; leave this tab open until then.",
  );
}

/** Undefined in private windows of some browsers and in Node, which have no storage. */
function storage(): Promise<FileSystemDirectoryHandle | undefined> {
  return globalThis.navigator?.storage?.getDirectory?.().catch(() => undefined) ?? Promise.resolve(undefined);
}

function ignoreMissing(error: DOMException): undefined {
  if (error.name !== "NotFoundError") throw error;
}

/** TypeScript knows these only in its worker library, which excludes the page's. */
export interface Writable extends FileSystemFileHandle {
  createSyncAccessHandle(): Promise<Access>;
  move(name: string): Promise<void>;
}

export interface Access {
  truncate(size: number): void;
  write(bytes: Uint8Array, options: { at: number }): number;
  flush(): void;
  getSize(): number;
  close(): void;
}
