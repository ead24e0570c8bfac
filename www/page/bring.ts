/** Finds out what files are for, wherever they were dropped or chosen: an adapter, a model, or a text to learn from. */

import { signal } from "@preact/signals";
import { isGgufAdapter } from "../api/adapter_input";
import { isGguf } from "../api/model_files";
import { type Brought, type Found, isText, type Listing, picked } from "./folders";
import { isAdapter, openAdapter } from "./opened";
import { picked as measured, pick } from "./pick";
import { busy, isArchive, isModel, listOf, noText } from "./refused";
import { changing, type Source, training } from "./state";
import { take } from "./text";
import { complain, troubles } from "./trouble";
import { counted } from "./words";

const CONFIG = "adapter_config.json";
/** What an adapter's weights are called, the likeliest first. */
const WEIGHTS = [/^adapter_model\.safetensors$/, /^adapters\.safetensors$/, /\.safetensors$/];
/** The names of the files in a zip are in its last part. */
const ZIP_END = 1_000_000;
const IN_ADAPTER = /adapter_config\.json|adapter_model\.safetensors|adapters\.safetensors/;

/** What became of files that are no text, for the visitor to read. */
export const aside = signal<string | null>(null);

export function bringFiles(files: File[]) {
  return files.length > 0 && bring(picked(files));
}

export async function bring({ name, listed }: Brought) {
  aside.value = null;
  if (training.value) return complain("train", busy(name));
  await take(name, listed.then(textIn));
}

/** Null if it is an adapter, which is opened, or a model, which is measured. */
async function textIn(all: Listing): Promise<Source | null> {
  const models = loose(all).filter(({ file }) => isGguf(file));
  const [gguf] = models;
  if (gguf) {
    if (await isGgufAdapter(gguf.file)) openBeside(all, [gguf]);
    else showModel(all, models);
    return null;
  }
  if (has(all, "tokenizer.json") && !has(all, CONFIG)) throw isModel(all.name);
  if (!has(all, CONFIG) && !isAdapter(loose(all).map(({ file }) => file))) return textsIn(all);
  const parts = partsOfAdapter(all);
  const [zip] = parts.filter(isZip);
  if (zip && !IN_ADAPTER.test(await zip.file.slice(-ZIP_END).text())) throw isArchive(zip.path);
  // It may have to wait for the engine. The text stays what it is.
  openBeside(all, parts);
  return null;
}

async function showModel(all: Listing, models: Found[]) {
  changing.value = "model";
  await pick(models.map(({ file }) => file));
  document.getElementById("model-title")?.focus();
  if (!measured.value) return;
  aside.value = `\`${models[0]?.path}\` is a model, no text: card 2 loads it${leftOut(all, models)}.`;
}

async function openBeside(all: Listing, parts: Found[]) {
  await openAdapter(parts.map(({ file }) => file));
  document.getElementById("keep-title")?.focus();
  if (troubles.value.keep) return;
  const name = parts.find(isZip)?.path ?? all.name;
  aside.value = `\`${name}\` is an adapter, no text: find it in card 4${leftOut(all, parts)}.`;
}

function leftOut(all: Listing, parts: Found[]): string {
  const others = [...all.found.filter((each) => !parts.includes(each)).map(({ path }) => path), ...all.skipped];
  return others.length > 0 ? `; left out: ${listOf(others)}` : "";
}

/** A zip, or the files beside the configuration, or what was brought loose. */
function partsOfAdapter(all: Listing): Found[] {
  const zip = loose(all).find(isZip);
  if (zip) return [zip];
  const [config] = all.found.filter(({ file }) => file.name === CONFIG).sort((a, b) => a.path.length - b.path.length);
  if (!config) return loose(all).filter(({ path }) => /\.(json|safetensors)$/i.test(path));
  const beside = all.found.filter(({ file, path }) => path === config.path.replace(CONFIG, file.name));
  const weights = WEIGHTS.map((name) => beside.find(({ file }) => name.test(file.name))).find((found) => found);
  return weights ? [config, weights] : [config];
}

/** Files that were brought by themselves are all wanted; in a folder, the texts are. */
async function textsIn(all: Listing): Promise<Source> {
  const texts: Found[] = [];
  const others: string[] = [];
  // One after the other: together they may be larger than the memory.
  for (const each of all.found) {
    if (!isInFolder(each) || (await isText(each.file))) texts.push(each);
    else others.push(each.path);
  }
  others.push(...all.skipped);
  if (texts.length === 0)
    throw all.found.some(({ file }) => isGguf(file)) ? isModel(all.name) : noText(all.name, others);
  const documents = texts.map(({ path, file }) => ({ name: path, content: file }));
  if (!all.found.some(isInFolder)) return { name: all.name, documents };
  const rest = others.length > 0 ? `, ${counted(others.length, "other")} left out: ${listOf(others)}` : "";
  const message = `${counted(texts.length, "text file")} read${rest}`;
  return { name: all.name, documents, notes: [{ code: "folder", message }] };
}

const has = ({ found }: Listing, name: string) => found.some(({ file }) => file.name === name);
const isInFolder = ({ path }: Found) => path.includes("/");
const isZip = ({ path }: Found) => path.toLowerCase().endsWith(".zip");
const loose = ({ found }: Listing) => found.filter((each) => !isInFolder(each));
