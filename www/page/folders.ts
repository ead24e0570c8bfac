/** Lists what was dropped or chosen, also the files in folders, and tells texts from whatever else lies there. */

import { gone, LIMIT } from "./refused";
import { counted } from "./words";

export interface Found {
  file: File;
  /** With the folders that it is in. */
  path: string;
}

export interface Listing {
  name: string;
  found: Found[];
  /** What was not looked at: hidden files and folders, and all beyond the limit. */
  skipped: string[];
}

/** What was brought is named at once, but listing a folder takes its time. */
export interface Brought {
  name: string;
  listed: Promise<Listing>;
}

/** So many files are looked at. */
const MOST_FILES = 2000;
/** A file that is no text is found out by so much of it. */
const BEGINNING = 4096;
/** Files that begin as a text does, but are none. */
const MARKED_UP = /^(%PDF-|\{\\rtf)/;

export function picked(files: File[]): Brought {
  const name = files.length === 1 && files[0] ? files[0].name : counted(files.length, "file");
  return {
    name,
    listed: Promise.resolve({ name, found: files.map((file) => ({ file, path: file.name })), skipped: [] }),
  };
}

/** Must be called while the drop is handled: later, the browser no longer knows what was dropped. */
export function dropped(transfer: DataTransfer): Brought {
  const items = [...transfer.items].filter(({ kind }) => kind === "file");
  const entries = items.map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  if (!entries.some(({ isDirectory }) => isDirectory)) return picked([...transfer.files]);
  const name = entries.length === 1 && entries[0] ? entries[0].name : `${entries.length} files and folders`;
  const listed = list(name, entries).catch(() => {
    throw gone(name);
  });
  return { name, listed };
}

async function list(name: string, entries: FileSystemEntry[]): Promise<Listing> {
  const found: Found[] = [];
  const skipped: string[] = [];
  const waiting = [...entries];
  for (let entry = waiting.shift(); entry; entry = waiting.shift()) {
    const path = entry.fullPath.slice(1);
    if (entry.name.startsWith(".") || found.length === MOST_FILES) skipped.push(path);
    else if (entry.isFile) found.push({ file: await fileOf(entry as FileSystemFileEntry), path });
    else waiting.unshift(...(await entriesIn(entry as FileSystemDirectoryEntry)));
  }
  return { name, found, skipped };
}

function fileOf(entry: FileSystemFileEntry): Promise<File> {
  return new Promise((resolve, reject) => entry.file(resolve, reject));
}

/** In the order of their names. The browser gives them in parts, the last of which is empty. */
async function entriesIn(folder: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = folder.createReader();
  const next = () => new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
  const all: FileSystemEntry[] = [];
  for (let part = await next(); part.length > 0; part = await next()) all.push(...part);
  return all.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
}

/** Whether the bytes are those of a text: UTF-8 without zeros, or marked as UTF-16. */
export async function isText(file: File): Promise<boolean> {
  if (file.size === 0 || file.size > LIMIT) return false;
  const beginning = await file.slice(0, BEGINNING).arrayBuffer();
  return decodes(beginning, true) && decodes(await file.arrayBuffer(), false);
}

function decodes(bytes: ArrayBuffer, goesOn: boolean): boolean {
  const [first, second] = new Uint8Array(bytes);
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) return true;
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: goesOn });
    return !text.includes("\0") && !MARKED_UP.test(text);
  } catch {
    return false;
  }
}
