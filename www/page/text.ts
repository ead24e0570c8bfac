/** Taking a text, and letting the engine read it. */

import { signal } from "@preact/signals";
import { LoraError } from "../api/errors";
import type { Session } from "../api/session";
import { session } from "./engine";
import { settings } from "./settings";
import { accepted, changing, run, type Text, text, training } from "./state";
import { complain, forgive } from "./trouble";
import { bytes, thin } from "./words";

const LIMIT = 8_000_000;

/** The name of the text that is being read, for the moment that takes. */
export const reading = signal<string | null>(null);

interface Named {
  name: string;
  content: Blob;
}

/** A text that cannot be used leaves the one before it in place. */
export async function take(name: string, sources: Named[], prompt?: string) {
  const size = sources.reduce((sum, source) => sum + source.content.size, 0);
  if (size > LIMIT) return complain("text", tooLarge(size));
  reading.value = name;
  try {
    // A copy in memory: the file may be gone when the engine has to be started afresh.
    const documents = await Promise.all(
      sources.map(async ({ name, content }) => ({ name, content: new Blob([await content.arrayBuffer()]) })),
    );
    const taken: Text = { name, documents, bytes: size, summary: null, ...(prompt ? { prompt } : {}) };
    text.value = (await session()) ? await read(taken) : await readPlainly(taken);
    forgive("text");
    run.value = null;
    if (accepted.value) changing.value = "text";
  } catch (error) {
    complain("text", error);
  } finally {
    reading.value = null;
  }
}

export function takeFiles(files: File[]) {
  const [first] = files;
  if (!first || training.value) return;
  const name = files.length === 1 ? first.name : `${files.length} files`;
  return take(
    name,
    files.map((file) => ({ name: file.name, content: file })),
  );
}

export function accept() {
  accepted.value = true;
  if (changing.value === "text") changing.value = null;
}

let held: { engine: Session; documents: Named[]; seqLen: number; holdout: number } | undefined;

/** Makes sure that the engine holds this text, cut into rows as the settings say. */
export async function read(taken: Text, wanted = settings.value): Promise<Text> {
  const engine = await session();
  if (!engine || !wanted) throw new Error("the model is not ready");
  const { seqLen, holdout } = wanted;
  const { documents } = taken;
  const same = taken.summary && held?.engine === engine && held.documents === documents;
  if (same && held?.seqLen === seqLen && held.holdout === holdout) return taken;
  held = undefined;
  const summary = await engine.dataset(documents, wanted);
  held = { engine, documents, seqLen, holdout };
  return { ...taken, summary };
}

/** Without an engine there are no tokens to show, but the text can still be counted and looked at. */
async function readPlainly(taken: Text): Promise<Text> {
  const contents = await Promise.all(taken.documents.map((document) => document.content.text()));
  const lines = contents.flatMap((content) => content.slice(0, 4000).split("\n")).filter((line) => line.trim() !== "");
  const characters = contents.reduce((sum, content) => sum + content.length, 0);
  return { ...taken, plain: { characters, lines: lines.slice(0, 5) } };
}

function tooLarge(size: number): LoraError {
  return new LoraError(
    "text_too_large",
    `the text has ${bytes(size)}, the limit is ${thin(LIMIT / 1e6)} MB`,
    "Use a part of the text; a few megabytes are plenty for an adapter.",
  );
}
