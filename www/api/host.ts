/** What a browser offers, and Node in another way: workers, addresses, and how much machine there is. */

import { downloadUrl, workerUrl } from "./assets";
import { LoraError } from "./errors";

/** Where a worker comes from: the address of its script, as such or approved by a policy, or one that runs. */
export type WorkerSource = string | URL | TrustedAddress | Worker;

/** A TrustedScriptURL, which TypeScript does not know yet. */
export interface TrustedAddress {
  toJSON(): string;
}

/** `new Worker` is a Trusted Types sink: the page allows one policy, made once, which knows the two workers. */
const own = [workerUrl, downloadUrl];
const policy = makePolicy();

export function openWorker(source: WorkerSource = workerUrl): Worker {
  try {
    return new Worker(trusted(source) as string, { type: "module", name: "tabtune" });
  } catch (error) {
    throw new LoraError(
      "worker",
      `the worker cannot be started: ${(error as Error).message}`,
      "Serve its script from the page's own address, as `workerUrl`; where Trusted Types are enforced, allow the " +
        "policy `tabtune-worker`, or give a TrustedScriptURL or a worker that you started.",
    );
  }
}

export const fetchUrl = (url: string | URL, signal?: AbortSignal) => fetch(url, signal ? { signal } : {});

/** A file on a disk is no file of a page. */
export function onDisk(_url: string | URL): Promise<File> | undefined {
  return undefined;
}

export async function filesIn(_folder: string): Promise<File[]> {
  throw new LoraError(
    "unsupported",
    "a browser cannot open a folder by its path",
    "Give `{ files }`, as a file input or a drop has them, or `{ url }`.",
  );
}

export const threads = (): number => navigator.hardwareConcurrency;

/** In GiB; undefined where the browser does not tell. */
export const memory = (): number | undefined => (navigator as { deviceMemory?: number }).deviceMemory;

interface TrustedTypes {
  createPolicy(
    name: string,
    rules: { createScriptURL(url: string): string },
  ): {
    createScriptURL(url: string): TrustedAddress;
  };
}

function trusted(source: WorkerSource): WorkerSource {
  return typeof source === "string" && own.includes(source) ? (policy?.createScriptURL(source) ?? source) : source;
}

function known(url: string): string {
  if (own.includes(url)) return url;
  throw new TypeError(url);
}

/** Undefined where none is needed, or where the page allows no policy of this name. */
function makePolicy() {
  const { trustedTypes } = globalThis as { trustedTypes?: TrustedTypes };
  try {
    return trustedTypes?.createPolicy("tabtune-worker", { createScriptURL: known });
  } catch {
    return;
  }
}
