/** Fetches what the page is made of: three tries with growing pauses, then an error that names the thing. */

import { LoraError } from "./errors";
import { fetchUrl } from "./host";

/** The pauses before the second and the third try. */
const PAUSES_MS = [1000, 3000];

/** Gets the number of bytes of each piece that arrives, unpacked; a failed try takes its bytes back. */
export type Count = (bytes: number) => void;

/** `thing` is the name of what is fetched, in plain words; `use` makes something of the response while it arrives. */
export function fetchThing<T>(
  thing: string,
  url: string | URL,
  use: (response: Response) => Promise<T>,
  count?: Count,
  signal?: AbortSignal,
): Promise<T> {
  return get(thing, url, use, count, signal) as Promise<T>;
}

/**
 * Undefined if the server says that there is none: some do with status 403, and hosts of single-page apps with a page
 * in its place.
 */
export function fetchIfThere<T>(
  thing: string,
  url: string | URL,
  use: (response: Response) => Promise<T>,
  count?: Count,
  signal?: AbortSignal,
): Promise<T | undefined> {
  const isMissing = ({ status, headers }: Response) =>
    status === 404 || status === 403 || /^text\/html\b/i.test(headers.get("content-type") ?? "");
  return get<T | undefined>(thing, url, use, count, signal, isMissing);
}

function get<T>(
  thing: string,
  url: string | URL,
  use: (response: Response) => Promise<T>,
  count: Count = () => {},
  signal: AbortSignal | undefined,
  isMissing: (response: Response) => boolean = () => false,
): Promise<T | undefined> {
  return persist(async () => {
    let arrived = 0;
    const counter = new TransformStream<Uint8Array, Uint8Array>({
      transform(piece, controller) {
        arrived += piece.length;
        count(piece.length);
        controller.enqueue(piece);
      },
    });
    try {
      const response = await fetchUrl(url, signal);
      const { ok, status, body, headers } = response;
      if (isMissing(response)) return void (await body?.cancel());
      if (!ok || !body) throw unfetched(thing, `the server answered \`${url}\` with status ${status}`, BUSY);
      const type = headers.get("content-type") ?? "";
      return await use(new Response(body.pipeThrough(counter), { headers: { "content-type": type } }));
    } catch (error) {
      count(-arrived);
      throw error instanceof LoraError ? error : unfetched(thing);
    }
  }, signal);
}

/** Not again once the signal is aborted. */
export async function persist<T>(act: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  for (const pause of PAUSES_MS) {
    try {
      return await act();
    } catch (error) {
      if (signal?.aborted) throw error;
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
  return act();
}

const BUSY = "The server may be busy: wait a moment, then try again.";
const OFFLINE = "Check that this machine is online, then try again.";

export function unfetched(thing: string, reason = "the connection failed", hint = OFFLINE): LoraError {
  return new LoraError("fetch_failed", `${thing} could not be fetched: ${reason}`, hint);
}
