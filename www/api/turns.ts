/** One thing after the other, each of which can be given up: while it waits, or while it is under way. */

import { LoraError } from "./errors";

export class Turns {
  #last: Promise<unknown> = Promise.resolve();

  /**
   * Calls `act` when everything before it is over. Once the signal is aborted, this rejects at once; `stop`, if `act`
   * has begun, has it end soon, and whatever comes next waits for that.
   */
  take<T>(signal: AbortSignal | undefined, act: () => Promise<T>, stop: () => void = () => {}): Promise<T> {
    let isUnderWay = false;
    const turn = this.#last.then(async () => {
      if (signal?.aborted) throw aborted(signal);
      isUnderWay = true;
      try {
        return await act();
      } finally {
        isUnderWay = false;
      }
    });
    this.#last = turn.catch(() => {});
    return unlessAborted(signal, turn, () => isUnderWay && stop());
  }
}

/** Settles as `work` does or, once the signal is aborted, at once. */
export function unlessAborted<T>(
  signal: AbortSignal | undefined,
  work: Promise<T>,
  stop: () => void = () => {},
): Promise<T> {
  if (!signal) return work;
  return new Promise((resolve, reject) => {
    const leave = () => {
      stop();
      reject(aborted(signal));
    };
    if (signal.aborted) leave();
    else signal.addEventListener("abort", leave, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", leave));
  });
}

export function aborted({ reason }: { reason?: unknown }): LoraError {
  const error = new LoraError("aborted", "the work was given up", "Start it again if you still want its result.");
  error.cause = reason;
  return error;
}
