/** Takes a text, and has the engine read it. Whatever comes back first, the newest choice wins. */

import { computed, signal } from "@preact/signals";
import { type LoraError, loraError } from "../api/errors";
import type { Session } from "../api/session";
import type { Dataset, Settings, TextDocument } from "../api/types";
import { ask, hasColumns, unnamed, unnamedIn, withColumns } from "./columns";
import { session } from "./engine";
import { busy, gone, LIMIT, tooLarge } from "./refused";
import { settings } from "./settings";
import { accepted, changing, run, type Source, type Text, text, training } from "./state";
import { complain, forgive } from "./trouble";
import { complainWhereItHelps } from "./where_it_helps";

/** A choice that was made, until its text is there. */
interface Turn {
  name: string;
}

/** What is being read, oldest first. What can be used settles what was chosen before it, too. */
const pending = signal<Turn[]>([]);
let newest: Turn | undefined;

/** The name of the text that is being read just now. */
export const reading = computed(() => pending.value.at(-1)?.name ?? null);

/** The words in the paste box, and those that were there when a text was last chosen. */
export const pasted = signal("");
const seen = signal("");

/** The paste box holds words that were typed after the last text was chosen. */
export const unread = computed(() => pasted.value !== "" && pasted.value !== seen.value);

/** Takes a text that is there or coming; null: it is none after all. One that cannot be used changes nothing. */
export async function take(name: string, coming: Source | Promise<Source | null>) {
  const turn = { name };
  newest = turn;
  seen.value = pasted.value;
  pending.value = [...pending.value, turn];
  // The question for the columns stays until it is answered.
  if (coming instanceof Promise || !hasColumns(coming)) closeError();
  let source: Source | null = null;
  try {
    source = await coming;
    if (source) source = await copied(source);
    if (source) await put(source, turn);
  } catch (error) {
    await refuse(turn, source, loraError(error));
  }
  pending.value = pending.value.filter((each) => each !== turn);
}

async function put(source: Source, turn: Turn) {
  const cut = await readNow(source.documents);
  const plain = cut ? {} : { plain: await glance(source.documents) };
  const isWanted = pending.value.includes(turn);
  if (cut && (!isWanted || training.value)) release(cut);
  if (!isWanted) return;
  if (training.value) throw busy(source.name);
  if (cut) hold(cut);
  text.value = { ...source, bytes: size(source.documents), dataset: cut?.dataset ?? null, ...plain };
  run.value = null;
  accepted.value = false;
  pending.value = pending.value.slice(pending.value.indexOf(turn) + 1);
  if (turn === newest) closeError();
}

export const takePasted = (words: string) => takeWords("Pasted text", "pasted.txt", words);

export function takeWords(name: string, file: string, words: string) {
  return take(name, { name, documents: [{ name: file, content: new Blob([words]) }] });
}

/** A copy in memory: the files may be gone when the engine has to be started again. */
async function copied(source: Source): Promise<Source> {
  if (training.value) throw busy(source.name);
  if (size(source.documents) > LIMIT) throw tooLarge(size(source.documents));
  const copy = async (document: TextDocument) => {
    const content = await document.content.arrayBuffer().catch(() => {
      throw gone(document.name);
    });
    return { ...document, content: new Blob([content]) };
  };
  return { ...source, documents: await Promise.all(source.documents.map(copy)) };
}

/** Where it would help to say which columns hold the text, the visitor is asked, and the error leads there. */
async function refuse(turn: Turn, source: Source | null, error: LoraError) {
  const question = source && (await unnamedIn(source, error));
  if (turn !== newest) return;
  if (error.code === "training") return complain("train", error);
  if (error.setting) return complainWhereItHelps(error);
  ask(question);
  const { code, message } = error;
  const hint = question ? "Say below where the text is, or rename the columns in the file." : error.hint;
  complain("text", { code, message, hint }, { label: "Close", press: closeError });
}

function closeError() {
  ask(null);
  forgive("text");
}

/** Reads the text that was refused again, with the columns that were chosen. */
export async function takeWithColumns() {
  const question = unnamed.value;
  if (question && reading.value === null) await take(question.source.name, withColumns(question));
}

export function accept() {
  accepted.value = true;
  if (changing.value === "text") changing.value = null;
}

/** A text as rows, how they were cut, and the batch, from which the number of steps follows by default. */
interface Cut {
  engine: Session;
  dataset: Dataset;
  documents: TextDocument[];
  batch: number;
  seqLen: number;
  holdout: number;
  packing: boolean;
}

/** The one dataset that the page holds: that of the text on show. */
let held: Cut | undefined;

/** Null without an engine. If another model took the place of this one meanwhile, that one reads the text. */
async function readNow(documents: TextDocument[]): Promise<Cut | null> {
  const engine = await session();
  if (!engine) return null;
  return read(engine, documents, settings.value).catch((error) => {
    if (loraError(error).code === "closed") return readNow(documents);
    throw error;
  });
}

async function read(engine: Session, documents: TextDocument[], wanted: Settings | null): Promise<Cut> {
  if (!wanted) throw new Error("the model is not ready");
  const { batch, seqLen, holdout, packing } = wanted;
  return { engine, dataset: await engine.dataset(documents, wanted), documents, batch, seqLen, holdout, packing };
}

function hold(cut: Cut) {
  // Datasets of a session that has ended are gone with it.
  if (held?.engine === cut.engine) release(held);
  held = cut;
}

/** Nobody waits for it. */
function release({ engine, dataset }: Cut) {
  engine.release(dataset).catch(() => {});
}

/** The rows of a text, cut as the settings say, and puts them on show, unless another text was taken meanwhile. */
export async function show(taken: Text, wanted: Settings): Promise<Dataset> {
  const engine = await session();
  if (!engine) throw new Error("the model is not ready");
  const same = held?.engine === engine && held.documents === taken.documents;
  const fits = same && (["batch", "seqLen", "holdout", "packing"] as const).every((key) => held?.[key] === wanted[key]);
  const cut = fits && held ? held : await read(engine, taken.documents, wanted);
  if (text.value?.documents !== taken.documents) release(cut);
  else {
    if (cut !== held) hold(cut);
    if (text.value.dataset !== cut.dataset) text.value = { ...text.value, dataset: cut.dataset };
  }
  return cut.dataset;
}

/** Without an engine there are no tokens to show, but the text can still be counted and looked at. */
async function glance(documents: TextDocument[]): Promise<NonNullable<Text["plain"]>> {
  const contents = await Promise.all(documents.map((document) => document.content.text()));
  const lines = contents.flatMap((content) => content.slice(0, 4000).split("\n")).filter((line) => line.trim() !== "");
  return { characters: contents.reduce((sum, content) => sum + content.length, 0), lines: lines.slice(0, 5) };
}

const size = (documents: TextDocument[]) => documents.reduce((sum, { content }) => sum + content.size, 0);
