/** The download worker: it alone speaks to the Hub. It is told ids, and never a word of a text. */

import { LoraError, plainError } from "../api/errors";
import type { Fetched, FromDownloader, HubModel, ToDownloader, Wanted } from "../api/hub_protocol";
import { bytesThere, filesFolder, findRecord, isCommit, wholeFile, writeRecord } from "../api/hub_store";
import { fetchFile } from "./fetch_file";
import { outlineOf, resolve } from "./hub_api";
import { fileUrl, Line } from "./line";
import { Meter } from "./meter";
import { StorageFull } from "./part";

const stopping = new AbortController();

self.onmessage = async ({ data }: MessageEvent<ToDownloader>) => {
  if (data.call === "stop") return stopping.abort();
  try {
    post(await (data.call === "look" ? look(data.wanted) : alone(() => fetchModel(data.wanted))));
  } catch (error) {
    post({ type: "failure", error: plainError(error) });
  }
};

function post(message: FromDownloader) {
  self.postMessage(message);
}

const lineOf = (wanted: Wanted) => new Line(wanted, stopping.signal, () => post({ type: "request" }));

async function look(wanted: Wanted): Promise<FromDownloader> {
  const line = lineOf(wanted);
  const model = await resolve(line);
  return { type: "found", found: { model, outline: await outlineOf(line, model) } };
}

async function fetchModel(wanted: Wanted): Promise<FromDownloader> {
  const line = lineOf(wanted);
  const record = isCommit(wanted.revision) ? await findRecord(wanted.id, wanted.revision) : undefined;
  // A token goes to the Hub that it was given for.
  const known = record?.hub === wanted.hub ? record : undefined;
  const model = known ?? (await resolve(line));
  const folder = await filesFolder().catch(() => undefined);
  if (folder) await assertRoom(model);
  if (folder && !known) await writeRecord(model);
  const meter = new Meter(model.bytes, folder !== undefined, (progress) => post({ type: "progress", progress }));
  // What is there is hashed first, which takes a while.
  const there = await bytesThere(model);
  meter.correct(there);
  meter.report();
  meter.correct(-there);
  const blobs = new Map<string, Blob>();
  try {
    for (const file of model.files) {
      const whole = await wholeFile(folder, file.hash);
      if (whole) meter.correct(file.bytes);
      blobs.set(file.path, whole ?? (await fetchFile(line, fileUrl(model, file.path), file, folder, meter)));
    }
  } catch (error) {
    throw error instanceof StorageFull ? await noRoom(model, meter.done) : error;
  }
  meter.report();
  const fetched: Fetched = { model, blobs, kept: folder !== undefined };
  return { type: "fetched", fetched };
}

/** A download that was stopped takes a moment to end. */
const PATIENCE_MS = 2000;

/** Two at once would write into the same files. */
async function alone<T>(act: () => Promise<T>): Promise<T> {
  if (!navigator.locks) return act();
  const signal = AbortSignal.any([stopping.signal, AbortSignal.timeout(PATIENCE_MS)]);
  let begun = false;
  try {
    return await navigator.locks.request("tabtune-hub", { signal }, () => {
      begun = true;
      return act();
    });
  } catch (error) {
    if (begun || stopping.signal.aborted) throw error;
    throw new LoraError(
      "hub_busy",
      "this page or another tab of it is fetching a model",
      "Wait until it is done, or pause it there.",
    );
  }
}

/** Throws if there is not enough room for the bytes that are still to come. */
async function assertRoom(model: HubModel) {
  const done = await bytesThere(model);
  if (model.bytes - done > (await freeBytes())) throw await noRoom(model, done);
}

async function freeBytes(): Promise<number> {
  const { quota, usage = 0 } = await navigator.storage.estimate();
  return quota === undefined ? Number.POSITIVE_INFINITY : Math.max(0, quota - usage);
}

/** Browsers may claim more room than they grant. */
async function noRoom({ bytes, id }: HubModel, done: number): Promise<LoraError> {
  const [wanted, free] = [bytes - done, await freeBytes()];
  return new LoraError(
    "storage",
    `the browser's storage is full: ${megabytes(wanted)} of \`${id}\` are still to come, and ` +
      (free < wanted ? `${megabytes(free)} are free` : "it takes no more"),
    "Delete a stored model or free some space on the disk, and go on. What has arrived stays.",
  );
}

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;
