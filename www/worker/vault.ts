/**
 * The one unfinished run that this machine keeps, in the browser's private storage (OPFS): a file `run` with the text and the
 * settings, written once, and two generations of checkpoints in turn, so that a kill in the middle of a write loses nothing.
 * Writing needs a worker; reading and forgetting do not. Whoever changes anything here holds the lock of the run.
 */

import { LoraError } from "../api/errors";
import type { Settings } from "../api/events";
import { bytesOf } from "../api/weights";
import type { TextDocument } from "./protocol";
import { seal, unseal } from "./sealed";

/** Everything but the checkpoint that a run needs to go on in another tab. */
export interface RunRecord {
  id: string;
  settings: Settings;
  text: { name: string; prompt?: string; documents: TextDocument[] };
  model: { name: string; sha256: string };
  /** How long it has run. */
  ms: number;
}

export interface SavedRun extends RunRecord {
  step: number;
  savedAt: number;
  checkpoint: Uint8Array<ArrayBuffer>;
}

type RunHeader = Pick<RunRecord, "id" | "settings" | "model"> & {
  text: { name: string; prompt?: string; files: string[] };
};
type Generation = Pick<SavedRun, "id" | "step" | "savedAt" | "ms"> & { generation: number };

const FOLDER = "unfinished-run";
const RUN = "run";
const GENERATIONS = ["checkpoint-a", "checkpoint-b"];

/** The newest checkpoint that is whole, with its text; null if there is none, or no storage. */
export async function readRun(): Promise<SavedRun | null> {
  const folder = await openFolder(false);
  const run = folder && (await readSealed<RunHeader>(folder, RUN));
  if (!run) return null;
  const { id, settings, model, text } = run.header;
  const whole = await wholeGenerations(folder, id);
  const [newest] = whole.sort((a, b) => b.header.generation - a.header.generation);
  const checkpoint = newest?.parts[0];
  if (!newest || !checkpoint) return null;
  const { step, savedAt, ms } = newest.header;
  const documents = text.files.map((name, index) => ({ name, content: new Blob(run.parts.slice(index, index + 1)) }));
  const { name, prompt } = text;
  return {
    id,
    settings,
    model,
    text: { name, documents, ...(prompt ? { prompt } : {}) },
    step,
    savedAt,
    ms,
    checkpoint,
  };
}

/** Leaves nothing behind. */
export async function forgetRun() {
  const root = await storage();
  await root?.removeEntry(FOLDER, { recursive: true }).catch(ignoreMissing);
}

/** Writes the next checkpoint over the older generation. Throws if it is not on the disk to the last byte. */
export async function writeRun(record: RunRecord, step: number, checkpoint: Uint8Array<ArrayBuffer>) {
  const folder = await openFolder(true);
  if (!folder) throw unkept("this browser keeps no files for this page");
  const { id, settings, model, text, ms } = record;
  if ((await readSealed<RunHeader>(folder, RUN))?.header.id !== id) {
    // The checkpoints of the run before would not be read with this text; they are in the way of its privacy, though.
    for (const name of GENERATIONS) await folder.removeEntry(name).catch(ignoreMissing);
    const { documents, ...about } = text;
    const header: RunHeader = { id, settings, model, text: { ...about, files: documents.map(({ name }) => name) } };
    await write(folder, RUN, await seal(header, await Promise.all(documents.map(({ content }) => bytesOf(content)))));
  }
  const whole = await wholeGenerations(folder, id);
  const generation = Math.max(0, ...whole.map(({ header }) => header.generation)) + 1;
  const free = GENERATIONS.find((name) => !whole.some((other) => other.name === name));
  const [oldest] = whole.sort((a, b) => a.header.generation - b.header.generation);
  const header: Generation = { id, generation, step, savedAt: Date.now(), ms };
  await write(folder, free ?? (oldest?.name as string), await seal(header, [checkpoint]));
}

async function wholeGenerations(folder: FileSystemDirectoryHandle, id: string) {
  const all = await Promise.all(
    GENERATIONS.map(async (name) => ({ name, sealed: await readSealed<Generation>(folder, name) })),
  );
  return all.flatMap(({ name, sealed }) => (sealed?.header.id === id ? [{ name, ...sealed }] : []));
}

async function readSealed<Header>(folder: FileSystemDirectoryHandle, name: string) {
  const handle = await folder.getFileHandle(name).catch(ignoreMissing);
  return handle ? unseal<Header>(await bytesOf(await handle.getFile())) : null;
}

/** Chromium answers a write past the quota with a short count and no error, so the count is the proof. */
async function write(folder: FileSystemDirectoryHandle, name: string, bytes: Uint8Array) {
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

function unkept(reason: string): LoraError {
  return new LoraError(
    "storage",
    reason,
    "Free some space on the disk, and leave this tab open until the run is over.",
  );
}

async function openFolder(create: boolean): Promise<FileSystemDirectoryHandle | undefined> {
  const root = await storage();
  return root?.getDirectoryHandle(FOLDER, { create }).catch(ignoreMissing);
}

/** Private windows of some browsers have none. */
function storage(): Promise<FileSystemDirectoryHandle | undefined> {
  return navigator.storage?.getDirectory?.().catch(() => undefined) ?? Promise.resolve(undefined);
}

function ignoreMissing(error: DOMException): undefined {
  if (error.name !== "NotFoundError") throw error;
}

/** TypeScript knows these only in its worker library, which excludes the page's. */
interface Writable extends FileSystemFileHandle {
  createSyncAccessHandle(): Promise<{
    truncate(size: number): void;
    write(bytes: Uint8Array, options: { at: number }): number;
    flush(): void;
    getSize(): number;
    close(): void;
  }>;
}
