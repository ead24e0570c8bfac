/** What the Hub says about a model: its commit, its licence, and the files that are needed. */

import { LoraError } from "../api/errors";
import { ggufIn, isWeights, modelFilesOf, neededOf } from "../api/hub_files";
import type { Found, HubFile, HubModel, Wanted } from "../api/hub_protocol";
import { INDEX, isGguf } from "../api/model_files";
import { fileUrl, gated, type Line, modelUrl, repositoryOf } from "./line";
import { piecesFrom } from "./pieces";

/** What is used of the API's answer. */
interface Info {
  sha: string;
  gated?: false | string;
  tags?: string[];
  siblings: { rfilename: string; size: number; blobId: string; lfs?: { sha256: string; size: number } }[];
}

const COMMIT = /^[0-9a-f]{40}$/;
const HASH = /^([0-9a-f]{40}|[0-9a-f]{64})$/;
/** Enough for the header of most files of tensors. */
const BEGINNING = 1 << 17;
/** The engine refuses longer headers. */
const LONGEST_HEADER = 1 << 24;

/** Pins the revision to a commit. */
export async function resolve(line: Line): Promise<HubModel> {
  const { wanted } = line;
  const info = await ask(line, wanted);
  if (info.gated && !wanted.token) throw gated(`${wanted.hub}/${repositoryOf(wanted.id)}`);
  const all = info.siblings.map(fileOf);
  const { taken, missing } = neededOf(
    wanted.id,
    all.map(({ path }) => path),
  );
  if (missing.length > 0) throw incomplete(wanted, missing, all);
  const files = all.filter(({ path }) => taken.includes(path)).sort((a, b) => a.bytes - b.bytes);
  if (!files.every(({ bytes, hash }) => Number.isSafeInteger(bytes) && HASH.test(hash))) throw foreign(wanted);
  const licence = info.tags?.find((tag) => tag.startsWith("license:"))?.slice("license:".length) ?? null;
  const { id, revision, hub } = wanted;
  return {
    id,
    revision,
    hub,
    commit: info.sha,
    licence,
    files,
    bytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}

/** A GGUF file's vocabulary lies in its header, which makes it too long to be looked at beforehand. */
export async function outlineOf(line: Line, model: HubModel): Promise<Found["outline"]> {
  if (ggufIn(model.id)) return null;
  const blobs = new Map<string, Blob>();
  for (const { path, bytes } of model.files) {
    const url = fileUrl(model, path);
    if (path === INDEX || path === "config.json") blobs.set(path, new Blob([await read(line, url, 0, bytes)]));
    else blobs.set(path, blankAfter(isWeights(path) ? await headerOf(line, url, bytes) : new Uint8Array(), bytes));
  }
  return modelFilesOf(model.id, blobs);
}

async function ask(line: Line, wanted: Wanted): Promise<Info> {
  const found = await line.persist(`the list of files of \`${wanted.id}\``, async () => {
    const text = await (await line.request(modelUrl(wanted))).text();
    return parsed(text);
  });
  if (COMMIT.test(found?.sha ?? "") && Array.isArray(found?.siblings)) return found as Info;
  throw foreign(wanted);
}

function foreign({ hub }: Wanted): LoraError {
  return new LoraError(
    "hub_answer",
    `\`${hub}\` does not answer as the Hub does`,
    "Check the address, or try again later.",
  );
}

function parsed(json: string): Info | null {
  try {
    return JSON.parse(json) as Info;
  } catch {
    return null;
  }
}

function fileOf({ rfilename, size, blobId, lfs }: Info["siblings"][number]): HubFile {
  return { path: rfilename, bytes: lfs?.size ?? size, hash: lfs?.sha256 ?? blobId };
}

/** The length of the header, and the header. */
async function headerOf(line: Line, url: string, bytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const beginning = await read(line, url, 0, Math.min(bytes, BEGINNING));
  if (beginning.length < 8) return beginning;
  const length = 8 + Number(new DataView(beginning.buffer).getBigUint64(0, true));
  if (length <= beginning.length || length > LONGEST_HEADER) return beginning;
  const rest = await read(line, url, beginning.length, Math.min(length, bytes));
  const header = new Uint8Array(beginning.length + rest.length);
  header.set(beginning);
  header.set(rest, beginning.length);
  return header;
}

function read(line: Line, url: string, from: number, to: number): Promise<Uint8Array<ArrayBuffer>> {
  return line.persist("the beginning of the model", async () => {
    const read = new Uint8Array(to - from);
    let at = 0;
    for await (const piece of piecesFrom(await line.request(url, from, to - 1), from)) {
      const wanted = piece.subarray(0, read.length - at);
      read.set(wanted, at);
      at += wanted.length;
      if (at === read.length) break;
    }
    return read.subarray(0, at);
  });
}

/** As long as the file, with zeros that take no memory: all of them are one and the same blob. */
function blankAfter(head: Uint8Array<ArrayBuffer>, bytes: number): Blob {
  const zeros = new Blob([new Uint8Array(1 << 20)]);
  const blank = bytes - head.length;
  const whole = Array<Blob>(Math.floor(blank / zeros.size)).fill(zeros);
  return new Blob([head, ...whole, zeros.slice(0, blank % zeros.size)]);
}

function incomplete({ id }: Wanted, missing: string[], all: HubFile[]): LoraError {
  const ggufs = all.map(({ path }) => path).filter((name) => isGguf({ name }));
  const example = `${repositoryOf(id)}/${ggufs[0]}`;
  return new LoraError(
    "model_files",
    `\`${id}\` has no ${missing.join(" and no ")} on the Hub`,
    ggufs.length > 0
      ? `Fetch one of its GGUF files by its name, for example \`${example}\`.`
      : "Choose a model in the format of transformers, with its weights in safetensors.",
  );
}
