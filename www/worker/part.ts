/** A file that is arriving: on the disk, where it waits for the rest, or in memory. Every byte of it is hashed. */

import { createSHA1, createSHA256, type IHasher } from "hash-wasm";
import type { HubFile } from "../api/hub_protocol";
import { partOf } from "../api/hub_store";
import type { Access, Writable } from "../api/storage";

/** The browser lets this page store no more. */
export class StorageFull extends Error {}

interface Place {
  append(piece: Uint8Array, at: number): void;
  clear(): void;
  /** Lets go of the file. */
  close(): void;
  /** The whole file, after `close`. */
  whole(): Promise<Blob>;
}

export class Part {
  bytes = 0;

  /** With what has arrived of it before. */
  static async open(file: HubFile, folder: FileSystemDirectoryHandle | undefined, signal: AbortSignal): Promise<Part> {
    const hasher = await (file.hash.length === 64 ? createSHA256() : createSHA1());
    if (!folder) return new Part(file, hasher, inMemory());
    const handle = (await folder.getFileHandle(partOf(file.hash), { create: true })) as Writable;
    const before = await handle.getFile();
    const part = new Part(file, hasher, await onDisk(handle, file.hash));
    try {
      if (before.size > file.bytes) part.clear();
      else await part.#take(before, signal);
      return part;
    } catch (error) {
      part.close();
      throw error;
    }
  }

  private constructor(
    readonly file: HubFile,
    readonly hasher: IHasher,
    readonly place: Place,
  ) {
    this.#begin();
  }

  append(piece: Uint8Array) {
    this.place.append(piece, this.bytes);
    this.hasher.update(piece);
    this.bytes += piece.length;
  }

  clear() {
    this.place.clear();
    this.bytes = 0;
    this.#begin();
  }

  /** Ends the hashing. */
  isRight(): boolean {
    return this.bytes === this.file.bytes && this.hasher.digest() === this.file.hash;
  }

  close() {
    this.place.close();
  }

  whole(): Promise<Blob> {
    this.close();
    return this.place.whole();
  }

  #begin() {
    this.hasher.init();
    // What git hashes begins with the length.
    if (this.file.hash.length === 40) this.hasher.update(`blob ${this.file.bytes}\0`);
  }

  async #take(before: Blob, signal: AbortSignal) {
    const PIECE = 1 << 22;
    for (let at = 0; at < before.size; at += PIECE) {
      signal.throwIfAborted();
      this.hasher.update(new Uint8Array(await before.slice(at, at + PIECE).arrayBuffer()));
    }
    this.bytes = before.size;
  }
}

async function onDisk(handle: Writable, name: string): Promise<Place> {
  const access = await accessTo(handle);
  return {
    append(piece, at) {
      // Past the quota, Chromium writes fewer bytes without an error.
      if (written(access, piece, at) === piece.length) return;
      access.truncate(at);
      throw new StorageFull();
    },
    clear: () => access.truncate(0),
    close: () => access.close(),
    async whole() {
      await handle.move(name);
      return handle.getFile();
    },
  };
}

/** A worker that has just ended may hold the file for a moment longer. */
async function accessTo(handle: Writable, tries = 10): Promise<Access> {
  try {
    return await handle.createSyncAccessHandle();
  } catch (error) {
    if (tries === 1 || (error as DOMException).name !== "NoModificationAllowedError") throw error;
    await new Promise((resolve) => setTimeout(resolve, 100));
    return accessTo(handle, tries - 1);
  }
}

function written(access: Access, piece: Uint8Array, at: number): number {
  try {
    return access.write(piece, { at });
  } catch (error) {
    if ((error as DOMException).name === "QuotaExceededError") return 0;
    throw error;
  }
}

function inMemory(): Place {
  let pieces: Blob[] = [];
  return {
    // A blob may be moved to the disk by the browser; an array may not.
    append: (piece) => void pieces.push(new Blob([piece as Uint8Array<ArrayBuffer>])),
    clear() {
      pieces = [];
    },
    close() {},
    whole: async () => new Blob(pieces),
  };
}
