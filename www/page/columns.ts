/** Columns whose names nobody knows: what there is to choose from, and what the visitor chose. */

import { signal } from "@preact/signals";
import type { LoraError } from "../api/errors";
import type { Columns, TextDocument } from "../api/types";
import { session } from "./engine";
import type { Source } from "./state";

/** A text that was refused because it does not say which of its columns, or keys of records, hold the text. */
export interface Unnamed {
  source: Source;
  /** The columns of each of its documents, none for running text. */
  columns: string[][];
  /** Those of all of them, in their order, each once. */
  names: string[];
}

export interface Choice {
  kind: "text" | "pair";
  text: string;
  prompt: string;
  completion: string;
}

export const unnamed = signal<Unnamed | null>(null);
export const choice = signal<Choice>({ kind: "text", text: "", prompt: "", completion: "" });

/** What can be chosen in a text that was refused, if that helps against the error. */
export async function unnamedIn(source: Source, error: LoraError): Promise<Unnamed | null> {
  const chosen = hasColumns(source);
  const columns = error.code === "unknown_columns" || chosen ? await columnsOf(source.documents) : [];
  const names = [...new Set(columns.flat())];
  // The error ends with the names that were found; if only a later record has others, a choice does not help.
  const helps = names.some((each) => chosen || error.message.includes(`found \`${each}\``));
  return helps ? { source, columns, names } : null;
}

/** Asks for the columns, or no longer asks. A choice that did not help either stays as it is. */
export function ask(question: Unnamed | null) {
  const [first = "", second = ""] = question?.names ?? [];
  if (question && !hasColumns(question.source))
    choice.value = { kind: "text", text: first, prompt: first, completion: second };
  unnamed.value = question;
}

export const hasColumns = ({ documents }: Source): boolean => documents.some(({ columns }) => columns);

/** The text with the columns that were chosen. Running text has none, and is taken as it was. */
export function withColumns({ source, columns }: Unnamed): Source {
  const { kind, text, prompt, completion } = choice.value;
  const chosen: Columns = kind === "text" ? { text } : { prompt, completion };
  const give = (document: TextDocument, index: number) =>
    columns[index]?.length ? { ...document, columns: chosen } : document;
  return { ...source, documents: source.documents.map(give) };
}

/** Why a document cannot be read is in the error that led here. */
async function columnsOf(documents: TextDocument[]): Promise<string[][]> {
  const engine = await session();
  return Promise.all(documents.map((document) => engine?.columnNames(document).catch(() => []) ?? []));
}
