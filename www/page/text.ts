/** Takes a text, and has the engine read it. */

import { signal } from "@preact/signals";
import { LoraError, loraError } from "../api/errors";
import type { Session } from "../api/session";
import type { Dataset, Notice, Settings, TextDocument } from "../api/types";
import { noteUnnamed, unnamed, withColumns } from "./columns";
import { session } from "./engine";
import { settings } from "./settings";
import { accepted, changing, run, type Text, text, training } from "./state";
import { complain, forgive } from "./trouble";
import { complainWhereItHelps } from "./where_it_helps";
import { bytes, thin } from "./words";

const LIMIT = 8_000_000;

/** The name of the text that is being read just now. */
export const reading = signal<string | null>(null);

/** A text that cannot be used leaves the previous one as it was. */
export async function take(name: string, sources: TextDocument[], prompt?: string) {
  const size = sources.reduce((sum, source) => sum + source.content.size, 0);
  if (size > LIMIT) return refuse(tooLarge(size));
  reading.value = name;
  let documents = sources;
  try {
    // A copy in memory: the file may be gone when the engine has to be started again.
    documents = await Promise.all(
      sources.map(async (source) => ({ ...source, content: new Blob([await source.content.arrayBuffer()]) })),
    );
    const taken: Text = { name, documents, bytes: size, dataset: null, ...(prompt ? { prompt } : {}) };
    text.value = (await session()) ? { ...taken, dataset: await read(taken) } : await readPlainly(taken);
    closeError();
    run.value = null;
    if (accepted.value) changing.value = "text";
  } catch (error) {
    await refuse(loraError(error), { name, documents });
  } finally {
    reading.value = null;
  }
}

/** Where it would help to say which columns hold the text, the visitor is asked, and the error leads there. */
async function refuse(error: LoraError, taken: Pick<Text, "name" | "documents"> = { name: "", documents: [] }) {
  if (error.setting) return complainWhereItHelps(error);
  await noteUnnamed(taken.name, taken.documents, error);
  const { code, message } = error;
  const hint = unnamed.value ? "Say below where the text is, or rename the columns in the file." : error.hint;
  complain("text", { code, message, hint }, { label: "Close", press: closeError });
}

function closeError() {
  unnamed.value = null;
  forgive("text");
}

/** Reads the text that was refused again, with the columns that were chosen. */
export async function takeWithColumns() {
  const refused = unnamed.value;
  if (refused && !reading.value) await take(refused.name, await withColumns(refused.documents));
}

/** Takes the same text again, as what the warnings say that it looks like: its files get the endings named there. */
export function takeAsRecords({ name, documents, prompt }: Text, warnings: Notice[]) {
  const renamed = documents.map((document) => ({ ...document, name: recordsName(document.name, warnings) }));
  return take(name, renamed, prompt);
}

export const looksLikeRecords = ({ code }: Notice) => code === "looks_like_records";

function recordsName(name: string, warnings: Notice[]): string {
  const about = warnings.find((each) => looksLikeRecords(each) && each.message.startsWith(`\`${name}\``));
  const ending = about?.message.match(/give it as a (\.\w+) file/)?.[1];
  return ending ? name.replace(/(\.[^.]*)?$/, ending) : name;
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

/** The one dataset that the page holds, with what it was made from. */
let held: { engine: Session; dataset: Dataset; documents: TextDocument[]; seqLen: number; holdout: number } | undefined;

/** The text as rows, cut as the settings say: the dataset that is held, or a new one, which replaces it. */
async function read({ documents }: Text, wanted = settings.value): Promise<Dataset> {
  const engine = await session();
  if (!engine || !wanted) throw new Error("the model is not ready");
  const { seqLen, holdout } = wanted;
  const same = held?.engine === engine && held.documents === documents;
  if (held && same && held.seqLen === seqLen && held.holdout === holdout) return held.dataset;
  const dataset = await engine.dataset(documents, wanted);
  const old = held;
  held = { engine, dataset, documents, seqLen, holdout };
  // Datasets of a session that has ended are gone with it. Nobody waits: the new one may be released soon, too.
  if (old?.engine === engine) engine.release(old.dataset).catch(() => {});
  return dataset;
}

/** Reads a text and puts its rows on show, unless another text was taken meanwhile. */
export async function show(taken: Text, wanted: Settings): Promise<Dataset> {
  const dataset = await read(taken, wanted);
  if (text.value === taken && taken.dataset !== dataset) text.value = { ...taken, dataset };
  return dataset;
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
