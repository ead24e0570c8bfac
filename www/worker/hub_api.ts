/** What the Hub says about a model: its commit, its licence, and the files that are needed. */

import { LoraError } from "../api/errors";
import { isWeights, modelFilesOf, neededOf } from "../api/hub_files";
import type { Found, HubFile, HubModel, Wanted } from "../api/hub_protocol";
import { INDEX, isGguf } from "../api/model_files";
import { blankAfter, headerEnd } from "../api/outline";
import { ggufHead } from "./gguf_head";
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
/** The longest beginning of a GGUF file that the engine reads. */
const LONGEST_HEAD = 1 << 26;

type Bytes = Uint8Array<ArrayBuffer>;

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

/** Null of a GGUF file whose beginning is not enough to plan a run from. */
export async function outlineOf(line: Line, model: HubModel): Promise<Found["outline"]> {
  const blobs = new Map<string, Blob>();
  for (const { path, bytes } of model.files) {
    const url = fileUrl(model, path);
    if (path === INDEX || path === "config.json") {
      blobs.set(path, new Blob([await read(line, url, 0, bytes)]));
      continue;
    }
    const gguf = isGguf({ name: path });
    const end = gguf ? ggufEnd : safetensorsEnd;
    const head = gguf || isWeights(path) ? await headOf(line, url, bytes, end) : new Uint8Array();
    if (gguf && !ggufHead(head)?.isWhole) return null;
    blobs.set(path, blankAfter(head, bytes));
  }
  return modelFilesOf(model.id, blobs);
}

/** The vocabulary lies in it: if it is not over yet, twice as much is read. */
const ggufEnd = (beginning: Bytes) => ggufHead(beginning)?.end ?? 2 * beginning.length;

const safetensorsEnd = (beginning: Bytes) => headerEnd(beginning) ?? 0;

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

/** Reads until `endOf` what has been read is reached. */
async function headOf(line: Line, url: string, bytes: number, endOf: (beginning: Bytes) => number): Promise<Bytes> {
  const most = Math.min(bytes, LONGEST_HEAD);
  let head = await read(line, url, 0, Math.min(bytes, BEGINNING));
  for (;;) {
    const end = Math.min(endOf(head), most);
    if (end <= head.length) return head;
    const more = await read(line, url, head.length, end);
    if (more.length === 0) return head;
    const longer = new Uint8Array(head.length + more.length);
    longer.set(head);
    longer.set(more, head.length);
    head = longer;
  }
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
