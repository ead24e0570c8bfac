/** Models of the Hugging Face Hub: looked up and fetched by a worker of its own, which gets ids and nothing else. */

import { downloadUrl } from "./assets";
import { LoraError, loraError } from "./errors";
import { openWorker, type WorkerSource } from "./host";
import { modelFilesOf } from "./hub_files";
import type { Fetched, Found, FromDownloader, Progress, ToDownloader, Wanted } from "./hub_protocol";
import { bytesThere, findRecord, isCommit, storedBlobs } from "./hub_store";
import type { ModelFiles } from "./weights";

export type { Found, HubFile, HubModel, Progress } from "./hub_protocol";
export { deleteStored, listStored, type StoredModel } from "./hub_store";

export const HUB = "https://huggingface.co";

export interface HubOptions {
  /** A branch, a tag or a commit; by default `main`. What is stored of a commit is opened without a request. */
  revision?: string;
  /** The address of another Hub. */
  hub?: string;
  /** Sent to the Hub alone, and kept in memory alone. */
  token?: string;
  /** What has arrived by then stays, and the next call goes on from there. */
  signal?: AbortSignal;
  /** Where the script of the download worker is, if not beside the package's. */
  downloadUrl?: WorkerSource;
  onProgress?(progress: Progress): void;
  /** A request goes out. */
  onRequest?(): void;
}

export interface Opened {
  files: ModelFiles;
  commit: string;
  /** Whether the browser's storage has it; otherwise it ends with the page. */
  kept: boolean;
}

/** What the Hub says about a model: commit, licence, files and sizes. `id` is `org/name` or `org/name/file.gguf`. */
export async function lookUp(id: string, options: HubOptions = {}): Promise<Found> {
  if (!downloadUrl) throw unsupported();
  const answer = await ask({ call: "look", wanted: wantedOf(id, options) }, options);
  if (answer.type === "found") return answer.found;
  throw unexpected();
}

/** What `openHub` would still fetch, and the model's files if they are there or, else, their outline. */
export async function glanceAt(
  id: string,
  options: HubOptions,
): Promise<{ files?: ModelFiles | undefined; download: number }> {
  const stored = await fromStore(wantedOf(id, options));
  if (stored) return { files: modelFilesOf(id, stored.blobs), download: 0 };
  const { model, outline } = await lookUp(id, options);
  const blobs = await storedBlobs(model);
  if (blobs) return { files: modelFilesOf(id, blobs), download: 0 };
  return { files: outline ?? undefined, download: model.bytes - (await bytesThere(model)) };
}

/** Fetches what is not there yet of a model, and checks every byte of it. */
export async function openHub(id: string, options: HubOptions = {}): Promise<Opened> {
  if (!downloadUrl) throw unsupported();
  const wanted = wantedOf(id, options);
  const stored = await fromStore(wanted);
  if (stored) {
    const { bytes } = stored.model;
    options.onProgress?.({ done: bytes, total: bytes, bytesPerSecond: 0, etaMs: 0, waitingMs: 0, kept: true });
    return opened(stored);
  }
  const answer = await ask({ call: "fetch", wanted }, options);
  if (answer.type === "fetched") return opened(answer.fetched);
  throw unexpected();
}

function wantedOf(id: string, { revision = "main", hub = HUB, token }: HubOptions): Wanted {
  return { id, revision, hub: hub.replace(/\/$/, ""), ...(token ? { token } : {}) };
}

async function fromStore({ id, revision }: Wanted): Promise<Fetched | null> {
  const model = isCommit(revision) ? await findRecord(id, revision) : undefined;
  const blobs = model && (await storedBlobs(model));
  return model && blobs ? { model, blobs, kept: true } : null;
}

function opened({ model: { id, commit }, blobs, kept }: Fetched): Opened {
  return { files: modelFilesOf(id, blobs), commit, kept };
}

/** A worker that does not stop in this time is ended. */
const PATIENCE_MS = 200;

/** One question to a worker of its own, which ends with the answer. */
function ask(
  question: ToDownloader,
  { signal, downloadUrl: source = downloadUrl, onProgress, onRequest }: HubOptions,
): Promise<FromDownloader> {
  signal?.throwIfAborted();
  const worker = openWorker(source);
  const send = (message: ToDownloader) => worker.postMessage(message);
  let giveUp = () => {};
  const stop = () => {
    send({ call: "stop" });
    setTimeout(giveUp, PATIENCE_MS);
  };
  const answer = new Promise<FromDownloader>((resolve, reject) => {
    giveUp = () => reject(signal?.reason);
    worker.onmessage = ({ data }: MessageEvent<FromDownloader>) => {
      if (data.type === "request") onRequest?.();
      else if (data.type === "progress") onProgress?.(data.progress);
      else if (data.type === "failure") reject(signal?.aborted ? signal.reason : loraError(data.error));
      else resolve(data);
    };
    worker.onerror = ({ message }) => reject(new LoraError("fetch_failed", unstarted(message), "Reload the page."));
  });
  signal?.addEventListener("abort", stop);
  send(question);
  return answer.finally(() => {
    signal?.removeEventListener("abort", stop);
    worker.terminate();
  });
}

function unsupported(): LoraError {
  return new LoraError(
    "unsupported",
    "Node fetches no model from the Hub",
    "Fetch it with `hf download`, and give its `{ folder }`.",
  );
}

const unstarted = (message: string) => `the download worker stopped${message ? `: ${message}` : ""}`;

function unexpected(): LoraError {
  return new LoraError("internal", "the download worker answered another question", "Please report it.");
}
