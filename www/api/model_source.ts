/** Where a model comes from, and its files. */

import { LoraError } from "./errors";
import { type Count, fetchIfThere, fetchThing } from "./fetching";
import { filesIn, onDisk } from "./host";
import { type HubOptions, openHub } from "./hub";
import { INDEX, modelFiles, NAMES } from "./model_files";
import type { ModelFiles, Sharded } from "./weights";

export type ModelSource =
  /** An id of the Hugging Face Hub: `org/name`, or `org/name/file.gguf`. In browsers only. */
  | string
  /** A checkpoint's files, or a GGUF file; also what `run.checkpoint` resolved to. */
  | { files: Iterable<File> | Record<string, Uint8Array<ArrayBuffer>> }
  /** The address of a checkpoint's folder, or of a GGUF file. */
  | { url: string | URL }
  /** The path of a checkpoint's folder or of a GGUF file; in Node only. */
  | { folder: string }
  | PackagedModel;

/** A model that is a package of its own, such as `tabtune-base`. */
export interface PackagedModel {
  name: string;
  config: URL;
  tokenizer: URL;
  tokenizerConfig: URL;
  weights: URL;
  /** Of the four files together. */
  bytes?: number;
}

export const MODEL = "the model";

export async function openModel(source: ModelSource, options: HubOptions, count?: Count): Promise<ModelFiles> {
  const { signal } = options;
  if (typeof source === "string") return (await openHub(source, options)).files;
  if ("files" in source) return modelFiles(chosenFiles(source.files));
  if ("folder" in source) return modelFiles(await filesIn(source.folder));
  const file = (url: URL) => onDisk(url) ?? fetchThing<Blob>(MODEL, url, (response) => response.blob(), count, signal);
  if ("url" in source) return fromUrl(folderAt(source.url), file, count, signal);
  const { name, config, tokenizer, tokenizerConfig, weights } = source;
  if (![config, tokenizer, tokenizerConfig, weights].every((url) => url instanceof URL)) throw noModel();
  const files = [config, tokenizer, tokenizerConfig, weights].map(file);
  const [first, second, third, fourth] = (await Promise.all(files)) as [Blob, Blob, Blob, Blob];
  return { name, config: first, tokenizer: second, tokenizerConfig: third, weights: fourth };
}

/** Files that were chosen, or made of bytes by their names. */
export function chosenFiles(files: Iterable<File> | Record<string, Uint8Array<ArrayBuffer>>): File[] {
  if (Symbol.iterator in files) return [...(files as Iterable<File>)];
  return Object.entries(files).map(([name, bytes]) => new File([bytes], name));
}

async function fromUrl(
  url: URL,
  file: (url: URL) => Promise<Blob>,
  count?: Count,
  signal?: AbortSignal,
): Promise<ModelFiles> {
  const name = url.pathname.split("/").filter(Boolean).at(-1) ?? MODEL;
  if (/\.gguf$/i.test(url.pathname)) return { name, gguf: await file(url) };
  const at = (path: string) => new URL(path, url);
  const perhaps = async (key: string, path: string) => {
    const found = await fetchIfThere<Blob>(MODEL, at(path), (response) => response.blob(), count, signal);
    return found ? { [key]: found } : {};
  };
  const [config, tokenizer, weights, ...others] = await Promise.all([
    file(at(NAMES.config)),
    file(at(NAMES.tokenizer)),
    weightsAt(at, file, count, signal),
    perhaps("tokenizerConfig", NAMES.tokenizerConfig),
    perhaps("generationConfig", NAMES.generationConfig),
    perhaps("chatTemplate", NAMES.chatTemplate),
  ]);
  return { name, config, tokenizer, weights, ...Object.assign({}, ...others) };
}

/** One file or, where there is an index, those that it names. */
async function weightsAt(
  at: (path: string) => URL,
  file: (url: URL) => Promise<Blob>,
  count?: Count,
  signal?: AbortSignal,
): Promise<Blob | Sharded<Blob>> {
  const index = await fetchIfThere<Blob>(MODEL, at(INDEX), (response) => response.blob(), count, signal);
  if (!index) return file(at(NAMES.weights));
  const names = namedBy(await index.text());
  const files = await Promise.all(names.map(async (name) => [name, await file(at(name))] as const));
  return { index, files: Object.fromEntries(files) };
}

/** The engine says what is wrong with an index that names nothing. */
function namedBy(index: string): string[] {
  try {
    return [...new Set(Object.values((JSON.parse(index) as { weight_map: Record<string, string> }).weight_map))];
  } catch {
    return [];
  }
}

/** Relative to the page, and with a slash at its end unless it is a file. */
function folderAt(url: string | URL): URL {
  const found = new URL(url, globalThis.location?.href);
  if (!/\.gguf$/i.test(found.pathname) && !found.pathname.endsWith("/")) found.pathname += "/";
  return found;
}

function noModel(): LoraError {
  return new LoraError(
    "model_files",
    "`model` is no model",
    "Give an id of the Hub, `{ files }`, `{ url }`, in Node `{ folder }`, or what the package `tabtune-base` exports.",
  );
}
