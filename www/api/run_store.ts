/**
 * The unfinished run that this machine keeps, at most one, in the browser's private storage (OPFS): a file `run` with
 * the text and the settings, written once, and two generations of the run state in turn, so that a kill in the middle
 * of a write loses nothing. Writing needs a worker; reading and forgetting do not. Only the tab that holds the run's
 * lock may change anything here.
 */

import { deleteFile, deleteFolder, FOLDERS, makeFolder, openFolder, readSealed, writeSealed } from "./storage";
import type { Columns, Settings, TextDocument, WeightsChoice } from "./types";
import { bytesOf } from "./weights";

/** Everything that a run needs to continue in another tab, except its state. */
export interface RunRecord {
  id: string;
  settings: Settings;
  text: { name: string; prompt?: string; documents: TextDocument[] };
  /** Older pages did not write how its weights were stored: as in its file. */
  model: { name: string; sha256: string; weights?: WeightsChoice };
  /** How long it has run. */
  ms: number;
}

export interface SavedRun extends RunRecord {
  step: number;
  savedAt: number;
  state: Uint8Array<ArrayBuffer>;
}

type RunHeader = Pick<RunRecord, "id" | "settings" | "model"> & {
  /** The columns of each file, null where none were chosen; older pages did not write them. */
  text: { name: string; prompt?: string; files: string[]; columns?: (Columns | null)[] };
};
type Generation = Pick<SavedRun, "id" | "step" | "savedAt" | "ms"> & { generation: number };

const RUN = "run";
const GENERATIONS = ["state-a", "state-b"];
/** What the generations were called before: still read, never written, and deleted with the run. */
const OLDER_NAMES = ["checkpoint-a", "checkpoint-b"];

/** Reads the newest run state that is whole, with its text. Returns null if there is none, or no storage. */
export async function readRun(): Promise<SavedRun | null> {
  const folder = await openFolder(FOLDERS.run);
  const run = folder && (await readSealed<RunHeader>(folder, RUN));
  if (!run) return null;
  const { id, settings, model, text } = run.header;
  const whole = await wholeGenerations(folder, id);
  const [newest] = whole.sort((a, b) => b.header.generation - a.header.generation);
  const state = newest?.parts[0];
  if (!newest || !state) return null;
  const { step, savedAt, ms } = newest.header;
  const documents = text.files.map((name, index) => {
    const columns = text.columns?.[index];
    return { name, content: new Blob(run.parts.slice(index, index + 1)), ...(columns ? { columns } : {}) };
  });
  const { name, prompt } = text;
  return {
    id,
    settings,
    model,
    text: { name, documents, ...(prompt ? { prompt } : {}) },
    step,
    savedAt,
    ms,
    state,
  };
}

/** Deletes the run and everything that belongs to it. */
export async function forgetRun() {
  await deleteFolder(FOLDERS.run);
}

/** Writes the next run state over the older generation. Throws unless every byte of it reached the disk. */
export async function writeRun(record: RunRecord, step: number, state: Uint8Array<ArrayBuffer>) {
  const folder = await makeFolder(FOLDERS.run);
  const { id, settings, model, text, ms } = record;
  if ((await readSealed<RunHeader>(folder, RUN))?.header.id !== id) {
    // States of the previous run would not be read with this text, but it is a matter of privacy that they go.
    for (const name of [...GENERATIONS, ...OLDER_NAMES]) await deleteFile(folder, name);
    const { documents, ...about } = text;
    const files = documents.map(({ name }) => name);
    const columns = documents.map(({ columns }) => columns ?? null);
    const header: RunHeader = { id, settings, model, text: { ...about, files, columns } };
    const texts = await Promise.all(documents.map(({ content }) => bytesOf(content)));
    await writeSealed(folder, RUN, header, texts);
  }
  const whole = await wholeGenerations(folder, id);
  const generation = Math.max(0, ...whole.map(({ header }) => header.generation)) + 1;
  const age = (name: string) => whole.find((other) => other.name === name)?.header.generation ?? 0;
  const [oldest] = GENERATIONS.toSorted((a, b) => age(a) - age(b));
  const header: Generation = { id, generation, step, savedAt: Date.now(), ms };
  await writeSealed(folder, oldest as string, header, [state]);
}

async function wholeGenerations(folder: FileSystemDirectoryHandle, id: string) {
  const all = await Promise.all(
    [...GENERATIONS, ...OLDER_NAMES].map(async (name) => ({
      name,
      sealed: await readSealed<Generation>(folder, name),
    })),
  );
  return all.flatMap(({ name, sealed }) => (sealed?.header.id === id ? [{ name, ...sealed }] : []));
}
