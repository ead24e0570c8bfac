/** The line to the Hub: requests that are tried again after a pause, and errors that say what to do. */

import { LoraError } from "../api/errors";
import type { HubModel, Wanted } from "../api/hub_protocol";

/** The pauses after failures in a row; then the line is given up. */
const PAUSES_MS = [500, 1000, 2000, 4000, 8000];
/** The longest that a server may ask for. */
const LONGEST_PAUSE_MS = 120_000;

/** Nothing but these leaves the worker. */
const ID = /^[\w-][\w.-]{0,95}(\/[\w-][\w.-]{0,95}(\/[\w-][\w. /-]{0,200}\.gguf)?)?$/i;
const REVISION = /^[\w-][\w./-]{0,199}$/;

/** A failure that may pass, and how long the server wants to be left alone. */
class Passing extends Error {
  constructor(
    message: string,
    readonly pauseMs = 0,
  ) {
    super(message);
  }
}

export class Line {
  #blocked = "";

  constructor(
    readonly wanted: Wanted,
    readonly signal: AbortSignal,
    readonly onRequest: () => void,
  ) {
    refuseUnless(isHub(wanted.hub), wanted.hub, "address of a Hub", "It must begin with `https://`.");
    refuseUnless(ID.test(wanted.id), wanted.id, "id of a model", "It looks like `org/name` or `org/name/file.gguf`.");
    refuseUnless(REVISION.test(wanted.revision), wanted.revision, "revision", "Give a branch, a tag or a commit.");
    self.addEventListener("securitypolicyviolation", ({ blockedURI }) => {
      this.#blocked = blockedURI;
    });
  }

  /**
   * Calls `act` until it is done. It says through `moved` that it got further: then the failures are counted from the
   * start. `wait` is told of every pause.
   */
  async persist<T>(
    thing: string,
    act: (moved: () => void) => Promise<T>,
    wait: (ms: number) => void = () => {},
  ): Promise<T> {
    let failures = 0;
    for (;;) {
      try {
        return await act(() => {
          failures = 0;
        });
      } catch (error) {
        this.signal.throwIfAborted();
        const passing = error instanceof TypeError ? new Passing("the connection failed") : error;
        if (!(passing instanceof Passing)) throw error;
        if (this.#blocked) throw blocked(this.#blocked);
        const pause = Math.max(PAUSES_MS[failures++] ?? Number.POSITIVE_INFINITY, passing.pauseMs);
        if (pause > LONGEST_PAUSE_MS) throw unreachable(thing, passing);
        wait(pause);
        await sleep(pause, this.signal);
      }
    }
  }

  /** A response with a body to read. What may pass is thrown so that `persist` tries again. */
  async request(url: string, from = 0, to?: number): Promise<Response> {
    const { token } = this.wanted;
    const isRange = from > 0 || to !== undefined;
    // A single range and nothing else needs no preflight.
    const headers = {
      ...(isRange && { Range: `bytes=${from}-${to ?? ""}` }),
      ...(token && { Authorization: `Bearer ${token}` }),
    };
    this.onRequest();
    const response = await fetch(url, {
      headers,
      signal: this.signal,
      cache: "no-store",
      credentials: "omit",
      referrerPolicy: "no-referrer",
    });
    const { status } = response;
    if (response.ok || status === 416) return response;
    await response.body?.cancel();
    const passes = status === 408 || status === 429 || status >= 500;
    if (passes) throw new Passing(`the server answered with status ${status}`, askedPause(response));
    // The address that the Hub points to is signed and expires: the Hub gives a new one.
    if (new URL(response.url).origin !== new URL(url).origin) throw new Passing(`a signed address ended in ${status}`);
    throw refusedBy(this.wanted, status);
  }
}

/** A connection that broke off in the middle. */
export const brokeOff = () => new Passing("the connection broke off");

export const modelUrl = ({ hub, id, revision }: Wanted) =>
  `${hub}/api/models/${repositoryOf(id)}/revision/${encodeURIComponent(revision)}?blobs=true`;

/** Of a file at the model's commit. It points to another address, which is used once and never stored. */
export const fileUrl = ({ hub, id, commit }: HubModel, path: string) =>
  `${hub}/${repositoryOf(id)}/resolve/${commit}/${path.split("/").map(encodeURIComponent).join("/")}`;

/** `org/name` of `org/name/file.gguf`. */
export const repositoryOf = (id: string) => id.split("/").slice(0, 2).join("/");

function refuseUnless(right: boolean, given: string, what: string, hint: string) {
  if (!right) throw new LoraError("hub_id", `\`${given}\` is no ${what}`, hint);
}

/** Over plain http, only one on this machine. */
function isHub(address: string): boolean {
  return URL.canParse(address) && /^https:\/\/|^http:\/\/(localhost|127\.0\.0\.1)(:|$)/.test(address);
}

/** In milliseconds; browsers show this header only where the server allows it. */
function askedPause({ headers }: Response): number {
  const asked = headers.get("retry-after") ?? "";
  const seconds = /^\d+$/.test(asked) ? Number(asked) : (Date.parse(asked) - Date.now()) / 1000;
  return Number.isNaN(seconds) ? 0 : 1000 * seconds;
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

function unreachable(thing: string, { message, pauseMs }: Passing): LoraError {
  const asks = pauseMs > LONGEST_PAUSE_MS ? ` and asks to wait for ${Math.ceil(pauseMs / 60_000)} minutes` : "";
  return new LoraError(
    "fetch_failed",
    `${thing} could not be fetched: ${message}${asks}`,
    asks ? "Go on later. What has arrived stays." : "Check that this machine is online, then go on.",
  );
}

function refusedBy({ id, hub, token }: Wanted, status: number): LoraError {
  const page = `${hub}/${repositoryOf(id)}`;
  if (status === 404 || (status === 401 && !token))
    return new LoraError(
      "hub_missing",
      `the Hub has no public model \`${id}\` of this revision (status ${status})`,
      "Check how it is written. A private model needs a token, or its files from your disk.",
    );
  if (status === 401 || status === 403) return gated(page);
  return new LoraError(
    "fetch_failed",
    `the Hub answered the request for \`${id}\` with status ${status}`,
    `Look at ${page} for what may be the matter.`,
  );
}

export function gated(page: string): LoraError {
  return new LoraError(
    "hub_gated",
    "the Hub gives this model only to those who accepted its terms",
    `Accept them at ${page} and give a token of yours, or download the files there and choose them from your disk.`,
  );
}

function blocked(address: string): LoraError {
  return new LoraError(
    "hub_blocked",
    `the policy of this page does not let its download worker reach \`${address}\``,
    "Use the Hub that the page allows, or change the policy: its server sends it with the download worker's script, " +
      "or else service-worker.js adds it.",
  );
}
