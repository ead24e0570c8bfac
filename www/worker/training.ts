/** A run in the worker: its events go to the page, its checkpoints to the browser's storage. */

import { plainError } from "../api/errors";
import type { Event } from "../api/events";
import type { Engine } from "./engine";
import type { Note, Training } from "./protocol";
import { forgetRun, type RunRecord, writeRun } from "./vault";

/** `begun` is called at the first event: from then on the engine hears of wishes. */
export async function train(
  engine: Engine,
  { settings, init, resume, record }: Training,
  tell: (note: Note) => void,
  begun: () => void,
) {
  const saving = record && new Saving(record, tell);
  let last: Event | undefined;
  const running = engine.train(
    settings,
    (event) => {
      begun();
      last = event;
      saving?.hear(event);
      tell({ type: "event", event });
    },
    (adapter) => tell({ type: "adapter", adapter }),
    {
      ...(init ? { init } : {}),
      ...(resume ? { resume } : {}),
      ...(saving ? { onCheckpoint: (bytes) => saving.write(bytes) } : {}),
    },
  );
  // Whoever hears of the end may read what was saved.
  await running.finally(() => saving?.written);
  // A run that was stopped can go on; one that is over leaves nothing behind.
  if (record && last?.type === "done" && last.reason !== "stopped") await forgetRun();
}

/** Writes one checkpoint after the other. */
class Saving {
  written: Promise<void> = Promise.resolve();
  #step = 0;
  #startedAt = performance.now();
  #pausedAt = 0;

  constructor(
    readonly record: RunRecord,
    readonly tell: (note: Note) => void,
  ) {}

  hear(event: Event) {
    if (event.type === "checkpoint") this.#step = event.step;
    if (event.type !== "phase") return;
    // The time of a run is without its pauses.
    if (event.phase === "paused") this.#pausedAt = performance.now();
    if (event.phase === "training" && this.#pausedAt) {
      this.#startedAt += performance.now() - this.#pausedAt;
      this.#pausedAt = 0;
    }
  }

  write(checkpoint: Uint8Array<ArrayBuffer>) {
    const step = this.#step;
    const now = { ...this.record, ms: this.record.ms + performance.now() - this.#startedAt };
    this.written = this.written
      .then(() => writeRun(now, step, checkpoint))
      .then(() => this.tell({ type: "saved", step }))
      .catch((error) => this.tell({ type: "unsaved", error: plainError(error) }));
  }
}
