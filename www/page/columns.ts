/** Columns whose names nobody knows: what there is to choose from, and what the visitor chose. */

import { signal } from "@preact/signals";
import type { LoraError } from "../api/errors";
import type { Columns, TextDocument } from "../api/types";
import { session } from "./engine";

/** A text that was refused because it does not say which of its columns, or keys of records, hold the text. */
export interface Unnamed {
  name: string;
  documents: TextDocument[];
  /** The columns of all its documents. */
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

/** Notes what can be chosen if that helps against the error. A choice that did not help either stays as it is. */
export async function noteUnnamed(name: string, documents: TextDocument[], error: LoraError) {
  const chosen = documents.some(({ columns }) => columns);
  const names = error.code === "unknown_columns" || chosen ? await namesIn(documents) : [];
  // The error ends with the names that were found; if only a later record has others, a choice does not help.
  const helps = names.some((each) => chosen || error.message.includes(`found \`${each}\``));
  const [first = "", second = ""] = names;
  if (helps && !chosen) choice.value = { kind: "text", text: first, prompt: first, completion: second };
  unnamed.value = helps ? { name, documents, names } : null;
}

/** Running text has no columns, and is taken as it was. */
export async function withColumns(documents: TextDocument[]): Promise<TextDocument[]> {
  const { kind, text, prompt, completion } = choice.value;
  const columns: Columns = kind === "text" ? { text } : { prompt, completion };
  const give = async (document: TextDocument) =>
    (await namesIn([document])).length > 0 ? { ...document, columns } : document;
  return Promise.all(documents.map(give));
}

/** In their order, each once. */
async function namesIn(documents: TextDocument[]): Promise<string[]> {
  const engine = await session();
  // Why a document cannot be read is in the error that led here.
  const names = await Promise.all(documents.map((document) => engine?.columnNames(document).catch(() => []) ?? []));
  return [...new Set(names.flat())];
}
