/** Opens an adapter from files: the zip that this page saved, PEFT's two files, or MLX's. */

import { type UnzipFileFilter, unzipSync } from "fflate";
import { LoraError } from "../api/errors";
import type { AdapterInput } from "../api/types";
import { session } from "./engine";
import { adapter, changing, downloaded, openedFrom, startFrom, text, training } from "./state";
import { complain, forgive } from "./trouble";
import { bytes } from "./words";

/** Far above any adapter, far below what a tab can hold. */
const LIMIT = 512_000_000;
const CONFIG = "adapter_config.json";
const WEIGHTS = "adapter_model.safetensors";
const MLX_WEIGHTS = "adapters.safetensors";
const WANTED = [CONFIG, WEIGHTS, MLX_WEIGHTS];

export function isAdapter(files: File[]): boolean {
  return files.some(({ name }) => /\.(zip|safetensors)$/i.test(name));
}

/** An adapter that cannot be opened leaves the previous one as it was. */
export async function openAdapter(files: File[]) {
  const engine = await session();
  const [first] = files;
  if (!first || training.value) return;
  if (!engine) return complain("keep", needsModel);
  try {
    const { config, weights } = await contents(files);
    await engine.setAdapter(config, weights);
    adapter.value = await engine.adapter();
    openedFrom.value = files.find(({ name }) => !name.endsWith(".json"))?.name ?? first.name;
    downloaded.value = true;
    startFrom.value = null;
    forgive("keep");
  } catch (error) {
    complain("keep", error);
  }
}

const needsModel = new LoraError(
  "no_model",
  "a saved adapter works only together with the model, which is not loaded here",
  "Your file is as it was: open it once the model is loaded, in a browser with WebGPU, or in Python with PEFT.",
);

/** The next run starts from the current adapter. */
export function continueFrom() {
  startFrom.value = adapter.value;
  changing.value = text.value ? "train" : null;
  document.getElementById(text.value ? "train-title" : "text-title")?.focus();
}

async function contents(files: File[]): Promise<AdapterInput> {
  const zip = files.find(({ name }) => /\.zip$/i.test(name));
  const found = zip ? await unpack(zip) : await pair(files);
  const name = zip?.name ?? files.map((file) => file.name).join(", ");
  if (!found.config) throw unusable(name, `${CONFIG} is not in it`);
  if (!found.weights) throw unusable(name, `${WEIGHTS} is not in it`);
  return { config: new TextDecoder().decode(found.config), weights: found.weights };
}

interface Found {
  config?: Uint8Array<ArrayBuffer> | undefined;
  weights?: Uint8Array<ArrayBuffer> | undefined;
}

async function pair(files: File[]): Promise<Found> {
  const read = async (end: string) => {
    const file = files.find(({ name }) => name.toLowerCase().endsWith(end));
    if (file && file.size > LIMIT) throw tooLarge(file.name, file.size);
    return file && new Uint8Array(await file.arrayBuffer());
  };
  return { config: await read(".json"), weights: await read(".safetensors") };
}

/** Unpacks only an adapter's files, wherever they are in the zip, and only if the stated sizes are within the limit. */
async function unpack(zip: File): Promise<Found> {
  if (zip.size > LIMIT) throw tooLarge(zip.name, zip.size);
  const packed = new Uint8Array(await zip.arrayBuffer());
  const wanted = (name: string) => WANTED.includes(name.split("/").at(-1) ?? "");
  const filter = ({ name, originalSize }: { name: string; originalSize: number }) => {
    if (wanted(name) && originalSize > LIMIT) throw tooLarge(zip.name, originalSize);
    return wanted(name);
  };
  const entries = Object.entries(unzipped(zip.name, packed, filter));
  const entry = (end: string) => entries.find(([name]) => name.endsWith(end))?.[1];
  return { config: entry(CONFIG), weights: entry(WEIGHTS) ?? entry(MLX_WEIGHTS) };
}

function unzipped(name: string, packed: Uint8Array, filter: UnzipFileFilter) {
  try {
    return unzipSync(packed, { filter }) as Record<string, Uint8Array<ArrayBuffer>>;
  } catch (error) {
    if (error instanceof LoraError) throw error;
    throw unusable(name, `the zip is damaged or cut short (${(error as Error).message})`);
  }
}

function unusable(name: string, reason: string): LoraError {
  return new LoraError(
    "adapter",
    `\`${name}\`: ${reason}`,
    "Open the zip that this page saved, or both of PEFT's files together.",
  );
}

function tooLarge(name: string, size: number): LoraError {
  return unusable(name, `it holds ${bytes(size)}, the limit is ${bytes(LIMIT)}`);
}
