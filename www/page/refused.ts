/** Why something that was brought is not taken, and what to do instead. */

import { LoraError } from "../api/errors";
import { bytes, thin } from "./words";

/** In bytes. */
export const LIMIT = 8_000_000;
/** So many names are said; the rest are counted. */
const NAMED = 5;

export function tooLarge(size: number): LoraError {
  return new LoraError(
    "text_too_large",
    `the text has ${bytes(size)}, the limit is ${thin(LIMIT / 1e6)} MB`,
    "Use a part of the text; a few megabytes are plenty for an adapter.",
  );
}

export function gone(name: string): LoraError {
  return new LoraError(
    "text_gone",
    `\`${name}\` cannot be read: it was moved, or the browser may not read it`,
    "Choose the file again.",
  );
}

export function busy(name: string): LoraError {
  return new LoraError(
    "training",
    `\`${name}\` was not read, because the model is training`,
    "Stop the run or wait until it ends, and then bring it again.",
  );
}

export function listOf(paths: string[]): string {
  const more = paths.length - NAMED;
  const named = paths.slice(0, NAMED).map((path) => `\`${path}\``);
  return more > 0 ? `${named.join(", ")} and ${more} more` : named.join(", ");
}

export function noText(name: string, others: string[]): LoraError {
  const found = others.length > 0 ? `, only ${listOf(others)}` : "";
  return new LoraError(
    "no_text",
    `\`${name}\` holds no text file${found}`,
    "Bring files of plain text (.txt); of a PDF or a Word document, copy the text and paste it.",
  );
}

export function isArchive(name: string): LoraError {
  return new LoraError(
    "archive",
    `\`${name}\` is a ZIP archive, and there is no adapter in it`,
    "Unpack it, and drop the folder or choose the texts in it.",
  );
}

export function isModel(name: string): LoraError {
  return new LoraError(
    "model_files",
    `\`${name}\` is a model, no text`,
    "Load it in card 2, “The model”: press Change, and open “Use another model”.",
  );
}

export function isLink(): LoraError {
  return new LoraError(
    "link",
    "that is a link, and this page fetches no text from the network",
    "Open the link, copy the text there, and paste it here.",
  );
}
