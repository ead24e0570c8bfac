/** A run in the worker: its events go to the page, its states to the browser's storage. */

import { plainError } from "../api/errors";
import type { Note, Training } from "../api/protocol";
import { forgetRun, type RunRecord, writeRun } from "../api/run_store";
import type { Event } from "../api/types";
import type { Dataset, Engine } from "./program";

/** `begun` is called at the first event: from then on the engine listens to wishes. */
export async function train(
  engine: Engine,
  dataset: Dataset,
  { settings, init, resume, record }: Training,
  tell: (note: Note) => void,
  begun: () => void,
) {
  const saving = record && new Saving(record, tell);
  let last: Event | undefined;
  const running = engine.train(
    dataset,
    settings,
    (event) => {
      begun();
      last = event;
      saving?.watch(event);
      tell({ type: "event", event });
    },
    (adapter) => tell({ type: "adapter", adapter }),
    {
      ...(init ? { init } : {}),
      ...(resume ? { resume } : {}),
      ...(saving ? { onRunState: (bytes) => saving.write(bytes) } : {}),
    },
  );
  // Once the page hears of the end, it may read what was saved.
  await running.finally(() => saving?.written);
  // A run that was stopped can continue; one that is over leaves nothing behind.
  if (record && last?.type === "done" && last.reason !== "stopped") await forgetRun();
}

/** Writes one run state after the other. */
class Saving {
  written: Promise<void> = Promise.resolve();
  #step = 0;
  #startedAt = performance.now();
  #pausedAt = 0;

  constructor(
    readonly record: RunRecord,
    readonly tell: (note: Note) => void,
  ) {}

  watch(event: Event) {
    if (event.type === "checkpoint") this.#step = event.step;
    if (event.type !== "phase") return;
    // Pauses do not count as running time.
    if (event.phase === "paused") this.#pausedAt = performance.now();
    if (event.phase === "training" && this.#pausedAt) {
      this.#startedAt += performance.now() - this.#pausedAt;
      this.#pausedAt = 0;
    }
  }

  write(state: Uint8Array<ArrayBuffer>) {
    const step = this.#step;
    const now = { ...this.record, ms: this.record.ms + performance.now() - this.#startedAt };
    this.written = this.written
      .then(() => writeRun(now, step, state))
      .then(() => this.tell({ type: "saved", step }))
      .catch((error) => this.tell({ type: "unsaved", error: plainError(error) }));
  }
}
