/** A model in the place of the built-in one: picks its files, loads it, and goes back to the built-in one. */

import { computed, signal } from "@preact/signals";
import { LoraError } from "../api/errors";
import type { Foreseen } from "../api/types";
import { bytesOnDisk, type ModelFiles, type Sharded } from "../api/weights";
import { change, session } from "./engine";
import { listOf } from "./refused";
import { weights } from "./settings";
import { accepted, adapter, changing, openedFrom, run, startFrom, text, training } from "./state";
import { complain, forgive } from "./trouble";

export interface Picked {
  files: ModelFiles;
  foreseen: Foreseen;
  /** In bytes; null while it is not being loaded. */
  loading: { done: number; total: number } | null;
}

export const picked = signal<Picked | null>(null);
/** The built-in model is being loaded again. */
export const returning = signal(false);
/** One model is being replaced by another. */
export const changingModel = computed(() => returning.value || Boolean(picked.value?.loading));

const NAMES = {
  config: "config.json",
  tokenizer: "tokenizer.json",
  tokenizerConfig: "tokenizer_config.json",
  generationConfig: "generation_config.json",
  chatTemplate: "chat_template.jinja",
  weights: "model.safetensors",
};
const NEEDED = ["config", "tokenizer", "weights"] as const;
/** Says which tensor is in which file, where the weights are in several. */
const INDEX = "model.safetensors.index.json";

/** Missing files, weights that do not fit their config.json and a model without room are reported at once. */
export async function pick(chosen: File[]) {
  if (chosen.length === 0) return;
  forgive("model");
  try {
    await offer(modelFiles(chosen));
  } catch (error) {
    picked.value = null;
    complain("model", error);
  }
}

/** Throws if the model cannot be loaded here. */
export async function offer(files: ModelFiles) {
  const engine = await session();
  if (engine) picked.value = { files, foreseen: await engine.foresee(files, weights.value), loading: null };
}

export async function load() {
  const wanted = picked.value;
  if (!wanted || wanted.loading || training.value) return;
  forgive("model");
  picked.value = { ...wanted, loading: { done: 0, total: bytesOnDisk(wanted.files) } };
  try {
    await change(
      wanted.files,
      (event) => {
        if (event.type !== "phase" || event.phase !== "loading") return;
        picked.value = { ...wanted, loading: { done: event.done, total: event.total } };
      },
      makeRoom,
    );
    picked.value = null;
  } catch (error) {
    picked.value = { ...wanted, loading: null };
    complain("model", error);
  }
}

export async function backToBuiltIn() {
  if (returning.value || training.value) return;
  returning.value = true;
  forgive("model");
  await change(null, () => {}, makeRoom).catch((error) => complain("model", error));
  returning.value = false;
}

/** Rows and adapters belong to one model. The text stays, and is cut into rows again. */
function makeRoom() {
  run.value = null;
  adapter.value = null;
  openedFrom.value = null;
  startFrom.value = null;
  forgive("train");
  forgive("keep");
  if (text.value) text.value = { ...text.value, dataset: null };
  if (accepted.value) changing.value = "model";
}

export function isGguf({ name }: File): boolean {
  return name.toLowerCase().endsWith(".gguf");
}

function modelFiles(chosen: File[]): ModelFiles {
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
  const folder = chosen[0]?.webkitRelativePath.split("/")[0] || "Your model";
  const weights = found.weights ?? shards(chosen);
  const missing = NEEDED.filter((key) => !found[key] && !(key === "weights" && weights)).map((key) => NAMES[key]);
  if (missing.length > 0) throw incomplete(folder, missing);
  return { ...(found as Record<(typeof NEEDED)[number], File>), name: folder, weights: weights as File };
}

/** The files of a checkpoint are higher up in its folder than copies in other formats. */
function nearest(chosen: File[], name: string): File | undefined {
  const depth = (file: File) => file.webkitRelativePath.split("/").length;
  return chosen.filter((file) => file.name === name).sort((a, b) => depth(a) - depth(b))[0];
}

/** The index and the files of tensors that lie beside it. The engine says what is missing. */
function shards(chosen: File[]): Sharded<Blob> | undefined {
  const index = nearest(chosen, INDEX);
  if (!index) return;
  const folder = (file: File) => file.webkitRelativePath.slice(0, -file.name.length);
  const files = chosen.filter((file) => file.name.endsWith(".safetensors") && folder(file) === folder(index));
  return { index, files: Object.fromEntries(files.map((file) => [file.name, file])) };
}

function several(files: File[]): LoraError {
  const names = listOf(files.map(({ name }) => name));
  return new LoraError("model_files", `these are ${files.length} GGUF files: ${names}`, "Choose one of them.");
}

function incomplete(folder: string, missing: string[]): LoraError {
  const reason = `${missing.join(" and ")} ${missing.length === 1 ? "is" : "are"} missing`;
  const hint =
    "Pick the folder of a Hugging Face checkpoint: config.json, tokenizer.json and the weights belong together. " +
    "A GGUF file holds all of it.";
  return new LoraError("model_files", `\`${folder}\`: ${reason}`, hint);
}
