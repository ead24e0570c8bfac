/** What Node offers instead of a browser: threads that look like workers, files by their paths, and the processor. */

import { openAsBlob } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { availableParallelism, totalmem } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker as Thread } from "node:worker_threads";
import { LoraError } from "../api/errors";

export const wasmUrl = new URL("./tabtune.wasm", import.meta.url).href;
export const workerUrl = new URL("./node_worker.js", import.meta.url).href;
/** In Node, nothing is fetched from the Hub. */
export const downloadUrl = "";

export async function availability(wanted = "auto") {
  if (wanted !== "gpu") return { state: "available", device: "cpu" };
  return {
    state: "unavailable",
    code: "no_gpu",
    reason: "Node has no WebGPU.",
    advice: 'Let the processor compute (`device: "cpu"`), or use a browser or the command line.',
  };
}

const HINT = "Node sends no file of `openAsBlob` to a thread: give a model as `{ folder }`, and a text as a string.";

/** A thread with a worker's interface. It keeps Node alive while it is asked something, and no longer. */
export function openWorker(source = workerUrl) {
  const thread = new Thread(new URL(source));
  const open = new Set(["start"]);
  const worker = {
    onmessage: undefined,
    onerror: undefined,
    postMessage(message, transfer) {
      try {
        thread.postMessage(message, transfer);
      } catch (error) {
        throw new LoraError("unsendable", error.message, HINT);
      }
      if (message.id !== undefined && open.add(message.id).size === 1) thread.ref();
    },
    terminate: () => thread.terminate(),
  };
  const answered = (id) => open.delete(id) && open.size === 0 && thread.unref();
  thread.on("message", (data) => {
    worker.onmessage?.({ data });
    if (data.type === "started") answered("start");
    if (data.type === "result" || data.type === "failure") answered(data.id);
  });
  thread.on("error", ({ message }) => worker.onerror?.({ message }));
  return worker;
}

/** `fetch`, also of files. */
export async function fetchUrl(url, signal) {
  const { protocol } = new URL(url);
  if (protocol !== "file:") return fetch(url, { signal });
  const type = String(url).endsWith(".wasm") ? "application/wasm" : "application/octet-stream";
  return new Response(await readFile(new URL(url)), { headers: { "content-type": type } });
}

export function onDisk(url) {
  return new URL(url).protocol === "file:" ? fileAt(fileURLToPath(url)) : undefined;
}

/** The files of a folder, or the one of this path. */
export async function filesIn(path) {
  try {
    if (!(await stat(path)).isDirectory()) return [await fileAt(path)];
    const files = (await readdir(path, { withFileTypes: true })).filter((entry) => entry.isFile());
    return await Promise.all(files.map(({ name }) => fileAt(join(path, name), basename(path))));
  } catch (error) {
    throw new LoraError("io", `\`${path}\`: ${error.message}`, "Check that the path exists and may be read.");
  }
}

export const threads = availableParallelism;

export const memory = () => totalmem() / 2 ** 30;

/** Stands for a file until it is in the thread that reads it: Node sends no file to another thread. */
async function fileAt(path, folder) {
  const { size } = await openAsBlob(path);
  return { path, size, name: basename(path), webkitRelativePath: folder ? `${folder}/${basename(path)}` : "" };
}
