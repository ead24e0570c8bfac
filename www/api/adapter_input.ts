/** Finds an adapter in the files that a visitor gives: a zip that this page saved, PEFT's two files, MLX's, or GGUF. */

import { bytes } from "./amounts";
import { LoraError } from "./errors";
import { isGguf } from "./model_files";
import type { AdapterInput, ModelInfo } from "./types";
import { entriesOf, unpack, ZipError } from "./unzip";
import { bytesOf } from "./weights";

const CONFIG = "adapter_config.json";
const WEIGHTS = "adapter_model.safetensors";
const MLX_WEIGHTS = "adapters.safetensors";

/** The widest number takes four bytes. */
const WIDEST = 4;
/** For a config, and for what the weights' file holds beside its numbers: far more than any needs. */
const ROOM = 1_000_000;
/** More than this a tab may not be able to hold. */
const MOST = 512_000_000;

/** An adapter has no vocabulary in front of what it says about itself. */
const GGUF_BEGINNING = 65_536;

const BOTH = "open both of PEFT's files together";
const UNPACK = `Unpack it and ${BOTH}.`;

/** One of an adapter's two files: inside a zip, or by itself. */
interface Part {
  name: string;
  size: number;
  read(): Promise<Uint8Array<ArrayBuffer>>;
}

export async function adapterInput(
  files: File[],
  { parameters }: Pick<ModelInfo, "parameters">,
): Promise<AdapterInput> {
  const archive = files.find(({ name }) => /\.zip$/i.test(name));
  const name = archive?.name ?? files.map((file) => file.name).join(", ");
  try {
    const gguf = files.find(isGguf);
    const { config, weights } = archive ? await inside(archive) : gguf ? { weights: partOf(gguf) } : pair(files);
    if (!config && !gguf) throw unusable(name, `${CONFIG} is not in it`);
    if (!weights) throw unusable(name, `${WEIGHTS} is not in it`);
    if (config && config.size > ROOM)
      throw unusable(name, `its ${CONFIG} has ${bytes(config.size)}, and ${bytes(ROOM)} are plenty`);
    // A and B of a matrix with more numbers than twice the matrix would be of a rank that nothing can use.
    const most = Math.min(2 * WIDEST * parameters + ROOM, MOST);
    if (weights.size > most) throw tooLarge(name, weights.size, most);
    const text = config ? new TextDecoder().decode(await config.read()) : "";
    return { config: text, weights: await weights.read() };
  } catch (error) {
    if (!(error instanceof ZipError)) throw error;
    throw unusable(name, error.message, error.isDamaged ? "Get the file again." : UNPACK);
  }
}

interface Parts {
  config?: Part | undefined;
  weights?: Part | undefined;
}

function pair(files: File[]): Parts {
  const part = (end: string): Part | undefined => {
    const file = files.find(({ name }) => name.toLowerCase().endsWith(end));
    return file && partOf(file);
  };
  return { config: part(".json"), weights: part(".safetensors") };
}

function partOf(file: File): Part {
  return { name: file.name, size: file.size, read: () => bytesOf(file) };
}

/** Whether it holds no model but an adapter: its metadata says so near its beginning. */
export async function isGgufAdapter(file: File): Promise<boolean> {
  return /general\.type.{12}adapter/s.test(await file.slice(0, GGUF_BEGINNING).text());
}

/** An adapter's files, wherever they are in the zip. */
async function inside(archive: File): Promise<Parts> {
  const entries = await entriesOf(archive);
  const part = (wanted: string): Part | undefined => {
    const entry = entries.find(({ name }) => name.split("/").at(-1) === wanted);
    return entry && { ...entry, read: () => unpack(archive, entry) };
  };
  return { config: part(CONFIG), weights: part(WEIGHTS) ?? part(MLX_WEIGHTS) };
}

function tooLarge(name: string, size: number, most: number): LoraError {
  return unusable(
    name,
    `its weights have ${bytes(size)}, and no adapter of this model needs more than ${bytes(most)}`,
    "If it was made for a larger model, load that one in the model card first.",
  );
}

function unusable(name: string, reason: string, hint = `Open the zip that this page saved, or ${BOTH}.`): LoraError {
  return new LoraError("adapter", `\`${name}\`: ${reason}`, hint);
}
