/** How far a download is, how fast, and how long it will take. */

import type { Progress } from "../api/hub_protocol";

/** The speed is that of the last seconds. */
const WINDOW_MS = 4000;
/** A speed that was measured for less time says nothing. */
const LEAST_MS = 1000;
const TELL_EVERY_MS = 200;

export class Meter {
  done = 0;
  #past: { at: number; arrived: number }[] = [];
  #arrived = 0;
  #told = Number.NEGATIVE_INFINITY;

  constructor(
    readonly total: number,
    readonly kept: boolean,
    readonly tell: (progress: Progress) => void,
  ) {}

  /** Bytes were there before; fewer than zero if what had arrived is worth nothing. */
  correct(bytes: number) {
    this.done += bytes;
  }

  /** Bytes have arrived. */
  add(bytes: number) {
    this.done += bytes;
    this.#arrived += bytes;
    const now = performance.now();
    if (now - this.#told < TELL_EVERY_MS && this.done < this.total) return;
    this.#past.push({ at: now, arrived: this.#arrived });
    this.#past = this.#past.filter(({ at }) => now - at <= WINDOW_MS);
    this.report();
  }

  wait(ms: number) {
    this.#past = [];
    this.report(ms);
  }

  report(waitingMs = 0) {
    this.#told = performance.now();
    const { done, total, kept } = this;
    const bytesPerSecond = this.#speed();
    const etaMs = bytesPerSecond > 0 ? (1000 * (total - done)) / bytesPerSecond : null;
    this.tell({ done, total, bytesPerSecond, etaMs, waitingMs, kept });
  }

  #speed(): number {
    const [first] = this.#past;
    const last = this.#past.at(-1);
    return first && last && last.at - first.at >= LEAST_MS
      ? (1000 * (last.arrived - first.arrived)) / (last.at - first.at)
      : 0;
  }
}
