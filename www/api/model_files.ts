/** Finds a model in the files that somebody gives: those of a Hugging Face checkpoint, or one GGUF file. */

import { LoraError } from "./errors";
import type { ModelFiles, Sharded } from "./weights";

export const NAMES = {
  config: "config.json",
  tokenizer: "tokenizer.json",
  tokenizerConfig: "tokenizer_config.json",
  generationConfig: "generation_config.json",
  chatTemplate: "chat_template.jinja",
  weights: "model.safetensors",
};
const NEEDED = ["config", "tokenizer", "weights"] as const;
/** Says which tensor is in which file, where the weights are in several. */
export const INDEX = "model.safetensors.index.json";

export function isGguf({ name }: Pick<File, "name">): boolean {
  return name.toLowerCase().endsWith(".gguf");
}

export function modelFiles(chosen: File[]): ModelFiles {
  const [gguf, ...others] = chosen.filter(isGguf);
  if (!gguf || nearest(chosen, NAMES.config)) return checkpointFiles(chosen);
  if (others.length > 0) throw several([gguf, ...others]);
  return { name: gguf.name, gguf };
}

function checkpointFiles(chosen: File[]): ModelFiles {
  const found = Object.fromEntries(
    Object.entries(NAMES).flatMap(([key, name]) => {
      const file = nearest(chosen, name);
      return file ? [[key, file]] : [];
    }),
  ) as Partial<Record<keyof typeof NAMES, File>>;
  const folder = chosen[0]?.webkitRelativePath?.split("/")[0] || "Your model";
  const weights = found.weights ?? shards(chosen);
  const missing = NEEDED.filter((key) => !found[key] && !(key === "weights" && weights)).map((key) => NAMES[key]);
  if (missing.length > 0) throw incomplete(folder, missing);
  return { ...(found as Record<(typeof NEEDED)[number], File>), name: folder, weights: weights as File };
}

/** The files of a checkpoint are higher up in its folder than copies in other formats. */
function nearest(chosen: File[], name: string): File | undefined {
  const depth = (file: File) => pathOf(file).split("/").length;
  return chosen.filter((file) => file.name === name).sort((a, b) => depth(a) - depth(b))[0];
}

/** Files that were not chosen as a folder have no path, and Node's never have one. */
const pathOf = (file: File): string => file.webkitRelativePath || file.name;

/** The index and the files of tensors that lie beside it. The engine says what is missing. */
function shards(chosen: File[]): Sharded<Blob> | undefined {
  const index = nearest(chosen, INDEX);
  if (!index) return;
  const folder = (file: File) => pathOf(file).slice(0, -file.name.length);
  const files = chosen.filter((file) => file.name.endsWith(".safetensors") && folder(file) === folder(index));
  return { index, files: Object.fromEntries(files.map((file) => [file.name, file])) };
}

function several(files: File[]): LoraError {
  const names = files.map(({ name }) => `\`${name}\``).join(", ");
  return new LoraError("model_files", `these are ${files.length} GGUF files: ${names}`, "Choose one of them.");
}

function incomplete(folder: string, missing: string[]): LoraError {
  const reason = `${missing.join(" and ")} ${missing.length === 1 ? "is" : "are"} missing`;
  const hint =
    "Pick the folder of a Hugging Face checkpoint: config.json, tokenizer.json and the weights belong together. " +
    "A GGUF file holds all of it.";
  return new LoraError("model_files", `\`${folder}\`: ${reason}`, hint);
}
