/** What a browser offers, and Node in another way: workers, addresses, and how much machine there is. */

import { workerUrl } from "./assets";
import { LoraError } from "./errors";

/** Where a worker comes from: the address of its script, as such or approved by a policy, or one that runs. */
export type WorkerSource = string | URL | TrustedAddress | Worker;

/** A TrustedScriptURL, which TypeScript does not know yet. */
export interface TrustedAddress {
  toJSON(): string;
}

/** `new Worker` is a Trusted Types sink: a page allows this policy, which knows one address, or brings its own. */
let policy: ReturnType<typeof makePolicy> | null = null;

export function openWorker(source: WorkerSource = ownAddress()): Worker {
  try {
    return new Worker(source as string, { type: "module", name: "tabtune" });
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
  createPolicy(name: string, rules: { createScriptURL(): string }): { createScriptURL(input: string): TrustedAddress };
}

function ownAddress(): string | TrustedAddress {
  if (policy === null) policy = makePolicy();
  return policy?.createScriptURL("") ?? workerUrl;
}

/** Undefined where none is needed, or where the page allows no policy of this name. */
function makePolicy() {
  const { trustedTypes } = globalThis as { trustedTypes?: TrustedTypes };
  try {
    return trustedTypes?.createPolicy("tabtune-worker", { createScriptURL: () => workerUrl });
  } catch {
    return;
  }
}
