/** Which files of a repository make a model, and which of them is what. */

import { INDEX, isGguf, NAMES } from "./model_files";
import type { CheckpointFiles, ModelFiles } from "./weights";

/** What the files of a checkpoint are, by their names. */
const CHECKPOINT: Record<string, string> = Object.fromEntries(Object.entries(NAMES).map(([key, name]) => [name, key]));
const PART = /^model-\d+-of-\d+\.safetensors$/;

export const isWeights = (path: string): boolean => path.endsWith(".safetensors");

/** The path of the GGUF file that an id such as `org/name/file.gguf` names; empty if it names none. */
export const ggufIn = (id: string): string => id.split("/").slice(2).join("/");

/** The paths that the model needs of those that there are, and those that it misses. */
export function neededOf(id: string, paths: string[]): { taken: string[]; missing: string[] } {
  const gguf = ggufIn(id);
  if (gguf) return paths.includes(gguf) ? { taken: [gguf], missing: [] } : { taken: [], missing: [gguf] };
  const isWhole = paths.includes(NAMES.weights);
  const isSharded = !isWhole && paths.includes(INDEX);
  const taken = paths.filter((path) => path in CHECKPOINT || (isSharded && (path === INDEX || PART.test(path))));
  const wanted = [NAMES.config, NAMES.tokenizer, isSharded ? INDEX : NAMES.weights];
  return { taken, missing: wanted.filter((path) => !paths.includes(path)) };
}

/** The files by their paths. The engine says what is missing of several parts. */
export function modelFilesOf(name: string, blobs: Map<string, Blob>): ModelFiles {
  const all = [...blobs];
  const gguf = all.find(([name]) => isGguf({ name }));
  if (gguf) return { name, gguf: gguf[1] };
  const files = Object.fromEntries(all.flatMap(([path, blob]) => (CHECKPOINT[path] ? [[CHECKPOINT[path], blob]] : [])));
  const index = blobs.get(INDEX);
  const parts = Object.fromEntries(all.filter(([path]) => isWeights(path)));
  return { ...files, name, weights: index ? { index, files: parts } : files.weights } as CheckpointFiles;
}
