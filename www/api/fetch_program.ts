/** The wasm behind everything. */

import { wasmUrl } from "./assets";
import { LoraError } from "./errors";
import { type Count, fetchThing } from "./fetching";

export const PROGRAM = "the program behind the page";

/** Fetches and compiles the wasm once: a new session after a trap starts from the same program, without a request. */
export function fetchProgram(
  count?: Count,
  url: string | URL = wasmUrl,
  signal?: AbortSignal,
): Promise<WebAssembly.Module> {
  return fetchThing(PROGRAM, url, compiled, count, signal);
}

async function compiled(response: Response): Promise<WebAssembly.Module> {
  try {
    return await WebAssembly.compileStreaming(response);
  } catch (error) {
    if (!(error instanceof WebAssembly.CompileError)) throw error;
    throw new LoraError(
      "program",
      `${PROGRAM} does not run in this browser (${error.message})`,
      "Update the browser, or use a current Chrome or Edge.",
    );
  }
}
